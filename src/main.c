/* main: the program. The command line is read by lua/boot.lua. */
#include "bind/host.h"

#include <signal.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    struct fail fail;
    struct host *host;
    int code;

    /* A reload that is asked for before anything can be reloaded is no reason to die. */
    signal(SIGHUP, SIG_IGN);
    host = host_new(&fail);
    if (host == NULL) {
        fprintf(stderr, "anomalyd: %s\n", fail.message);
        return 1;
    }
    code = host_run(host, argc, argv);
    host_free(host);
    return code;
}
