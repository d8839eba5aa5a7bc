/* csv_frame: the Lua type `frame`: a parsed text and the columns put beside it. What it can do is
 * told in l_csv.c; its methods are spread over csv_frame.c (cells and columns), csv_read.c (what
 * reads the whole input) and csv_write.c (what writes it); csv_file.c has the files it reads. */
#ifndef BIND_CSV_FRAME_H
#define BIND_CSV_FRAME_H

#include "bind/bridge.h"
#include "core/csv_sheet.h"
#include "core/file_text.h"

#include <lua.h>

enum { CSV_HEAVY_BYTES = 256 * 1024 }; /* a text this long is a worker's */

/* A column of the input that was read when asked for. */
struct csv_late {
    struct column *column;
    struct csv_facts facts;
};

struct csv_frame {
    struct csv_sheet sheet; /* sheet.csv is NULL when closed */
    struct csv_late *late;  /* one per input column, or NULL */
};

/* Told by the core that it reads a text no more: see csv_pin_push. */
struct csv_pin {
    atomic_bool released;
};

/* Make the type known to this state. */
void csv_frame_register(lua_State *L);

/* Push a frame of csv, with a reference of its own. 0, or -1 when memory is short. */
int csv_frame_push(lua_State *L, struct csv *csv);

/* The open frame at `index`; raises when it is none. */
struct csv_frame *csv_frame_check(lua_State *L, int index);

/* The column whose name is at `index`, or NULL. */
struct csv_output *csv_frame_output(lua_State *L, struct csv_frame *f, int index);

/* Push the text of a cell, its quotes undone. */
void csv_frame_push_text(lua_State *L, const char *raw, size_t n);

/* Push nil, message and code for want of memory. */
int csv_frame_no_memory(lua_State *L);

/* Push a pin, a userdata that keeps the string at `index` alive until csv_pin_release, wherever the
 * coroutine, the frame and their boxes have gone by then: a worker may still be reading. It counts
 * as held from the start, so it is to be handed to who releases it before anything can raise. */
struct csv_pin *csv_pin_push(lua_State *L, int index);

/* The string is not read any more; on any thread. It is let go of at the next csv.parse or close. */
void csv_pin_release(void *pin);

/* csv.file, and its type: csv_file.c. */
int csv_file_open(lua_State *L);
void csv_file_register(lua_State *L);

/* The file at `index`, borrowed; NULL when it is none. Raises when it was closed. */
struct file_text *csv_file_test(lua_State *L, int index);

/* Methods. */
int csv_read_column(lua_State *L);
int csv_read_numbers(lua_State *L);
int csv_read_select(lua_State *L);
int csv_write_format(lua_State *L);
int csv_write_save(lua_State *L);
int csv_write_rejected(lua_State *L);

#endif
