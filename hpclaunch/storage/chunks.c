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

#define AT(address) ((void *)(intptr_t)(address))

typedef int (*inflate_t)(void *decompressor, const void *in, size_t in_size, void *out,
                         size_t out_size, size_t *actual);
typedef int32_t (*unshuffle_t)(int32_t width, int32_t size, const void *in, void *out);

/* Raised whenever an argument changes its meaning: a library of another source is not used. */
int32_t hpclaunch_chunks_version(void) { return 5; }

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
} how_t;

enum kind { AS_STORED = 0, TABLE_OF_BYTES = 1, TABLE_OF_WORDS = 2, MASK_FLOAT = 4, MASK_DOUBLE = 8 };

/* In which precision a number is scaled and what comes out; every step is rounded to the latter. */
enum linear { IN_FLOAT = 1, IN_DOUBLE_TO_FLOAT = 2, IN_DOUBLE = 3 };

#define LINEAR(number_t, value_t, step_t)                                                          \
    do {                                                                                           \
        const number_t *in = how->stored;                                                          \
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

static void scale(const how_t *how, void *to) {
    int64_t n = how->size / how->kind;
    switch (how->kind << 8 | how->is_signed) {
    case TABLE_OF_BYTES << 8: LINEAR_OF(uint8_t); break;
    case TABLE_OF_BYTES << 8 | 1: LINEAR_OF(int8_t); break;
    case TABLE_OF_WORDS << 8: LINEAR_OF(uint16_t); break;
    case TABLE_OF_WORDS << 8 | 1: LINEAR_OF(int16_t); break;
    }
}

#define LOOK_UP(number_t, value_t)                                                                 \
    do {                                                                                           \
        const number_t *in = how->stored;                                                          \
        const value_t *table = how->table;                                                         \
        value_t *out = to;                                                                         \
        for (int64_t i = 0; i < n; i++)                                                            \
            out[i] = table[in[i]];                                                                 \
    } while (0)

static void look_up(const how_t *how, void *to) {
    int64_t n = how->size / how->kind;
    switch (how->kind << 8 | how->item) {
    case TABLE_OF_BYTES << 8 | 4: LOOK_UP(uint8_t, uint32_t); break;
    case TABLE_OF_BYTES << 8 | 8: LOOK_UP(uint8_t, uint64_t); break;
    case TABLE_OF_WORDS << 8 | 4: LOOK_UP(uint16_t, uint32_t); break;
    case TABLE_OF_WORDS << 8 | 8: LOOK_UP(uint16_t, uint64_t); break;
    }
}

/* What becomes of the numbers at `stored`. */
void hpclaunch_numbers(const how_t *how, void *to) {
    if (how->linear)
        scale(how, to);
    else
        look_up(how, to);
}

#define MASK(value_t)                                                                              \
    do {                                                                                           \
        value_t *values = to, masked = *(const value_t *)how->masked;                              \
        for (int64_t f = 0; f < how->count; f++) {                                                 \
            value_t fill = ((const value_t *)how->fills)[f];                                       \
            for (int64_t i = 0; i < n; i++)                                                        \
                values[i] = values[i] == fill ? masked : values[i];                                \
        }                                                                                          \
    } while (0)

static void mask(const how_t *how, void *to) {
    int64_t n = how->size / how->kind;
    if (how->kind == MASK_FLOAT)
        MASK(float);
    else
        MASK(double);
}

static int decode_one(const how_t *how, const void *source, int64_t size, void *target) {
    int looks_up = how->kind == TABLE_OF_BYTES || how->kind == TABLE_OF_WORDS;
    void *to = looks_up ? how->stored : target;
    void *inflated = how->unshuffle ? how->planes : to;
    if (how->inflate(how->decompressor, source, (size_t)size, inflated, (size_t)how->size, NULL))
        return 0;
    if (how->unshuffle)
        how->unshuffle((int32_t)how->width, (int32_t)how->size, how->planes, to);
    if (looks_up)
        hpclaunch_numbers(how, target);
    else if (how->kind != AS_STORED)
        mask(how, target);
    return 1;
}

/* Decode `n` chunks. Returns the first that cannot be decoded; -1 if there is none. */
int64_t hpclaunch_decode(const how_t *how, int64_t n, const int64_t *sources, const int64_t *sizes,
                         const int64_t *targets) {
    for (int64_t i = 0; i < n; i++)
        if (!decode_one(how, AT(sources[i]), sizes[i], AT(targets[i])))
            return i;
    return -1;
}

static int64_t nanoseconds(clockid_t clock) {
    struct timespec now;
    return clock_gettime(clock, &now) ? 0 : (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Read `n` chunks, ascending in the file, and decode each to its target. They are read a few at a time,
 * with what lies between them, to `room` bytes at `stored`, which so stay in the processor's cache; the
 * largest has room there. Returns how many were decoded, from the first on. `reads` tells how many
 * reads there were and how many nanoseconds they waited: those that passed less those computed. */
int64_t hpclaunch_read_and_decode(const how_t *how, int32_t file, int64_t n, const int64_t *offsets,
                                  const int64_t *sizes, const int64_t *targets, char *stored,
                                  int64_t room, int64_t *reads) {
    for (int64_t i = 0; i < n;) {
        int64_t first = offsets[i], size = sizes[i], next = i + 1;
        for (; next < n && offsets[next] + sizes[next] - first <= room; next++)
            if (offsets[next] + sizes[next] - first > size)
                size = offsets[next] + sizes[next] - first;
        int64_t began = nanoseconds(CLOCK_MONOTONIC);
        int64_t computed = nanoseconds(CLOCK_THREAD_CPUTIME_ID);
        int whole = size <= room && fetch_one(file, first, size, stored);
        computed = nanoseconds(CLOCK_THREAD_CPUTIME_ID) - computed;
        reads[0]++;
        reads[1] += nanoseconds(CLOCK_MONOTONIC) - began - computed;
        if (!whole)
            return i;
        for (; i < next; i++)
            if (!decode_one(how, stored + (offsets[i] - first), sizes[i], AT(targets[i])))
                return i;
    }
    return n;
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
