/* xoshiro256** by Blackman and Vigna (https://prng.di.unimi.it/), seeded by splitmix64 as they advise. */
#include "base/base.h"

static uint64_t splitmix64(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t rotate_left(uint64_t x, int bits) {
    return (x << bits) | (x >> (64 - bits));
}

void tri_random_seed(tri_random *random, uint64_t seed) {
    for (int i = 0; i < 4; i++)
        random->state[i] = splitmix64(&seed);
}

uint64_t tri_random_next(tri_random *random) {
    uint64_t *s = random->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t tri_random_below(tri_random *random, uint64_t bound) {
    uint64_t uneven = -bound % bound; /* 2^64 mod bound: that many numbers would favour the low results */
    uint64_t x;
    do
        x = tri_random_next(random);
    while (x < uneven);
    return x % bound;
}
