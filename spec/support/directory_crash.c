/* directory_crash: ends a process between any two system calls of a write to a directory bucket,
 * and looks at what it left.
 *
 * For every scenario and every n a child process does the write and ends at its n-th step. A reader
 * must then find exactly the old object or exactly the new one, with the metadata that belongs to
 * it; the next writer must remove the unfinished files and be able to write. The order of the steps
 * is compared as well, since it is what a power cut depends on.
 *
 *     directory_crash DIRECTORY     (which is made, filled and left) -> 0, or 1 and what was wrong
 */
#include "core/directory_private.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ENDED = 42, MOST_STEPS = 200 };

static int countdown = -1; /* steps until this process ends itself */
static char trace[4096];
static bool tracing;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* a group syncs on several threads */

void directory_step(const char *name)
{
    pthread_mutex_lock(&mutex);
    if (tracing) {
        strcat(trace, trace[0] == '\0' ? "" : ", ");
        strcat(trace, name);
    }
    if (countdown > 0 && --countdown == 0)
        _exit(ENDED);
    pthread_mutex_unlock(&mutex);
}

/* An object, or none when body is NULL; meta is the value of its only metadata, or NULL. */
struct state {
    const char *body, *meta;
};

struct scenario {
    const char *name, *key;
    struct state before, after; /* without a body after: a delete */
    const char *if_match;
    bool if_absent, group;
    const char *trace;
};

#define FILE_STEPS "file made, file written, file synced, "
#define META_STEPS                                                                                 \
    "file made, file written, sidecar synced, sidecar renamed, sidecar's folder synced, "
#define MD5_OLD "149603e6c03516362a8da23f624db945" /* of "old" */

static const struct scenario scenarios[] = {
    {"new object", "k", {0}, {"new", NULL}, .trace = FILE_STEPS "renamed, folder synced"},
    {"new object in new folders",
     "a/b/k",
     {0},
     {"new", NULL},
     .trace =
         "folder made, folder's parent synced, folder made, folder's parent synced, " FILE_STEPS
         "renamed, folder synced"},
    {"replace", "k", {"old", NULL}, {"new", NULL}, .trace = FILE_STEPS "renamed, folder synced"},
    {"new object with metadata",
     "k",
     {0},
     {"new", "2"},
     .trace = FILE_STEPS META_STEPS "renamed, folder synced"},
    {"replace both",
     "d/k",
     {"old", "1"},
     {"new", "2"},
     .trace = FILE_STEPS META_STEPS "renamed, folder synced"},
    {"add metadata with new content",
     "k",
     {"old", NULL},
     {"new", "2"},
     .trace = FILE_STEPS META_STEPS "renamed, folder synced"},
    {"drop metadata with new content",
     "k",
     {"old", "1"},
     {"new", NULL},
     .trace = FILE_STEPS META_STEPS "renamed, folder synced, sidecar removed"},
    {"same content, other metadata",
     "k",
     {"old", "1"},
     {"old", "2"},
     .trace = FILE_STEPS META_STEPS "renamed, folder synced"},
    {"same content, no more metadata",
     "k",
     {"old", "1"},
     {"old", NULL},
     .trace = FILE_STEPS META_STEPS "renamed, folder synced, sidecar removed"},
    {"same content, first metadata",
     "k",
     {"old", NULL},
     {"old", "2"},
     .trace = FILE_STEPS META_STEPS "renamed, folder synced"},
    {"conditional replace",
     "k",
     {"old", "1"},
     {"new", "2"},
     .if_match = MD5_OLD,
     .trace = FILE_STEPS META_STEPS "renamed, folder synced"},
    {"conditional create",
     "k",
     {0},
     {"new", "2"},
     .if_absent = true,
     .trace = FILE_STEPS META_STEPS "renamed, folder synced"},
    {"delete", "k", {"old", "1"}, {0}, .trace = "deleted, deletion synced, sidecar removed"},
    {"one of a group",
     "k",
     {"old", "1"},
     {"new", "2"},
     .group = true,
     .trace = "file made, file written, file made, file written, file made, file written, "
              "file synced, file synced, file synced, renamed, " META_STEPS
              "renamed, renamed, folder synced, folder synced"},
};

static const struct scenario *now;
static int step;

__attribute__((noreturn)) static void wrong(const char *what, const char *detail)
{
    fprintf(stderr, "directory_crash: %s, ended at step %d: %s %s\n", now->name, step, what,
            detail);
    exit(1);
}

static struct directory *open_bucket(const char *path, bool read_only)
{
    struct directory_options options = {.create = true, .read_only = read_only};
    struct fail fail = {0};
    struct directory *d = directory_open(path, &options, &fail);

    if (d == NULL)
        wrong("cannot open the bucket:", fail.message);
    return d;
}

static void set_key(struct directory_key *key, const char *text)
{
    if (directory_key_set(key, text, strlen(text), NULL) != 0)
        wrong("bad key", text);
}

static void fill_put(struct directory_put *put, const char *key, const struct state *state,
                     struct directory_meta *meta)
{
    memset(put, 0, sizeof *put);
    set_key(&put->key, key);
    put->body = state->body;
    put->body_len = strlen(state->body);
    put->meta = meta;
    if (state->meta != NULL)
        directory_meta_add(meta, "v", 1, state->meta, strlen(state->meta), NULL);
}

/* Bring the object into a state, with the scenario's conditions and company when `real`. */
static void act(struct directory *d, const struct state *state, bool real)
{
    static const struct state other = {"other", NULL};
    struct directory_meta metas[3] = {{0}};
    struct directory_put puts[3];
    struct fail fail = {0};

    if (state->body == NULL) {
        struct directory_key key;

        set_key(&key, now->key);
        if (directory_delete(d, &key, &fail) != 0)
            wrong("delete:", fail.message);
        return;
    }
    fill_put(&puts[0], "x/1", &other, &metas[0]);
    fill_put(&puts[1], now->key, state, &metas[1]);
    fill_put(&puts[2], "x/2", &other, &metas[2]);
    puts[1].if_match = real ? now->if_match : NULL;
    puts[1].if_absent = real && now->if_absent;
    if (real && now->group)
        directory_put_all(d, puts, 3, NULL);
    else
        directory_put(d, &puts[1]);
    directory_meta_fini(&metas[1]);
    if (puts[1].failure.code != NULL)
        wrong("put:", puts[1].failure.message);
}

static void prepare(const char *path)
{
    struct directory *d = open_bucket(path, false);

    if (now->before.body != NULL)
        act(d, &now->before, false);
    /* The folders of the company are not part of the scenario. */
    if (now->group) {
        const struct scenario *kept = now;
        struct scenario company = {.name = now->name, .key = "x/0"};
        struct state state = {"x", NULL};

        now = &company;
        act(d, &state, false);
        now = kept;
    }
    directory_unref(d);
}

static bool is_state(const struct directory_object *object, int result, const struct state *state)
{
    const char *name, *value = NULL;
    size_t at = 0;

    if (state->body == NULL || result != 0)
        return state->body == NULL && result != 0;
    directory_meta_next(&object->meta, &at, &name, &value);
    return object->size == strlen(state->body) &&
           memcmp(object->body, state->body, object->size) == 0 &&
           (value == NULL ? state->meta == NULL
                          : state->meta != NULL && strcmp(value, state->meta) == 0);
}

/* The object must be in one of the two states. Is it the second? */
static bool look(struct directory *d, const struct state *one, const struct state *two)
{
    struct directory_object object;
    struct directory_key key;
    struct fail fail = {0};
    int result;
    bool is_one, is_two;

    set_key(&key, now->key);
    result = directory_get(d, &key, 1000, &object, &fail);
    if (result != 0 && strcmp(fail.code, "NoSuchKey") != 0)
        wrong("get:", fail.message);
    is_one = is_state(&object, result, one);
    is_two = is_state(&object, result, two);
    if (result == 0)
        directory_object_fini(&object);
    if (!is_one && !is_two)
        wrong("the object is neither old nor new", "");
    return is_two;
}

/* How many entries lie below .anomalyd/tmp? One is the living session's folder. */
static int count_tmp(const char *path)
{
    char tmp[1024];
    const struct dirent *e;
    DIR *dir;
    int n = 0;

    snprintf(tmp, sizeof tmp, "%s/.anomalyd/tmp", path);
    dir = opendir(tmp);
    while (dir != NULL && (e = readdir(dir)) != NULL)
        n += e->d_name[0] != '.';
    if (dir != NULL)
        closedir(dir);
    return n;
}

static void check(const char *path, bool finished)
{
    struct directory *d = open_bucket(path, true);
    bool is_new = look(d, &now->before, &now->after);

    if (finished && !is_new)
        wrong("the write was done, but the object is old", "");
    directory_unref(d);
    d = open_bucket(path, false);
    if (count_tmp(path) != 1)
        wrong("unfinished files are left", "");
    if (look(d, &now->before, &now->after) != is_new)
        wrong("opening the bucket has changed the object", "");
    act(d, &now->after, false);
    look(d, &now->after, &now->after);
    directory_unref(d);
}

/* Let a child end at the step. Did it reach the step? */
static bool run_child(const char *path)
{
    int status = 0;
    pid_t child = fork();

    if (child == 0) {
        struct directory *d;

        countdown = step;
        d = open_bucket(path, false);
        act(d, &now->after, true);
        _exit(0);
    }
    waitpid(child, &status, 0);
    if (!WIFEXITED(status) || (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != ENDED))
        wrong("the writer failed", "");
    return WEXITSTATUS(status) == ENDED;
}

static void check_trace(const char *path)
{
    struct directory *d;

    step = 0;
    prepare(path);
    d = open_bucket(path, false);
    trace[0] = '\0';
    tracing = true;
    act(d, &now->after, true);
    tracing = false;
    directory_unref(d);
    if (strcmp(trace, now->trace) != 0)
        wrong("the steps came in another order:", trace);
}

int main(int argc, char **argv)
{
    char path[900];
    int runs = 0;

    if (argc != 2) {
        fprintf(stderr, "directory_crash DIRECTORY\n");
        return 2;
    }
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++) {
        bool reached = true;

        now = &scenarios[i];
        snprintf(path, sizeof path, "%s/%zu/trace", argv[1], i);
        check_trace(path);
        for (step = 1; reached && step < MOST_STEPS; step++) {
            snprintf(path, sizeof path, "%s/%zu/%d", argv[1], i, step);
            /* The bucket's own folder is made by the child in every other run. */
            if (now->before.body != NULL || step % 2 == 0)
                prepare(path);
            reached = run_child(path);
            check(path, !reached);
            runs++;
        }
        if (reached)
            wrong("it never came to its end", "");
    }
    printf("%d runs\n", runs);
    return 0;
}
