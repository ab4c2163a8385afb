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
#include <unistd.h>

#define AT(address) ((void *)(intptr_t)(address))

typedef int (*inflate_t)(void *decompressor, const void *in, size_t in_size, void *out,
                         size_t out_size, size_t *actual);
typedef int32_t (*unshuffle_t)(int32_t width, int32_t size, const void *in, void *out);

/* Raised whenever an argument changes its meaning: a library of another source is not used. */
int32_t hpclaunch_chunks_version(void) { return 1; }

/* Read `n` pieces of a file. Returns how many, from the first on, were read in full. */
int64_t hpclaunch_fetch(int32_t file, int64_t n, const int64_t *offsets, const int64_t *sizes,
                        const int64_t *targets) {
    for (int64_t i = 0; i < n; i++) {
        int64_t done = 0;
        while (done < sizes[i]) {
            ssize_t got = pread(file, (char *)AT(targets[i]) + done, (size_t)(sizes[i] - done),
                                (off_t)(offsets[i] + done));
            if (got <= 0)
                return i;
            done += got;
        }
    }
    return n;
}

/* Inflate, and unshuffle where `unshuffle` is not null, `n` chunks of `size` bytes each.
 * `planes` has room for one. Returns the first that cannot be decoded; -1 if there is none. */
int64_t hpclaunch_decode(int64_t n, const int64_t *sources, const int64_t *sizes,
                         const int64_t *targets, int64_t size, int32_t width, inflate_t inflate,
                         void *decompressor, unshuffle_t unshuffle, void *planes) {
    for (int64_t i = 0; i < n; i++) {
        void *to = unshuffle ? planes : AT(targets[i]);
        if (inflate(decompressor, AT(sources[i]), (size_t)sizes[i], to, (size_t)size, NULL))
            return i;
        if (unshuffle)
            unshuffle(width, (int32_t)size, planes, AT(targets[i]));
    }
    return -1;
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

/* What a dimension contributes: for each piece, positions as bytes in the chunk and in the result. */
typedef struct {
    const int64_t *starts;  /* the positions of piece i are starts[i] to starts[i + 1] */
    const int64_t *inside;
    const int64_t *outside;
    const int64_t *together; /* per piece: 1 where its positions follow each other on both sides */
} dimension_t;

static void place_one(const dimension_t *dims, const int64_t *piece, int32_t axis, int32_t rank,
                      int64_t item, const char *from, char *to) {
    if (axis == rank) {
        copy(to, from, item);
        return;
    }
    const dimension_t *d = &dims[axis];
    int64_t first = d->starts[piece[axis]], stop = d->starts[piece[axis] + 1];
    if (axis == rank - 1 && d->together[piece[axis]]) {
        copy(to + d->outside[first], from + d->inside[first], (stop - first) * item);
        return;
    }
    for (int64_t p = first; p < stop; p++)
        place_one(dims, piece, axis + 1, rank, item, from + d->inside[p], to + d->outside[p]);
}

#define MOST_AXES 32

/* How chunks of a selection go into its result. Chunk number k of a grid in C order, whose axes have
 * as many pieces as `grid` says; `tables` holds the four addresses of each axis's dimension_t. */
typedef struct {
    dimension_t dims[MOST_AXES];
    const int64_t *grid;
    int32_t rank;
    int64_t item;
    char *out;
} places_t;

static int understood(places_t *places, int32_t rank, const int64_t *grid, const int64_t *tables,
                      int64_t item, void *out) {
    if (rank > MOST_AXES)
        return 0;
    for (int32_t axis = 0; axis < rank; axis++) {
        places->dims[axis].starts = AT(tables[4 * axis]);
        places->dims[axis].inside = AT(tables[4 * axis + 1]);
        places->dims[axis].outside = AT(tables[4 * axis + 2]);
        places->dims[axis].together = AT(tables[4 * axis + 3]);
    }
    places->grid = grid, places->rank = rank, places->item = item, places->out = out;
    return 1;
}

static void place(const places_t *places, int64_t k, const void *values) {
    int64_t piece[MOST_AXES];
    for (int32_t axis = places->rank - 1; axis >= 0; axis--) {
        piece[axis] = k % places->grid[axis];
        k /= places->grid[axis];
    }
    place_one(places->dims, piece, 0, places->rank, places->item, values, places->out);
}

/* Put what is wanted of `n` decoded chunks, which lie `stride` bytes apart, into the result.
 * Returns 0; -1 where there are too many axes and nothing was done. */
int32_t hpclaunch_place(int64_t n, const int64_t *ks, const void *values, int64_t stride,
                        int32_t rank, const int64_t *grid, const int64_t *tables, int64_t item,
                        void *out) {
    places_t places;
    if (!understood(&places, rank, grid, tables, item, out))
        return -1;
    for (int64_t i = 0; i < n; i++)
        place(&places, ks[i], (const char *)values + i * stride);
    return 0;
}

/* Decode `n` chunks, each to `chunk`, and put what is wanted of it into the result.
 * Returns the first that cannot be decoded; -1 if there is none, -2 where there are too many axes. */
int64_t hpclaunch_decode_and_place(int64_t n, const int64_t *sources, const int64_t *sizes,
                                   int64_t size, int32_t width, inflate_t inflate,
                                   void *decompressor, unshuffle_t unshuffle, void *planes,
                                   const int64_t *ks, void *chunk, int32_t rank,
                                   const int64_t *grid, const int64_t *tables, int64_t item,
                                   void *out) {
    places_t places;
    int64_t target = (int64_t)(intptr_t)chunk;
    if (!understood(&places, rank, grid, tables, item, out))
        return -2;
    for (int64_t i = 0; i < n; i++) {
        if (hpclaunch_decode(1, sources + i, sizes + i, &target, size, width, inflate,
                             decompressor, unshuffle, planes) >= 0)
            return i;
        place(&places, ks[i], chunk);
    }
    return -1;
}
