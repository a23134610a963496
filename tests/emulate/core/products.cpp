// Products of matrices and the loads that feed them, by their definition.
#include "state.h"

#include <math.h>
#include <stdlib.h>

namespace cta {

// ---- small floats ----

static float ldexp_of(unsigned sign, unsigned mantissa, int exponent) {
    const float value = ldexpf((float)mantissa, exponent);
    return sign ? -value : value;
}

static float small_float(unsigned bits, int exponent_bits, int mantissa_bits) {
    const unsigned sign = bits >> (exponent_bits + mantissa_bits) & 1, ones = (1u << exponent_bits) - 1;
    const unsigned exponent = bits >> mantissa_bits & ones, mantissa = bits & ((1u << mantissa_bits) - 1);
    const int bias = (1 << (exponent_bits - 1)) - 1;
    if (mantissa_bits == 10 && exponent == ones)
        return mantissa ? NAN : sign ? -INFINITY : INFINITY;
    if (mantissa_bits == 3 && exponent == ones && mantissa == 7)
        return NAN;
    return exponent == 0
               ? ldexp_of(sign, mantissa, 1 - bias - mantissa_bits)
               : ldexp_of(sign, mantissa | 1u << mantissa_bits, (int)exponent - bias - mantissa_bits);
}

static float bits_to_float(unsigned bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

struct tables {
    float f16[1 << 16], e4m3[1 << 8];
    tables() {
        for (unsigned i = 0; i < 1 << 16; i++)
            f16[i] = small_float(i, 5, 10);
        for (unsigned i = 0; i < 1 << 8; i++)
            e4m3[i] = small_float(i, 4, 3);
    }
};

float value_of(element type, unsigned bits) {
    static const tables *known = new tables;
    return type == kBf16  ? bits_to_float(bits << 16)
           : type == kF16 ? known->f16[bits & 0xffff]
                          : known->e4m3[bits & 0xff];
}

// Of a value that is not negative and finite: units of the last place, to nearest even.
static unsigned round_small(float value, int mantissa_bits, int least_exponent) {
    int exponent;
    if (value == 0)
        return 0;
    frexpf(value, &exponent); // value = [0.5, 1) 2^exponent
    const int least = exponent - 1 < least_exponent ? least_exponent : exponent - 1;
    const unsigned units = (unsigned)nearbyintf(ldexpf(value, mantissa_bits - least));
    return units + ((unsigned)(least - least_exponent) << mantissa_bits); // a carry moves into the exponent
}

unsigned bits_of(element type, float value) {
    unsigned bits;
    memcpy(&bits, &value, 4);
    const unsigned sign = bits >> 31;
    const float size = fabsf(value);
    if (type == kBf16)
        return value != value ? bits >> 16 | 0x40 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    if (type == kF16)
        return sign << 15 | (value != value ? 0x7fffu : size >= 65520 ? 0x7c00u : round_small(size, 10, -14));
    return sign << 7 | (value != value ? 0x7fu : size >= 448 ? 0x7eu : round_small(size, 3, -6));
}

// ---- a warp's ----

struct matrix_access {
    unsigned *r;
    unsigned offset;
    bool transposed;
};

static void check_row(unsigned offset) {
    if (offset % 16 || offset % kWindow + 16 > room_bytes)
        fail("16 bytes of shared memory at %u of %u for a lane of a warp", offset % kWindow, room_bytes);
}

// In the name of a lane, which may ask for more than products take: of what it may not read yet it gets NaN.
static bool read_row(unsigned offset, unsigned agent) {
    check_row(offset);
    const bool may = may_read(offset, 16, agent);
    if (may)
        mark_read(offset, 16, agent, clock_of(agent)[agent]);
    return may;
}

static void load_matrices(void *const (&of_lane)[32], unsigned first) {
    static unsigned char rows[32][16];
    for (unsigned lane = 0; lane < 32; lane++) {
        const unsigned offset = ((const matrix_access *)of_lane[lane])->offset;
        memset(rows[lane], 0xff, 16);
        if (read_row(offset, first + lane))
            memcpy(rows[lane], rooms + offset, 16);
    }
    for (unsigned lane = 0; lane < 32; lane++) {
        const matrix_access *m = (const matrix_access *)of_lane[lane];
        const unsigned g = lane / 4, q = lane % 4;
        for (unsigned i = 0; i < 4; i++) {
            if (!m->transposed) {
                memcpy(&m->r[i], rows[i * 8 + g] + 4 * q, 4);
                continue;
            }
            memcpy(&m->r[i], rows[i * 8 + 2 * q] + 2 * g, 2);
            memcpy((char *)&m->r[i] + 2, rows[i * 8 + 2 * q + 1] + 2 * g, 2);
        }
    }
}

void ldmatrix(unsigned (&r)[4], unsigned address, bool transposed) {
    matrix_access mine = {r, offset_of(shared_at(address)), transposed};
    together(transposed ? "ldmatrix.trans" : "ldmatrix", &mine, load_matrices);
}

static void write_row(unsigned offset, unsigned agent) {
    check_row(offset);
    check_write(offset, 16, agent);
    mark_write(offset, 16, agent, clock_of(agent)[agent]);
}

static void store_matrices(void *const (&of_lane)[32], unsigned first) {
    for (unsigned lane = 0; lane < 32; lane++)
        write_row(((const matrix_access *)of_lane[lane])->offset, first + lane);
    for (unsigned lane = 0; lane < 32; lane++) {
        const matrix_access *m = (const matrix_access *)of_lane[lane];
        const unsigned g = lane / 4, q = lane % 4;
        for (unsigned i = 0; i < 4; i++)
            for (unsigned e = 0; e < 2; e++) {
                const unsigned row = m->transposed ? 2 * q + e : g, column = m->transposed ? g : 2 * q + e;
                const unsigned short bits = m->r[i] >> 16 * e & 0xffff;
                memcpy(rooms + ((const matrix_access *)of_lane[i * 8 + row])->offset + 2 * column, &bits, 2);
            }
    }
}

void stmatrix(void *row, const unsigned (&r)[4], bool transposed) {
    matrix_access mine = {(unsigned *)r, offset_of(row), transposed};
    together(transposed ? "stmatrix.trans" : "stmatrix", &mine, store_matrices);
}

unsigned movmatrix(unsigned r) {
    const lanes all = exchange("movmatrix", r);
    const unsigned lane = self->thread.x % 32, g = lane / 4, q = lane % 4;
    unsigned out = 0;
    for (unsigned e = 0; e < 2; e++) // element (g, 2q + e) of the result is (2q + e, g)
        out |= (unsigned)(all.of[(2 * q + e) * 4 + g / 2] >> g % 2 * 16 & 0xffff) << e * 16;
    return out;
}

struct fragment {
    float *d;
    unsigned a[4], b[2];
    element type;
};

// Values of a register of two 16-bit or four 8-bit ones.
static unsigned unpack(float *to, unsigned r, element type) {
    const unsigned count = type == kE4m3 ? 4 : 2;
    for (unsigned i = 0; i < count; i++)
        to[i] = value_of(type, r >> i * 32 / count & (count == 4 ? 0xff : 0xffff));
    return count;
}

static void multiply_fragments(void *const (&of_lane)[32], unsigned) {
    static float a[16][32], b[8][32];
    const element type = ((const fragment *)of_lane[0])->type;
    const unsigned of_register = type == kE4m3 ? 4 : 2, depth = 8 * of_register;
    for (unsigned lane = 0; lane < 32; lane++) {
        const fragment *f = (const fragment *)of_lane[lane];
        const unsigned g = lane / 4, at = lane % 4 * of_register;
        for (unsigned i = 0; i < 4; i++)
            unpack(&a[g + i % 2 * 8][at + i / 2 * depth / 2], f->a[i], type);
        for (unsigned i = 0; i < 2; i++)
            unpack(&b[g][at + i * depth / 2], f->b[i], type);
    }
    for (unsigned lane = 0; lane < 32; lane++)
        for (unsigned e = 0; e < 4; e++) {
            const float *row = a[lane / 4 + e / 2 * 8], *column = b[lane % 4 * 2 + e % 2];
            float sum = 0;
            for (unsigned k = 0; k < depth; k++)
                sum += row[k] * column[k];
            ((const fragment *)of_lane[lane])->d[e] += sum;
        }
}

void mma(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1, element type) {
    fragment mine = {d, {a[0], a[1], a[2], a[3]}, {b0, b1}, type};
    together("mma", &mine, multiply_fragments);
}

// ---- a warpgroup's: issued by each thread, done when the first one waits for it ----

struct group_state {
    unsigned issued[128]; // products, by thread
    unsigned done;
    std::vector<fiber *> waiting;
};
static std::vector<group_state> groups;

static group_state &group_of(const fiber *f) {
    return groups[f->number / 128];
}

void start_products() {
    groups.assign((fibers.size() + 127) / 128, group_state());
}

// Where byte `byte` of line `line` lies: K-major, line is an m or n; MN-major, a k, and bytes run along m or n.
static unsigned operand_at(unsigned long long desc, bool mn, unsigned line, unsigned byte) {
    const unsigned width = desc >> 62 == 1 ? 128 : desc >> 62 == 2 ? 64 : 32;
    const unsigned start = (desc & 0x3fff) << 4, leading = (desc >> 16 & 0x3fff) << 4,
                   stride = (desc >> 32 & 0x3fff) << 4;
    unsigned at = start + line / 8 * stride + line % 8 * width + byte;
    if (mn)
        at = start + byte / width * leading + line / 8 * stride + line % 8 * width + byte % width;
    return at ^ (at >> 3 & (width - 16)); // 0x70, 0x30, 0x10
}

// Of an operand of `lines` rows of m or n, 32 bytes of k each: every 16 bytes once.
template <class F>
static void each_piece(unsigned long long desc, bool mn, unsigned from, unsigned lines, F with) {
    for (unsigned i = 0; i < lines * 2; i++)
        with(mn ? operand_at(desc, true, i % 16, from * 2 + i / 16 * 16)
                : operand_at(desc, false, from + i / 2, i % 2 * 16));
}

// What this warp's part of a product reads.
template <class F> static void each_piece_read(const product &p, F with) {
    const unsigned base = self->rank * kWindow, warp = self->thread.x / 32 % 4;
    const auto in_room = [&](unsigned at) {
        if (at + 16 > room_bytes)
            fail("a product reads shared memory at %u: the CTA has %u bytes", at, room_bytes);
        with(base + at);
    };
    each_piece(p.b_desc, p.b_is_mn, 0, p.n, in_room);
    if (!p.a)
        each_piece(p.a_desc, p.a_is_mn, warp * 16, 16, in_room);
}

// Reads in the name of a warp's products, whose time is their number: a lane knows of those that it has waited for.
static unsigned products_of_warp() {
    return (unsigned)fibers.size() + ranks * kBarriers + self->warp;
}

void wgmma(const product &p) {
    group_state &g = group_of(self);
    self->products.push_back({p, {}, self->product_group});
    product_under_way &mine = self->products.back();
    if (p.a)
        memcpy(mine.a, p.a, sizeof mine.a);
    if (self->thread.x % 32 == 0)
        each_piece_read(p, [](unsigned offset) {
            check_read(offset, 4, self->number);
            mark_read(offset, 4, products_of_warp(), kUnderWay);
        });
    g.issued[self->number % 128]++;
    for (fiber *f : g.waiting)
        wake(f);
    g.waiting.clear();
}

void wgmma_commit() {
    self->product_group++;
}

static float operand_value(const product &p, const char *room, unsigned long long desc, bool mn,
                           unsigned line, unsigned k) {
    const unsigned size = p.type == kE4m3 ? 1 : 2;
    unsigned bits = 0;
    memcpy(&bits,
           room + (mn ? operand_at(desc, true, k, line * size) : operand_at(desc, false, line, k * size)),
           size);
    return value_of(p.type, bits);
}

// What thread `t` of a group gave to product `number`.
static const product_under_way &given(const fiber *group, unsigned t, unsigned number) {
    return group[t].products[number - group[t].products_ended];
}

static float a_of[64][32], b_of[32][256], sums[64][256];

static void take_operands(const fiber *group, unsigned number, const product &p, unsigned depth) {
    for (unsigned t = 0; t < 128; t++) {
        const product_under_way &own = given(group, t, number);
        if (own.p.n != p.n || own.p.b_desc != p.b_desc || own.p.keep != p.keep || own.p.a_desc != p.a_desc)
            fail("threads of a warpgroup issue different products");
        for (unsigned i = 0; p.a && i < 4; i++)
            unpack(&a_of[t / 32 * 16 + t % 32 / 4 + i % 2 * 8][t % 4 * depth / 8 + i / 2 * depth / 2],
                   own.a[i], p.type);
    }
    const char *room = (const char *)group[0].room;
    for (unsigned k = 0; k < depth; k++) {
        for (unsigned n = 0; n < p.n; n++)
            b_of[k][n] = operand_value(p, room, p.b_desc, p.b_is_mn, n, k);
        for (unsigned m = 0; !p.a && m < 64; m++)
            a_of[m][k] = operand_value(p, room, p.a_desc, p.a_is_mn, m, k);
    }
}

static void multiply(const fiber *group, unsigned number) {
    const product p = given(group, 0, number).p;
    const unsigned depth = p.type == kE4m3 ? 32 : 16;
    take_operands(group, number, p, depth);
    for (unsigned m = 0; m < 64; m++) {
        memset(sums[m], 0, sizeof sums[m]);
        for (unsigned k = 0; k < depth; k++)
            for (unsigned n = 0; n < p.n; n++)
                sums[m][n] += a_of[m][k] * b_of[k][n];
    }
    for (unsigned t = 0; t < 128; t++) {
        float *d = given(group, t, number).p.d;
        for (unsigned i = 0; i < p.n / 2; i++) {
            const float sum = sums[t / 32 * 16 + t % 32 / 4 + i / 2 % 2 * 8][i / 4 * 8 + t % 4 * 2 + i % 2];
            d[i] = (p.keep ? d[i] : 0) + sum;
        }
    }
}

static bool have_all_issued(const group_state &g, unsigned number) {
    for (unsigned issued : g.issued)
        if (issued <= number)
            return false;
    return true;
}

// Product `number` of this warpgroup is done.
static void finish(group_state &g, unsigned number) {
    const fiber *group = &fibers[self->number / 128 * 128];
    while (g.done <= number) {
        if (have_all_issued(g, g.done)) {
            multiply(group, g.done);
            g.done++;
        } else {
            g.waiting.push_back(self);
            sleep("a product of a warpgroup", number);
        }
    }
}

void wgmma_wait(int pending) {
    const unsigned agent = products_of_warp();
    while (!self->products.empty() && self->products.front().group + pending < self->product_group) {
        finish(group_of(self), self->products_ended);
        const uint32_t ended = ++self->products_ended;
        if (clock_of(agent)[agent] < ended) { // the first lane that knows
            clock_of(agent)[agent] = ended;
            each_piece_read(self->products.front().p,
                            [&](unsigned offset) { mark_read(offset, 4, agent, ended); });
        }
        clock_of(self->number)[agent] = ended;
        self->products.pop_front();
    }
}

} // namespace cta
