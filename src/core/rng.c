/* rng: see rng.h. */
#include "core/rng.h"

enum { N = MT19937_WORDS, M = 397 };

void mt19937_seed(struct mt19937 *g, uint32_t seed)
{
    g->key[0] = seed;
    for (uint32_t i = 1; i < N; i++)
        g->key[i] = 1812433253u * (g->key[i - 1] ^ (g->key[i - 1] >> 30)) + i;
    g->next = N;
}

static uint32_t twist(uint32_t upper, uint32_t lower, uint32_t far)
{
    uint32_t y = (upper & 0x80000000u) | (lower & 0x7fffffffu);

    return far ^ (y >> 1) ^ ((0u - (lower & 1)) & 0x9908b0dfu);
}

static uint32_t temper(uint32_t y)
{
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

void mt19937_refill(struct mt19937 *g)
{
    uint32_t *k = g->key;

    for (int i = 0; i < N - M; i++)
        k[i] = twist(k[i], k[i + 1], k[i + M]);
    for (int i = N - M; i < N - 1; i++)
        k[i] = twist(k[i], k[i + 1], k[i + M - N]);
    k[N - 1] = twist(k[N - 1], k[0], k[M - 1]);
    for (int i = 0; i < N; i++)
        g->word[i] = temper(k[i]);
    g->next = 0;
}

uint32_t mt19937_u32(struct mt19937 *g)
{
    if (g->next == N)
        mt19937_refill(g);
    return g->word[g->next++];
}

double mt19937_double(struct mt19937 *g)
{
    uint32_t a = mt19937_u32(g) >> 5;
    uint32_t b = mt19937_u32(g) >> 6;

    return (a * 67108864.0 + b) / 9007199254740992.0;
}

uint32_t mt19937_upto(struct mt19937 *g, uint32_t most)
{
    uint32_t mask = most == 0 ? 0 : UINT32_MAX >> __builtin_clz(most);
    uint32_t v = 0;

    if (most == 0)
        return 0;
    do
        v = mt19937_u32(g) & mask;
    while (v > most);
    return v;
}
