/* modules: the C modules that Lua can require, each in src/bind/l_NAME.c.
 *
 * The first group is built twice: linked into the host, and as build/lua/NAME.so for a stock
 * lua5.4. The second exists in the host only.
 */
#ifndef BIND_MODULES_H
#define BIND_MODULES_H

#include <lauxlib.h>
#include <lua.h>

#define MODULE __attribute__((visibility("default")))

MODULE int luaopen_certificate(lua_State *L);
MODULE int luaopen_column(lua_State *L);
MODULE int luaopen_csv(lua_State *L);
MODULE int luaopen_digest(lua_State *L);
MODULE int luaopen_directory(lua_State *L);
MODULE int luaopen_http(lua_State *L);
MODULE int luaopen_iforest(lua_State *L);
MODULE int luaopen_json_reader(lua_State *L);
MODULE int luaopen_json_writer(lua_State *L);
MODULE int luaopen_number(lua_State *L);
MODULE int luaopen_s3_call(lua_State *L);
MODULE int luaopen_sigv4(lua_State *L);

/* In the host only. */
int luaopen_console_client(lua_State *L);
int luaopen_console_server(lua_State *L);
int luaopen_host(lua_State *L);
int luaopen_line_edit(lua_State *L);
int luaopen_server(lua_State *L);
int luaopen_task(lua_State *L);
int luaopen_watch(lua_State *L);

#endif
