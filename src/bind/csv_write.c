/* csv_write: the methods of a frame that write: the whole file as a text or into an open file, and
 * the rows that were rejected. */
#include "bind/csv_frame.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <lualib.h>
#include <string.h>
#include <unistd.h>

/* No text that Lua is given may be longer. */
static const size_t most_text = (size_t)1 << 36;

struct text_op {
    struct bridge_op op;
    struct csv_sheet sheet;
    struct csv *csv;
    struct buf out;
    int fd; /* -1: into out */
    size_t written;
    struct fail fail;
    int status;
};

static void text_fini(struct bridge_op *op)
{
    struct text_op *t = (struct text_op *)op;

    csv_sheet_fini(&t->sheet);
    csv_unref(t->csv);
    buf_fini(&t->out);
    if (t->fd >= 0)
        close(t->fd);
}

static struct text_op *new_text(lua_State *L, const struct bridge_type *type)
{
    struct text_op *t = (struct text_op *)bridge_new(L, type);

    t->fd = -1;
    buf_init(&t->out, most_text);
    return t;
}

static int text_done(lua_State *L, int status, lua_KContext ctx)
{
    struct text_op *t = (struct text_op *)ctx;

    (void)status;
    if (t->status != 0)
        return bridge_fail(L, &t->fail);
    lua_pushlstring(L, t->out.data == NULL ? "" : t->out.data, t->out.len);
    buf_fini(&t->out);
    return 1;
}

/* ---- writing ---- */

static void format_work(struct bridge_op *op, struct crew *crew)
{
    struct text_op *t = (struct text_op *)op;

    t->status = csv_sheet_text(&t->sheet, crew, &t->out, &t->fail);
    csv_sheet_fini(&t->sheet);
}

static const struct bridge_type format_type = {"frame:format", sizeof(struct text_op), NULL,
                                               format_work, text_fini};

/* A new operation that holds the sheet as it is now. */
static struct text_op *freeze(lua_State *L, struct csv_frame *f, const struct bridge_type *type)
{
    struct text_op *t = new_text(L, type);

    if (csv_sheet_freeze(&f->sheet, &t->sheet) != 0)
        luaL_error(L, "%s: out of memory", type->name);
    t->op.heavy = f->sheet.csv->size > CSV_HEAVY_BYTES;
    return t;
}

int csv_write_format(lua_State *L)
{
    struct csv_frame *f = csv_frame_check(L, 1);

    lua_settop(L, 1);
    return bridge_run(L, &freeze(L, f, &format_type)->op, text_done);
}

static int to_file(void *ctx, const char *data, size_t n)
{
    struct text_op *t = ctx;

    while (n > 0) {
        ssize_t done = write(t->fd, data, n);

        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return fail_set(&t->fail, "WriteFailed", "frame:save: %s", strerror(errno));
        data += done;
        n -= (size_t)done;
        t->written += (size_t)done;
    }
    return 0;
}

static void save_work(struct bridge_op *op, struct crew *crew)
{
    struct text_op *t = (struct text_op *)op;

    t->status = csv_sheet_write(&t->sheet, crew, to_file, t, &t->fail);
    csv_sheet_fini(&t->sheet);
}

static const struct bridge_type save_type = {"frame:save", sizeof(struct text_op), NULL, save_work,
                                             text_fini};

static int save_done(lua_State *L, int status, lua_KContext ctx)
{
    const struct text_op *t = (const struct text_op *)ctx;

    (void)status;
    if (t->status != 0)
        return bridge_fail(L, &t->fail);
    lua_pushinteger(L, (lua_Integer)t->written);
    return 1;
}

int csv_write_save(lua_State *L)
{
    struct csv_frame *f = csv_frame_check(L, 1);
    const luaL_Stream *stream = luaL_checkudata(L, 2, LUA_FILEHANDLE);
    struct text_op *t;

    luaL_argcheck(L, stream->closef != NULL, 2, "a closed file");
    lua_settop(L, 2);
    t = freeze(L, f, &save_type);
    if (fflush(stream->f) != 0 || (t->fd = fcntl(fileno(stream->f), F_DUPFD_CLOEXEC, 3)) < 0) {
        fail_set(&t->fail, "WriteFailed", "frame:save: %s", strerror(errno));
        return bridge_fail(L, &t->fail);
    }
    t->op.heavy = true;
    return bridge_run(L, &t->op, save_done);
}

static void rejected_work(struct bridge_op *op, struct crew *crew)
{
    struct text_op *t = (struct text_op *)op;

    (void)crew;
    t->status = csv_rejected_text(t->csv, &t->out);
    if (t->status != 0)
        fail_memory(&t->fail);
}

static const struct bridge_type rejected_type = {"frame:rejected_text", sizeof(struct text_op),
                                                 NULL, rejected_work, text_fini};

int csv_write_rejected(lua_State *L)
{
    struct csv_frame *f = csv_frame_check(L, 1);
    struct text_op *t = new_text(L, &rejected_type);

    t->csv = csv_ref(f->sheet.csv);
    t->op.heavy = f->sheet.csv->size > CSV_HEAVY_BYTES;
    return bridge_run(L, &t->op, text_done);
}
