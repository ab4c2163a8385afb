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

#include "streaming.h"
#include "values.h"

#define AT(address) ((void *)(intptr_t)(address))

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

/* What becomes of the numbers at `stored`. */
void hpclaunch_numbers(const how_t *how, void *to) { numbers(how, 0, how->size / how->kind, to); }

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

/* Whether a piece of a file may be read to so much room; sums of such numbers do not overflow. */
static int readable(int64_t offset, int64_t size, int64_t room) {
    return 0 <= offset && offset < INT64_MAX / 2 && 0 <= size && size <= room;
}

/* Read `n` chunks and decode each to its target. Those that follow each other in the file with no more than
 * `gap` bytes between them are read a few at a time, with what lies between, to `room` bytes at `stored`,
 * which so stay in the processor's cache. Returns how many were decoded, from the first on. `reads` tells how
 * many reads there were and how many nanoseconds they waited: those that passed less those computed. */
int64_t hpclaunch_read_and_decode(const how_t *how, int32_t file, int64_t n, const int64_t *offsets,
                                  const int64_t *sizes, const int64_t *targets, char *stored,
                                  int64_t room, int64_t gap, int64_t *reads) {
    int64_t i = 0;
    while (i < n && readable(offsets[i], sizes[i], room)) {
        int64_t first = offsets[i], end = first + sizes[i], next = i + 1;
        for (; next < n && readable(offsets[next], sizes[next], room); next++) {
            int64_t between = offsets[next] - end;
            if (between < 0 || between > gap || offsets[next] + sizes[next] - first > room)
                break;
            end = offsets[next] + sizes[next];
        }
        int64_t waited = nanoseconds(CLOCK_MONOTONIC);
        int64_t computed = nanoseconds(CLOCK_THREAD_CPUTIME_ID);
        int whole = fetch_one(file, first, end - first, stored);
        computed = nanoseconds(CLOCK_THREAD_CPUTIME_ID) - computed;
        waited = nanoseconds(CLOCK_MONOTONIC) - waited - computed;
        reads[0]++;
        reads[1] += waited;
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
