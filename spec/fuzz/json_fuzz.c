/* json_fuzz: any text through json.decode and json.encode of lua/json.lua.
 *
 * Promised: decode never raises; what it takes can be written; the written text is taken again and
 * gives the same text, in both layouts. Run from the checkout's root (it loads lua/json.lua).
 */
/* The binding itself is compiled in here, so that it is watched by the sanitizers too. */
#include "bind/l_json_writer.c" /* NOLINT(bugprone-suspicious-include) */

#include <lualib.h>
#include <stdint.h>
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__asan_default_options(void); /* NOLINT(bugprone-reserved-identifier) */

/* The interpreter lives on between runs, so memory that a run leaves to its collector is no leak;
 * looking for one after each run would take nearly all the time. */
const char *__asan_default_options(void) /* NOLINT(bugprone-reserved-identifier) */
{
    return "detect_leaks=0";
}

static const char script[] =
    "package.path = 'lua/?.lua;' .. package.path\n"
    "local json = require('json')\n"
    "local function through(text)\n"
    "  local value, message = json.decode(text)\n"
    "  assert(not message, message)\n"
    "  return json.encode(value)\n"
    "end\n"
    "return function(text)\n"
    "  local value, message, code, place = json.decode(text)\n"
    "  if message then\n"
    "    assert(value == nil and type(code) == 'string', 'a failure has no value but a code')\n"
    "    assert(place.line >= 1 and place.column >= 1 and place.offset <= #text, 'a place')\n"
    "    return\n"
    "  end\n"
    "  local written = json.encode(value)\n"
    "  assert(utf8.len(written), 'written as UTF-8')\n"
    "  local again = through(written)\n"
    "  assert(again == written, written .. ' became ' .. again)\n"
    "  local wide = json.encode(value, {indent = 2})\n"
    "  local narrow = through(wide)\n"
    "  assert(narrow == written, wide .. ' became ' .. narrow)\n"
    "end\n";

static lua_State *start(void)
{
    lua_State *L = luaL_newstate();

    luaL_openlibs(L);
    luaL_requiref(L, "json_reader", luaopen_json_reader, 0);
    luaL_requiref(L, "json_writer", luaopen_json_writer, 0);
    lua_settop(L, 0);
    if (luaL_dostring(L, script) != LUA_OK) {
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
        abort();
    }
    return L;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static lua_State *L;

    if (L == NULL)
        L = start();
    lua_settop(L, 1);
    lua_pushvalue(L, 1);
    lua_pushlstring(L, (const char *)data, size);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
        abort();
    }
    return 0;
}
