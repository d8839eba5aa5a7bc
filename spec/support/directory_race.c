/* directory_race: processes and threads at one directory bucket, all at once.
 *
 * Every worker adds to one counter by get, and put with If-Match; a count that is lost shows that
 * two conditional puts both won. Every worker tries to create the same objects; each must be
 * created once. All overwrite one object without a condition, and read it: its metadata must
 * always be that of its content.
 *
 *     directory_race DIRECTORY [PROCESSES THREADS ROUNDS]  -> 0, or 1 and what was wrong
 */
#include "core/directory.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_THREADS = 16, MOST_PROCESSES = 16 };

static struct {
    const char *path;
    int processes, threads, rounds;
    struct directory *d; /* this process's */
} race;

__attribute__((noreturn)) static void wrong(const char *what, const char *detail)
{
    fprintf(stderr, "directory_race: %s %s\n", what, detail);
    _exit(1);
}

static struct directory *open_bucket(void)
{
    struct directory_options options = {.create = true};
    struct fail fail = {0};
    struct directory *d = directory_open(race.path, &options, &fail);

    if (d == NULL)
        wrong("cannot open:", fail.message);
    return d;
}

static struct directory_key key_of(const char *text)
{
    struct directory_key key;

    if (directory_key_set(&key, text, strlen(text), NULL) != 0)
        wrong("bad key", text);
    return key;
}

/* Put a text with itself as metadata. The failure's code, or NULL. */
static const char *put_text(const char *key, const char *text, const char *if_match, bool if_absent)
{
    struct directory_meta meta = {0};
    struct directory_put put = {.key = key_of(key),
                                .body = text,
                                .body_len = strlen(text),
                                .meta = &meta,
                                .if_match = if_match,
                                .if_absent = if_absent};

    directory_meta_add(&meta, "v", 1, text, strlen(text), NULL);
    directory_put(race.d, &put);
    directory_meta_fini(&meta);
    if (put.failure.code != NULL && strcmp(put.failure.code, "PreconditionFailed") != 0)
        wrong("put:", put.failure.message);
    return put.failure.code;
}

/* Read a text and check it against its metadata. */
static void get_text(const char *key, char text[64], directory_etag etag)
{
    struct directory_key k = key_of(key);
    struct directory_object object;
    struct fail fail = {0};
    const char *name, *value = "nothing";
    size_t at = 0;

    if (directory_get(race.d, &k, 63, &object, &fail) != 0)
        wrong("get:", fail.message);
    memcpy(text, object.body, object.size);
    text[object.size] = '\0';
    memcpy(etag, object.etag, sizeof object.etag);
    directory_meta_next(&object.meta, &at, &name, &value);
    if (strcmp(value, text) != 0)
        wrong("content and metadata differ:", value);
    directory_object_fini(&object);
}

static void count_up(void)
{
    directory_etag etag;
    char text[64];

    do {
        get_text("state/count", text, etag);
        snprintf(text, sizeof text, "%ld", strtol(text, NULL, 10) + 1);
    } while (put_text("state/count", text, etag, false) != NULL);
}

static void *work(void *arg)
{
    long *created = arg;
    directory_etag etag;
    char text[64];

    for (int i = 0; i < race.rounds; i++) {
        count_up();
        snprintf(text, sizeof text, "once/%d", i);
        *created += put_text(text, "x", NULL, true) == NULL;
        snprintf(text, sizeof text, "%d", rand() % 3);
        put_text("free", text, NULL, false);
        get_text("free", text, etag);
    }
    return NULL;
}

/* One process with its threads; how many objects it created is added to a counter object. */
static void run_process(void)
{
    pthread_t threads[MOST_THREADS];
    long created[MOST_THREADS] = {0}, sum = 0;
    directory_etag etag;
    char text[64];

    srand((unsigned)getpid());
    race.d = open_bucket();
    for (int i = 0; i < race.threads; i++)
        if (pthread_create(&threads[i], NULL, work, &created[i]) != 0)
            wrong("cannot start", "a thread");
    for (int i = 0; i < race.threads; i++) {
        pthread_join(threads[i], NULL);
        sum += created[i];
    }
    do {
        get_text("state/created", text, etag);
        snprintf(text, sizeof text, "%ld", strtol(text, NULL, 10) + sum);
        /* With nothing created the text stays, and so would the ETag: nothing to write. */
    } while (sum > 0 && put_text("state/created", text, etag, false) != NULL);
    directory_unref(race.d);
    _exit(0);
}

static void expect(const char *key, long number)
{
    directory_etag etag;
    char text[64];

    get_text(key, text, etag);
    if (strtol(text, NULL, 10) != number) {
        fprintf(stderr, "directory_race: %s is %s, not %ld\n", key, text, number);
        exit(1);
    }
}

static int option(int argc, char **argv, int i, int normal, int most)
{
    int value = argc > i ? atoi(argv[i]) : normal;

    return value < 1 ? 1 : value > most ? most : value;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "directory_race DIRECTORY [PROCESSES THREADS ROUNDS]\n");
        return 2;
    }
    race.path = argv[1];
    race.processes = option(argc, argv, 2, 3, MOST_PROCESSES);
    race.threads = option(argc, argv, 3, 2, MOST_THREADS);
    race.rounds = option(argc, argv, 4, 20, 1000000);
    race.d = open_bucket();
    put_text("state/count", "0", NULL, true);
    put_text("state/created", "0", NULL, true);
    put_text("free", "0", NULL, true);
    for (int i = 0; i < race.processes; i++)
        if (fork() == 0)
            run_process();
    for (int i = 0; i < race.processes; i++) {
        int status;

        if (wait(&status) == -1 || status != 0)
            return 1;
    }
    expect("state/count", (long)race.processes * race.threads * race.rounds);
    expect("state/created", race.rounds);
    directory_unref(race.d);
    printf("%d processes of %d threads, %d rounds\n", race.processes, race.threads, race.rounds);
    return 0;
}
