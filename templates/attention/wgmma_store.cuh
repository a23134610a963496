/* wgmma.cu, what becomes of a finished tile: LSE, and O from registers or through shared memory. Included behind
 * wgmma_softmax.cuh.
 */
#ifndef TRIAGE_ATTENTION_WGMMA_STORE_CUH
#define TRIAGE_ATTENTION_WGMMA_STORE_CUH

/* ---- store ---- */

/* Where this thread's first row of a tile is; the second one is 8 below. */
struct place_t {
    int head, batch;
    int row, end;   // in its sequence; the sequence's end
    long long at;   // in the tensor
};

__device__ __forceinline__ place_t find_place(const tile_t &tile, int wg)
{
    place_t place;
    place.head = read_field(tile.head);
    place.batch = kOffsets ? 0 : read_field(tile.batch);
    place.end = read_field(tile.q_len);
    place.row = read_field(tile.m0) + wg * 64 + threadIdx.x % 128 / 32 * 16 + threadIdx.x % 32 / 4;
    place.at = kOffsets ? read_field(tile.q_row) + place.row : place.row;
    return place;
}

/* LSE of a thread's two rows; what O is to be multiplied with. */
__device__ __forceinline__ void finish_rows(const args_t &args, const rows_t &rows, const place_t &place,
                                            float (&inverse)[2])
{
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        const float sum = quad_sum(rows.sum[r]);
        inverse[r] = sum == 0.0f ? 0.0f : __fdividef(1.0f, sum);
        if (args.lse && threadIdx.x % 4 == 0 && place.row + r * 8 < place.end)
            args.lse[place.batch * args.lse_stride.batch + place.head * args.lse_stride.head +
                     (place.at + r * 8) * args.lse_stride.row] =
                sum == 0.0f ? minus_infinity() : (rows.maximum[r] + __log2f(sum)) * kLn2;
    }
}

/* O from registers: groups of four 8 x 8 pieces, of which a lane ends with 16 bytes of one row. */
__device__ __forceinline__ void store_direct(const args_t &args, const float (&o)[kDvWide / 2],
                                             const float (&inverse)[2], const place_t &place)
{
    const int q = threadIdx.x % 4;
    out_t *out = static_cast<out_t *>(args.o) + place.batch * args.o_stride.batch + place.head * args.o_stride.head;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        const bool exists = place.row + r * 8 < place.end;
        out_t *to = out + (place.at + r * 8) * args.o_stride.row;
#pragma unroll
        for (int i = 0; i < (kDvWide + 31) / 32; ++i) {
            unsigned v[4];
#pragma unroll
            for (int t = 0; t < 4; ++t) {
                const int j = (4 * (i * 4 + t) + 2 * r) % (kDvWide / 2); // a piece past the last one is not stored
                v[t] = pack2<out_t>(o[j] * inverse[r], o[j + 1] * inverse[r]);
            }
            quad_transpose(v, q);
            const int column = i * 32 + q * 8;
            if (exists && (kDv % 32 == 0 || column < kDv))
                *reinterpret_cast<uint4 *>(to + column) = make_uint4(v[0], v[1], v[2], v[3]);
        }
    }
}

/* O through the rows of this warpgroup in a Q slot, which nobody reads any more. stmatrix: lanes 0-7 address the
 * 8 x 8 piece at rows 0-7 of column group j, 8-15 rows 8-15 of j, 16-31 the same of j + 1. */
__device__ __forceinline__ void store_staged(const args_t &args, const float (&o)[kDvWide / 2],
                                             const float (&inverse)[2], const tile_t &tile, int q, int wg)
{
    const int thread = threadIdx.x % 128, lane = thread % 32;
    const int row = thread / 32 * 16 + lane % 16;
    unsigned char *rows = q_slot(q) + (wg * 64 + row) * 128;
    if constexpr (kPingPong == 0) named_barrier_sync(1 + kConsumers + wg, 128); // a turn has done it: all have read Q
#pragma unroll
    for (int j = 0; j < kDvWide / 8; j += 2) {
        unsigned v[4];
#pragma unroll
        for (int t = 0; t < 4; ++t) {
            const int i = 4 * (j + t / 2) + 2 * (t % 2);
            v[t] = pack2<out_t>(o[i] * inverse[t % 2], o[i + 1] * inverse[t % 2]);
        }
        stmatrix_x4(rows + j / 8 * kTileM * 128 + ((j % 8 + lane / 16) ^ row % 8) * 16, v[0], v[1], v[2], v[3]);
    }
    fence_proxy_async();
    named_barrier_sync(1 + kConsumers + wg, 128);
    if (thread == 0) {
#pragma unroll
        for (int slab = 0; slab < kDvSlabs; ++slab)
            tma_store_4d(&args.map_o, q_slot(q) + slab * kTileM * 128 + wg * 64 * 128, slab * 64, tile.m0 + wg * 64,
                         tile.head, tile.batch);
        tma_store_commit();
    }
}

#endif
