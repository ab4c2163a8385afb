/* What is written past the cache need not be read into it first, which takes as long as the writing. It can
 * be done where there are 16 bytes at a time; elsewhere `streamed` does nothing. Part of chunks.c. */

#ifndef HPCLAUNCH_STREAMING_H
#define HPCLAUNCH_STREAMING_H

#include "values.h"

#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>

enum { VECTOR = 16, WIDEST = 8, SOME = 1 << 14 };

static void stream_copy(char *to, const char *from, int64_t bytes) {
    int64_t done = -(intptr_t)to & (VECTOR - 1);
    memcpy(to, from, (size_t)(done < bytes ? done : bytes));
    for (; done + VECTOR <= bytes; done += VECTOR)
        _mm_stream_si128((__m128i *)(to + done), _mm_loadu_si128((const __m128i *)(from + done)));
    if (done < bytes)
        memcpy(to + done, from + done, (size_t)(bytes - done));
}

static void stream_numbers(const how_t *how, char *to) {
    char some[SOME];
    int64_t n = how->size / how->kind, step = SOME / how->item;
    for (int64_t first = 0; first < n; first += step) {
        int64_t count = n - first < step ? n - first : step;
        numbers(how, first, count, some);
        stream_copy(to + first * how->item, some, count * how->item);
    }
}

#define MASK_VECTORS(value_t, vector_t, name, to_vector, from_vector)                              \
    do {                                                                                           \
        vector_t masked = _mm_set1_##name(*(const value_t *)how->masked);                          \
        for (int64_t f = 0; f < how->count; f++) {                                                 \
            vector_t fill = _mm_set1_##name(((const value_t *)how->fills)[f]);                     \
            for (int i = 0; i < count; i++) {                                                      \
                vector_t values = to_vector(vectors[i]), is = _mm_cmpeq_##name(values, fill);      \
                values = _mm_or_##name(_mm_and_##name(is, masked), _mm_andnot_##name(is, values)); \
                vectors[i] = from_vector(values);                                                  \
            }                                                                                      \
        }                                                                                          \
    } while (0)

static inline void mask_vectors(const how_t *how, int count, __m128i *vectors) {
    switch (how->kind) {
    case MASK_FLOAT:
        MASK_VECTORS(float, __m128, ps, _mm_castsi128_ps, _mm_castps_si128);
        break;
    case MASK_DOUBLE:
        MASK_VECTORS(double, __m128d, pd, _mm_castsi128_pd, _mm_castpd_si128);
        break;
    }
}

/* 16 elements, whose bytes lie `n` apart, one behind another. Two halves are joined byte by byte as often
 * as it takes to bring the number of a byte's plane from the front of its address to the end. */
static inline void join_planes(int width, const char *in, int64_t n, __m128i *found) {
    __m128i next[WIDEST];
    for (int plane = 0; plane < width; plane++)
        found[plane] = _mm_loadu_si128((const __m128i *)(in + plane * n));
    for (int turns = width; turns > 1; turns /= 2) {
        for (int i = 0; i < width / 2; i++) {
            next[2 * i] = _mm_unpacklo_epi8(found[i], found[i + width / 2]);
            next[2 * i + 1] = _mm_unpackhi_epi8(found[i], found[i + width / 2]);
        }
        for (int i = 0; i < width; i++)
            found[i] = next[i];
    }
}

static inline void stream_planes(int width, const how_t *how, char *to) {
    const char *in = how->planes;
    int64_t n = how->size / width, before = (-(intptr_t)to & (VECTOR - 1)) / width, i = 0;
    if (before > n)
        before = n;
    for (; i < before; i++)
        for (int plane = 0; plane < width; plane++)
            to[i * width + plane] = in[plane * n + i];
    for (; i + VECTOR <= n; i += VECTOR) {
        __m128i found[WIDEST];
        join_planes(width, in + i, n, found);
        mask_vectors(how, width, found);
        for (int part = 0; part < width; part++)
            _mm_stream_si128((__m128i *)(to + i * width) + part, found[part]);
    }
    int64_t after = i;
    for (; i < n; i++)
        for (int plane = 0; plane < width; plane++)
            to[i * width + plane] = in[plane * n + i];
    mask(how, before * width, to);
    mask(how, (n - after) * width, to + after * width);
}

/* What lies in `planes`, shuffled, or in `stored`, past the cache to where it is wanted. */
static int streamed(const how_t *how, char *to) {
    if (!how->streams)
        return 0;
    if (how->kind == TABLE_OF_BYTES || how->kind == TABLE_OF_WORDS)
        stream_numbers(how, to);
    else if (how->unshuffle && how->width == 4 && (intptr_t)to % 4 == 0)
        stream_planes(4, how, to);
    else if (how->unshuffle && how->width == 8 && (intptr_t)to % 8 == 0)
        stream_planes(8, how, to);
    else
        return 0;
    return 1;
}

/* To be called before another thread is told of it. */
static void all_streamed(void) { _mm_sfence(); }

#else

static int streamed(const how_t *how, char *to) {
    (void)how, (void)to;
    return 0;
}

static void all_streamed(void) {}

#endif

#endif
