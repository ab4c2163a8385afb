/* What Python would do chunk by chunk, for many chunks with one call and without its global lock.
 *
 * No Python and no other library is needed to build it: the decoder (libdeflate) and the unshuffle
 * (blosc2) come as pointers. `compiled.py` loads it, says what the arguments are and holds what it
 * gives against numpy; where it was not built the same is done in Python, slower.
 *
 * Addresses come as int64_t, as numpy has them.
 */

#define _FILE_OFFSET_BITS 64
#define _XOPEN_SOURCE 700

#include <stdint.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define AT(address) ((void *)(intptr_t)(address))

typedef int (*inflate_t)(void *decompressor, const void *in, size_t in_size, void *out,
                         size_t out_size, size_t *actual);
typedef int32_t (*unshuffle_t)(int32_t width, int32_t size, const void *in, void *out);

/* Raised whenever an argument changes its meaning: a library of another source is not used. */
int32_t hpclaunch_chunks_version(void) { return 6; }

/* Whether as many bytes of a file were read in full. */
static int fetch_one(int32_t file, int64_t offset, int64_t size, char *to) {
    int64_t done = 0;
    while (done < size) {
        ssize_t got = pread(file, to + done, (size_t)(size - done), (off_t)(offset + done));
        if (got <= 0)
            return 0;
        done += got;
    }
    return 1;
}

/* Read `n` pieces of a file. Returns how many, from the first on, were read in full. */
int64_t hpclaunch_fetch(int32_t file, int64_t n, const int64_t *offsets, const int64_t *sizes,
                        const int64_t *targets) {
    for (int64_t i = 0; i < n; i++)
        if (!fetch_one(file, offsets[i], sizes[i], AT(targets[i])))
            return i;
    return n;
}

/* How chunks are decoded. `planes` and `stored` have room for one chunk of `size` bytes. */
typedef struct {
    int64_t size;
    int64_t width; /* of an element, for unshuffle */
    inflate_t inflate;
    void *decompressor;
    unshuffle_t unshuffle; /* null: not shuffled */
    void *planes;
    int64_t kind;       /* what becomes of a value: one of `enum kind` */
    int64_t item;       /* bytes of what comes out of the table */
    const void *table;  /* what comes out for each number that can be stored */
    void *stored;
    int64_t count;      /* of `fills` */
    const void *fills;  /* the values that are masked */
    const void *masked; /* what stands there instead */
    int64_t linear;     /* instead of a table: one of `enum linear`, or 0 */
    int64_t is_signed;  /* whether the numbers are */
    double scale, offset;
    int64_t fills_number, fill; /* whether there is a number that is masked, and which */
    int64_t streams; /* whether the result leaves the processor's cache before it is used */
} how_t;

enum kind { AS_STORED = 0, TABLE_OF_BYTES = 1, TABLE_OF_WORDS = 2, MASK_FLOAT = 4, MASK_DOUBLE = 8 };

/* In which precision a number is scaled and what comes out; every step is rounded to the latter. */
enum linear { IN_FLOAT = 1, IN_DOUBLE_TO_FLOAT = 2, IN_DOUBLE = 3 };

#define LINEAR(number_t, value_t, step_t)                                                          \
    do {                                                                                           \
        const number_t *in = (const number_t *)how->stored + first;                                \
        value_t *out = to, masked = *(const value_t *)how->masked;                                 \
        step_t scale = (step_t)how->scale, offset = (step_t)how->offset;                           \
        number_t fill = (number_t)how->fill;                                                       \
        for (int64_t i = 0; i < n; i++) {                                                          \
            value_t value = (value_t)in[i];                                                        \
            value = (value_t)((step_t)value * scale);                                              \
            out[i] = (value_t)((step_t)value + offset);                                            \
        }                                                                                          \
        if (how->fills_number)                                                                     \
            for (int64_t i = 0; i < n; i++)                                                        \
                out[i] = in[i] == fill ? masked : out[i];                                          \
    } while (0)

#define LINEAR_OF(number_t)                                                                        \
    do {                                                                                           \
        switch (how->linear) {                                                                     \
        case IN_FLOAT: LINEAR(number_t, float, float); break;                                      \
        case IN_DOUBLE_TO_FLOAT: LINEAR(number_t, float, double); break;                           \
        case IN_DOUBLE: LINEAR(number_t, double, double); break;                                   \
        }                                                                                          \
    } while (0)

static void scale(const how_t *how, int64_t first, int64_t n, void *to) {
    switch (how->kind << 8 | how->is_signed) {
    case TABLE_OF_BYTES << 8: LINEAR_OF(uint8_t); break;
    case TABLE_OF_BYTES << 8 | 1: LINEAR_OF(int8_t); break;
    case TABLE_OF_WORDS << 8: LINEAR_OF(uint16_t); break;
    case TABLE_OF_WORDS << 8 | 1: LINEAR_OF(int16_t); break;
    }
}

#define LOOK_UP(number_t, value_t)                                                                 \
    do {                                                                                           \
        const number_t *in = (const number_t *)how->stored + first;                                \
        const value_t *table = how->table;                                                         \
        value_t *out = to;                                                                         \
        for (int64_t i = 0; i < n; i++)                                                            \
            out[i] = table[in[i]];                                                                 \
    } while (0)

static void look_up(const how_t *how, int64_t first, int64_t n, void *to) {
    switch (how->kind << 8 | how->item) {
    case TABLE_OF_BYTES << 8 | 4: LOOK_UP(uint8_t, uint32_t); break;
    case TABLE_OF_BYTES << 8 | 8: LOOK_UP(uint8_t, uint64_t); break;
    case TABLE_OF_WORDS << 8 | 4: LOOK_UP(uint16_t, uint32_t); break;
    case TABLE_OF_WORDS << 8 | 8: LOOK_UP(uint16_t, uint64_t); break;
    }
}

static void numbers(const how_t *how, int64_t first, int64_t n, void *to) {
    if (how->linear)
        scale(how, first, n, to);
    else
        look_up(how, first, n, to);
}

/* What becomes of the numbers at `stored`. */
void hpclaunch_numbers(const how_t *how, void *to) { numbers(how, 0, how->size / how->kind, to); }

#define MASK(value_t)                                                                              \
    do {                                                                                           \
        value_t *values = to, masked = *(const value_t *)how->masked;                              \
        for (int64_t f = 0; f < how->count; f++) {                                                 \
            value_t fill = ((const value_t *)how->fills)[f];                                       \
            for (int64_t i = 0; i < n; i++)                                                        \
                values[i] = values[i] == fill ? masked : values[i];                                \
        }                                                                                          \
    } while (0)

static void mask(const how_t *how, int64_t bytes, void *to) {
    int64_t n;
    switch (how->kind) {
    case MASK_FLOAT: n = bytes / 4; MASK(float); break;
    case MASK_DOUBLE: n = bytes / 8; MASK(double); break;
    }
}

/* What is written past the cache need not be read into it first, which takes as long as the writing. It
 * can be done where there are 16 bytes at a time. */
#ifdef __SSE2__

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

#define MASK_VECTORS(value_t, vector_t, name, to_vector, from_vector)                                \
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

static int streamed(const how_t *how, char *to) { return how->streams && !to; }

static void all_streamed(void) {}

#endif

static int decode_one(const how_t *how, const void *source, int64_t size, void *target) {
    int looks_up = how->kind == TABLE_OF_BYTES || how->kind == TABLE_OF_WORDS;
    void *to = looks_up ? how->stored : target;
    void *inflated = how->unshuffle ? how->planes : to;
    if (how->inflate(how->decompressor, source, (size_t)size, inflated, (size_t)how->size, NULL))
        return 0;
    if (!looks_up && streamed(how, target))
        return 1;
    if (how->unshuffle)
        how->unshuffle((int32_t)how->width, (int32_t)how->size, how->planes, to);
    if (!looks_up)
        mask(how, how->size, target);
    else if (!streamed(how, target))
        numbers(how, 0, how->size / how->kind, target);
    return 1;
}

/* Decode `n` chunks. Returns the first that cannot be decoded; -1 if there is none. */
int64_t hpclaunch_decode(const how_t *how, int64_t n, const int64_t *sources, const int64_t *sizes,
                         const int64_t *targets) {
    int64_t i = 0;
    while (i < n && decode_one(how, AT(sources[i]), sizes[i], AT(targets[i])))
        i++;
    all_streamed();
    return i < n ? i : -1;
}

static int64_t nanoseconds(clockid_t clock) {
    struct timespec now;
    return clock_gettime(clock, &now) ? 0 : (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Read `n` chunks and decode each to its target. Those that follow each other in the file with no more than
 * `gap` bytes between them are read a few at a time, with what lies between, to `room` bytes at `stored`,
 * which so stay in the processor's cache; the largest has room there. Returns how many were decoded, from
 * the first on. `reads` tells how many reads there were, how many nanoseconds they waited (those that passed
 * less those computed) and how many of them in the one that waited longest. */
int64_t hpclaunch_read_and_decode(const how_t *how, int32_t file, int64_t n, const int64_t *offsets,
                                  const int64_t *sizes, const int64_t *targets, char *stored,
                                  int64_t room, int64_t gap, int64_t *reads) {
    int64_t i = 0;
    while (i < n) {
        int64_t first = offsets[i], end = first + sizes[i], next = i + 1;
        for (; next < n && offsets[next] >= end && offsets[next] - end <= gap; next++) {
            if (offsets[next] + sizes[next] - first > room)
                break;
            end = offsets[next] + sizes[next];
        }
        int64_t waited = nanoseconds(CLOCK_MONOTONIC);
        int64_t computed = nanoseconds(CLOCK_THREAD_CPUTIME_ID);
        int whole = first >= 0 && end - first <= room && fetch_one(file, first, end - first, stored);
        computed = nanoseconds(CLOCK_THREAD_CPUTIME_ID) - computed;
        waited = nanoseconds(CLOCK_MONOTONIC) - waited - computed;
        reads[0]++;
        reads[1] += waited;
        if (waited > reads[2])
            reads[2] = waited;
        while (whole && i < next &&
               decode_one(how, stored + (offsets[i] - first), sizes[i], AT(targets[i])))
            i++;
        if (i < next)
            break;
    }
    all_streamed();
    return i;
}

/* One element, or a row of them that lies together on both sides. */
static void copy(char *to, const char *from, int64_t bytes) {
    switch (bytes) {
    case 1: *to = *from; break;
    case 2: memcpy(to, from, 2); break;
    case 4: memcpy(to, from, 4); break;
    case 8: memcpy(to, from, 8); break;
    default: memcpy(to, from, (size_t)bytes);
    }
}

/* What a piece, which is what one chunk contributes along one axis, takes: `count` positions, as bytes
 * in the chunk and in the result. They are `inside` and `outside` and whole steps from there; where
 * `listed` is not null it holds instead the positions in the chunk and behind them those in the result. */
typedef struct {
    int64_t count, inside, inside_step, outside, outside_step;
    const int64_t *listed;
} piece_t;

static void place_one(const piece_t *const *pieces, int32_t rank, int64_t item, const char *from,
                      char *to) {
    if (rank == 0) {
        copy(to, from, item);
        return;
    }
    const piece_t *one = *pieces;
    int64_t n = one->count;
    if (one->listed) {
        for (int64_t i = 0; i < n; i++)
            place_one(pieces + 1, rank - 1, item, from + one->listed[i], to + one->listed[n + i]);
        return;
    }
    from += one->inside, to += one->outside;
    if (rank == 1 && one->inside_step == item && one->outside_step == item) {
        copy(to, from, n * item);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        place_one(pieces + 1, rank - 1, item, from + i * one->inside_step,
                  to + i * one->outside_step);
}

#define MOST_AXES 32

/* How chunks of a selection go into its result. Chunk number k of a grid in C order, whose axes have
 * as many pieces as `grid` says; `pieces` holds the address of the pieces of each axis. */
typedef struct {
    const piece_t *axes[MOST_AXES];
    const int64_t *grid;
    int32_t rank;
    int64_t item;
    char *out;
} places_t;

static int understood(places_t *places, int32_t rank, const int64_t *grid, const int64_t *pieces,
                      int64_t item, void *out) {
    if (rank > MOST_AXES)
        return 0;
    for (int32_t axis = 0; axis < rank; axis++)
        places->axes[axis] = AT(pieces[axis]);
    places->grid = grid, places->rank = rank, places->item = item, places->out = out;
    return 1;
}

static void place(const places_t *places, int64_t k, const void *values) {
    const piece_t *chosen[MOST_AXES];
    for (int32_t axis = places->rank - 1; axis >= 0; axis--) {
        chosen[axis] = &places->axes[axis][k % places->grid[axis]];
        k /= places->grid[axis];
    }
    place_one(chosen, places->rank, places->item, values, places->out);
}

/* Decode `n` chunks, each to `chunk`, and put what is wanted of it into the result.
 * Returns the first that cannot be decoded; -1 if there is none, -2 where there are too many axes. */
int64_t hpclaunch_decode_and_place(const how_t *how, int64_t n, const int64_t *sources,
                                   const int64_t *sizes, const int64_t *ks, void *chunk,
                                   int32_t rank, const int64_t *grid, const int64_t *pieces,
                                   int64_t item, void *out) {
    places_t places;
    if (!understood(&places, rank, grid, pieces, item, out))
        return -2;
    for (int64_t i = 0; i < n; i++) {
        if (!decode_one(how, AT(sources[i]), sizes[i], chunk))
            return i;
        place(&places, ks[i], chunk);
    }
    return -1;
}
