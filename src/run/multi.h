/* multi: HTTP exchanges on the event loop, through curl_multi_socket_action.
 *
 * Connections are kept and reused between exchanges. From curl's own callbacks nothing of curl is
 * called; finished transfers are collected in one place after each socket action.
 */
#ifndef RUN_MULTI_H
#define RUN_MULTI_H

#include "core/exchange.h"
#include "run/loop.h"

struct multi;

/* At most `connections` open at once; further exchanges wait their turn. */
struct multi *multi_new(struct loop *loop, long connections, struct fail *fail);

/* No exchange may be running. */
void multi_free(struct multi *multi);

/* Begin; done(x, ctx) is called from the loop, never from here, when x has its status or its
 * failure. 0, or -1 when curl takes no more handles. */
int multi_start(struct multi *multi, struct exchange *x,
                void (*done)(struct exchange *x, void *ctx), void *ctx);

/* Stop an exchange that was started and is not done: `done` will not be called. */
void multi_cancel(struct multi *multi, struct exchange *x);

#endif
