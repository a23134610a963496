/* mma.cu and patch.cu: the pieces of a tile's blocks that a warp computes. Included behind the constants that it uses (kBlockM,
 * kBlockK, kSubN, kMTiles, kNTiles, kSubs, kSlots, kWarps, kStep, and what a tile has at most). The kernel defines place_y,
 * place_x and rows_of_y.
 */
#ifndef TRIAGE_BSR_SDDMM_PIECES_CUH
#define TRIAGE_BSR_SDDMM_PIECES_CUH

#include "bsr_sddmm/finish.cuh"
#include "lib/tile.cuh"

/* What a lane addresses for ldmatrix, from the start of a box of `width` lines on, at n 0: sixteen lines from `line` on, the
 * halves of n 16. The four matrices are in the order of the fragments: of a, lines run faster (is_a); of b, n. */
template <int layout, int width, bool is_a> __device__ __forceinline__ int lane_offset(int lane, int line)
{
    const int in_matrix = lane % 8, low = lane / 8 % 2, high = lane / 16;
    const int line_half = is_a ? low : high, n_half = is_a ? high : low;
    if constexpr (layout == 0)
        return swizzled<kStep / 8>(line + line_half * 8 + in_matrix, n_half);
    else
        return swizzled<width / 8>(n_half * 8 + in_matrix, line / 8 + line_half);
}

/* What it addresses in Y's and X's part of a stage: from line `line` of a block row or column of the tile on. */
__device__ __forceinline__ int place_y(int lane, int row, int line);
__device__ __forceinline__ int place_x(int lane, int col, int line);
/* Which lines of Y these are: the same number for the same ones. */
__device__ __forceinline__ int rows_of_y(int row, int line);

/* A warp's pieces, each kMTiles * 16 rows by kSubN columns of a block. */
struct pieces {
    int share; // of a warp, the last ones' apart
    int count; // of this one
    unsigned places[kSlots]; // this lane's offsets in Y's and X's part of a stage, in 16 bytes: low and high half
    unsigned fresh;          // bit s: slot s has other rows of Y than the one before
};

__device__ __forceinline__ pieces find_pieces(const int *tile, int warp, int lane)
{
    constexpr int kAcross = kBlockK / kSubN, kHigh = kMTiles * 16; // pieces side by side; rows of one
    const int *places = tile + TRI_TILE_HEAD + kTileRows + kTileCols;
    pieces own;
    own.share = (tile[2] * kSubs + kWarps - 1) / kWarps;
    own.count = max(0, min(own.share, tile[2] * kSubs - warp * own.share));
    own.fresh = 0;
    int before = -1;
#pragma unroll
    for (int s = 0; s < kSlots; s++) {
        const int piece = warp * own.share + s, sub = piece % kSubs;
        const int place = s < own.count ? places[piece / kSubs] : 0;
        const int row = place & 0xffff, col = place >> 16, rows = rows_of_y(row, sub / kAcross * kHigh);
        const int in_y = place_y(lane, row, sub / kAcross * kHigh), in_x = place_x(lane, col, sub % kAcross * kSubN);
        own.places[s] = in_y >> 4 | in_x >> 4 << 16;
        own.fresh |= (rows != before) << s;
        before = rows;
    }
    return own;
}

__device__ __forceinline__ void store_pieces(const tri_bsr_sddmm_args &args, const int *tile,
                                             const float (&acc)[kSlots][kMTiles][kNTiles][4], const pieces &own, int warp,
                                             int lane)
{
    constexpr int kAcross = kBlockK / kSubN, kHigh = kMTiles * 16;
    const int *blocks = tile + TRI_TILE_HEAD + kTileRows + kTileCols + kTileBlocks;
#pragma unroll
    for (int s = 0; s < kSlots; s++) {
        if (s >= own.count)
            break;
        const int piece = warp * own.share + s, sub = piece % kSubs;
        out_t *d = static_cast<out_t *>(args.d) + (long long)blocks[piece / kSubs] * (kBlockM * kBlockK) +
                   (sub / kAcross * kHigh + lane / 4) * kBlockK + sub % kAcross * kSubN + lane % 4 * 2;
#pragma unroll
        for (int mt = 0; mt < kMTiles; mt++)
#pragma unroll
            for (int nt = 0; nt < kNTiles; nt++) {
                store_pair(args, d + mt * 16 * kBlockK + nt * 8, acc[s][mt][nt][0], acc[s][mt][nt][1]);
                store_pair(args, d + (mt * 16 + 8) * kBlockK + nt * 8, acc[s][mt][nt][2], acc[s][mt][nt][3]);
            }
    }
}

#endif
