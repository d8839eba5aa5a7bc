/* l_line_edit: the Lua module `line_edit` of the host: reads lines at a terminal, with libedit.
 *
 *   line_edit.open() -> editor | nil, message, code      stdin and stdout must be a terminal
 *     editor:read(prompt) -> text | nil, "interrupted" | "ended"
 *         "interrupted": Ctrl-C; "ended": Ctrl-D on an empty line, or the terminal is gone
 *     editor:history(list)       what Up goes through, the oldest first; entries may have many lines
 *     editor:on_tab(fn)          fn(text before the cursor) -> text to insert, text to show below,
 *                                whether to give the line up instead
 *     editor:close()
 *   line_edit.width() -> columns of the terminal
 *
 * It blocks. ~/.editrc is read. Keys: see editline(7), in emacs' manner.
 */
#include "bind/bridge.h"
#include "bind/class.h"
#include "bind/modules.h"
#include "core/fail.h"
#include "run/interrupt.h"

#include <errno.h>
#include <histedit.h>
#include <langinfo.h>
#include <lauxlib.h>
#include <locale.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#define EDITOR "anomalyd.line_edit"

enum { KEY_BREAK = 3, KEY_END = 4, HISTORY_SIZE = 10000, PROMPT_MAX = 64 };

/* In the userdata: never moves, libedit knows it. */
struct editor {
    EditLine *el;
    History *history;
    lua_State *L; /* while reading */
    int on_tab;   /* registry reference */
    bool interrupted;
    bool ended;
    bool ahead; /* the next byte was typed before the terminal was ours */
    char prompt[PROMPT_MAX];
};

static struct editor *editor_of(EditLine *el)
{
    void *data = NULL;

    el_get(el, EL_CLIENTDATA, &data);
    return data;
}

static char *give_prompt(EditLine *el)
{
    return editor_of(el)->prompt;
}

/* ---- keys ---- */

/* One byte of the terminal, or -1 at its end. A signal becomes a key. */
static int next_byte(EditLine *el)
{
    struct editor *e = editor_of(el);
    unsigned char byte;

    for (;;) {
        enum interrupt what = interrupt_wait(STDIN_FILENO, -1);

        if (what == INTERRUPT_BREAK)
            return KEY_BREAK;
        if (what == INTERRUPT_END)
            e->ended = true;
        if (what == INTERRUPT_END)
            return -1;
        if (what == INTERRUPT_REDRAW) {
            el_set(el, EL_PREP_TERM, 1);
            el_resize(el);
            el_set(el, EL_REFRESH);
        } else if (what == INTERRUPT_READY) {
            return read(STDIN_FILENO, &byte, 1) == 1 ? byte : -1;
        }
    }
}

/* libedit's reader: one character of what is typed. */
static int get_character(EditLine *el, wchar_t *c)
{
    struct editor *e = editor_of(el);
    mbstate_t state = {0};
    bool ahead = e->ahead;

    e->ahead = false;
    for (;;) {
        int byte = next_byte(el);
        char b = (char)byte;
        size_t n;

        if (byte < 0)
            return 0;
        /* The terminal keeps a Ctrl-D that was typed before as a zero byte. */
        if (byte == 0 && ahead)
            b = KEY_END;
        n = mbrtowc(c, &b, 1, &state);
        if (n == (size_t)-1) {
            *c = L'?';
            return 1;
        }
        if (n != (size_t)-2)
            return 1;
    }
}

static unsigned char on_break(EditLine *el, int key)
{
    (void)key;
    editor_of(el)->interrupted = true;
    fputs("^C", stdout);
    return CC_NEWLINE;
}

/* Ask on_tab's function and do what it says. */
static unsigned char complete(EditLine *el, struct editor *e)
{
    const LineInfo *line = el_line(el);
    lua_State *L = e->L;
    const char *insert, *show;
    unsigned char result = CC_NORM;

    lua_rawgeti(L, LUA_REGISTRYINDEX, e->on_tab);
    lua_pushlstring(L, line->buffer, (size_t)(line->cursor - line->buffer));
    if (lua_pcall(L, 1, 3, 0) != LUA_OK) {
        lua_pop(L, 1);
        return CC_ERROR;
    }
    if (lua_toboolean(L, -1)) {
        lua_pop(L, 3);
        return on_break(el, KEY_BREAK);
    }
    insert = lua_tostring(L, -3);
    show = lua_tostring(L, -2);
    if (insert != NULL && *insert != '\0' && el_insertstr(el, insert) == 0)
        result = CC_REFRESH;
    if (show != NULL && *show != '\0') {
        printf("\n%s\n", show);
        fflush(stdout);
        result = CC_REDISPLAY;
    } else if (result == CC_NORM) {
        result = CC_ERROR;
    }
    lua_pop(L, 3);
    return result;
}

static unsigned char on_tab(EditLine *el, int key)
{
    struct editor *e = editor_of(el);

    (void)key;
    if (e->on_tab == LUA_NOREF || !lua_checkstack(e->L, 8))
        return CC_ERROR;
    return complete(el, e);
}

/* ---- the editor ---- */

static struct editor *check_editor(lua_State *L)
{
    struct editor *e = luaL_checkudata(L, 1, EDITOR);

    luaL_argcheck(L, e->el != NULL, 1, "the editor was closed");
    return e;
}

static int l_close(lua_State *L)
{
    struct editor *e = luaL_checkudata(L, 1, EDITOR);

    if (e->el != NULL)
        el_end(e->el);
    e->el = NULL;
    if (e->history != NULL)
        history_end(e->history);
    e->history = NULL;
    luaL_unref(L, LUA_REGISTRYINDEX, e->on_tab);
    e->on_tab = LUA_NOREF;
    return 0;
}

/* Texts are UTF-8 here, also where the locale says nothing. */
static void set_locale(void)
{
    if (setlocale(LC_CTYPE, "") == NULL || strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
        setlocale(LC_CTYPE, "C.UTF-8");
}

static int prepare(struct editor *e)
{
    HistEvent event;

    e->el = el_init("anomalyd", stdin, stdout, stderr);
    e->history = history_init();
    if (e->el == NULL || e->history == NULL)
        return -1;
    history(e->history, &event, H_SETSIZE, HISTORY_SIZE);
    el_set(e->el, EL_CLIENTDATA, e);
    el_set(e->el, EL_EDITOR, "emacs");
    el_set(e->el, EL_PROMPT, give_prompt);
    el_set(e->el, EL_HIST, history, e->history);
    el_wset(e->el, EL_GETCFN, get_character);
    el_wset(e->el, EL_ADDFN, L"anomalyd-break", L"Give the line up", on_break);
    el_wset(e->el, EL_ADDFN, L"anomalyd-complete", L"Complete the word", on_tab);
    el_set(e->el, EL_BIND, "^R", "em-inc-search-prev", NULL);
    el_source(e->el, NULL);
    el_set(e->el, EL_BIND, "^C", "anomalyd-break", NULL);
    el_set(e->el, EL_BIND, "^I", "anomalyd-complete", NULL);
    return 0;
}

static int l_open(lua_State *L)
{
    struct editor *e;
    struct fail fail;

    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
        fail_set(&fail, "NoTerminal", "stdin and stdout are no terminal");
        return bridge_fail(L, &fail);
    }
    set_locale();
    e = lua_newuserdatauv(L, sizeof *e, 0);
    *e = (struct editor){.on_tab = LUA_NOREF};
    luaL_setmetatable(L, EDITOR);
    if (prepare(e) != 0) {
        fail_set(&fail, "NoTerminal", "the terminal cannot be used");
        return bridge_fail(L, &fail);
    }
    interrupt_catch();
    return 1;
}

static int l_read(lua_State *L)
{
    struct editor *e = check_editor(L);
    const char *line;
    int n = 0;

    snprintf(e->prompt, sizeof e->prompt, "%s", luaL_checkstring(L, 2));
    e->L = L;
    e->interrupted = e->ended = false;
    e->ahead = poll(&(struct pollfd){STDIN_FILENO, POLLIN, 0}, 1, 0) > 0;
    /* Before the prompt is shown, so that what answers it is read as keys. */
    el_set(e->el, EL_PREP_TERM, 1);
    line = el_gets(e->el, &n);
    e->L = NULL;
    if (e->interrupted || line == NULL || n <= 0) {
        lua_pushnil(L);
        lua_pushstring(L, e->interrupted ? "interrupted" : "ended");
        return 2;
    }
    if (line[n - 1] == '\n')
        n--;
    lua_pushlstring(L, line, (size_t)n);
    return 1;
}

static int l_history(lua_State *L)
{
    struct editor *e = check_editor(L);
    lua_Integer n;
    HistEvent event;

    luaL_checktype(L, 2, LUA_TTABLE);
    n = luaL_len(L, 2);
    history(e->history, &event, H_CLEAR);
    for (lua_Integer i = 1; i <= n; i++) {
        if (lua_rawgeti(L, 2, i) == LUA_TSTRING)
            history(e->history, &event, H_ENTER, lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    return 0;
}

static int l_on_tab(lua_State *L)
{
    struct editor *e = check_editor(L);

    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_settop(L, 2);
    luaL_unref(L, LUA_REGISTRYINDEX, e->on_tab);
    e->on_tab = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static int l_width(lua_State *L)
{
    struct winsize size;

    lua_pushinteger(L, ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col
                                                                                       : 80);
    return 1;
}

static const luaL_Reg methods[] = {
    {"read", l_read},   {"history", l_history}, {"on_tab", l_on_tab},
    {"close", l_close}, {NULL, NULL},
};

static const luaL_Reg metamethods[] = {
    {"__gc", l_close},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"open", l_open},
    {"width", l_width},
    {NULL, NULL},
};

int luaopen_line_edit(lua_State *L)
{
    luaL_checkversion(L);
    class_define(L, EDITOR, metamethods, methods);
    luaL_newlib(L, functions);
    return 1;
}
