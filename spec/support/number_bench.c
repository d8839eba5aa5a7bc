/* number_bench: nanoseconds of CPU time per number, ours beside the C library's, in one run.
 *
 *     build/spec/number_bench [ROUNDS]
 *
 * Prints one line per task: name, ours, theirs, and how many times as fast ours is: medians over
 * the rounds, which alternate between the two. */
#include "core/csv_plain.h"
#include "core/number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { N = 20000, MOST_ROUNDS = 1000, WIDTH = 40 };

struct numbers {
    double values[N];
    char texts[N][WIDTH]; /* each ends at the same place, so that what is before it may be read */
    size_t lengths[N];
};

static struct numbers two, four, full;
static double sink;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static const char *text_at(const struct numbers *n, size_t i)
{
    return n->texts[i] + WIDTH - 1 - n->lengths[i];
}

static void fill(struct numbers *n, double unit)
{
    for (size_t i = 0; i < N; i++) {
        double u = (rand() + 1.0) / (RAND_MAX + 2.0);
        double x = 22 + sqrt(-2 * log(u)) * cos(6.283185307179586 * rand() / RAND_MAX);
        char text[NUMBER_MAX];

        n->values[i] = unit > 0 ? rint(x * unit) / unit : x;
        n->lengths[i] = number_shortest(n->values[i], text);
        memcpy(n->texts[i] + WIDTH - 1 - n->lengths[i], text, n->lengths[i]);
    }
}

static void read_ours(const struct numbers *n)
{
    double x;

    for (size_t i = 0; i < N; i++)
        sink += number_parse(text_at(n, i), n->lengths[i], &x) == NUMBER_FINITE ? x : 0;
}

static void read_cell(const struct numbers *n)
{
    double x;

    for (size_t i = 1; i < N; i++)
        sink += plain_number(text_at(n, i), n->lengths[i], &x) ? x : 0;
}

static void read_theirs(const struct numbers *n)
{
    for (size_t i = 0; i < N; i++)
        sink += strtod(text_at(n, i), NULL);
}

static void write_ours(const struct numbers *n)
{
    char text[NUMBER_MAX];

    for (size_t i = 0; i < N; i++)
        sink += (double)number_shortest(n->values[i], text);
}

static void write_fixed4(const struct numbers *n)
{
    char text[NUMBER_MAX];

    for (size_t i = 0; i < N; i++)
        sink += (double)number_fixed4(n->values[i], text);
}

static void print_17(const struct numbers *n)
{
    char text[WIDTH];

    for (size_t i = 0; i < N; i++)
        sink += snprintf(text, sizeof text, "%.17g", n->values[i]);
}

static void print_4(const struct numbers *n)
{
    char text[WIDTH];

    for (size_t i = 0; i < N; i++)
        sink += snprintf(text, sizeof text, "%.4f", n->values[i]);
}

static double timed(void (*task)(const struct numbers *n), const struct numbers *n)
{
    double started = now();

    task(n);
    return (now() - started) / (double)N;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *values, size_t n)
{
    qsort(values, n, sizeof *values, ascending);
    return values[n / 2];
}

static void compare(const char *name, void (*ours)(const struct numbers *n),
                    void (*theirs)(const struct numbers *n), const struct numbers *n, size_t rounds)
{
    static double a[MOST_ROUNDS], b[MOST_ROUNDS], ratio[MOST_ROUNDS];

    for (size_t i = 0; i < rounds; i++) {
        a[i] = timed(ours, n);
        b[i] = timed(theirs, n);
        ratio[i] = b[i] / a[i];
    }
    printf("%-34s %8.1f ns %8.1f ns %8.1fx\n", name, median(a, rounds), median(b, rounds),
           median(ratio, rounds));
}

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? strtol(argv[1], NULL, 10) : 51;

    rounds = rounds < 1 ? 1 : rounds > MOST_ROUNDS ? MOST_ROUNDS : rounds;
    fill(&two, 100);
    fill(&four, 10000);
    fill(&full, 0);
    compare("read 21.38 / strtod", read_ours, read_theirs, &two, (size_t)rounds);
    compare("read 21.38 as a cell / strtod", read_cell, read_theirs, &two, (size_t)rounds);
    compare("read 17 digits / strtod", read_ours, read_theirs, &full, (size_t)rounds);
    compare("read 17 digits as a cell / strtod", read_cell, read_theirs, &full, (size_t)rounds);
    compare("write 4 decimals / printf %.4f", write_fixed4, print_4, &four, (size_t)rounds);
    compare("write shortest / printf %.17g", write_ours, print_17, &full, (size_t)rounds);
    return sink == 0;
}
