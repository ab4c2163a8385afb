/* How chunks are decoded, and what becomes of the values in them. Part of chunks.c. */

#ifndef HPCLAUNCH_VALUES_H
#define HPCLAUNCH_VALUES_H

#include <stddef.h>
#include <stdint.h>

typedef int (*inflate_t)(void *decompressor, const void *in, size_t in_size, void *out,
                         size_t out_size, size_t *actual);
typedef int32_t (*unshuffle_t)(int32_t width, int32_t size, const void *in, void *out);

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

/* Of the numbers at `stored` some, and what they become. */
static void numbers(const how_t *how, int64_t first, int64_t n, void *to) {
    if (how->linear)
        scale(how, first, n, to);
    else
        look_up(how, first, n, to);
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

/* Of values that are at their place already. */
static void mask(const how_t *how, int64_t bytes, void *to) {
    int64_t n;
    switch (how->kind) {
    case MASK_FLOAT: n = bytes / 4; MASK(float); break;
    case MASK_DOUBLE: n = bytes / 8; MASK(double); break;
    }
}

#endif
