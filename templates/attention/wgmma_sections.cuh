/* wgmma.cu's tiles in larger sections: kSections times as many heads are worked on at the same time as have K and V in half
 * of L2. Heads of 256, causal, are faster so (docs/notebook.md), shorter ones slower. Included behind wgmma_tiles.cuh; what
 * follows takes its tiles from here. Sequences of one length.
 */
#ifndef TRIAGE_ATTENTION_WGMMA_SECTIONS_CUH
#define TRIAGE_ATTENTION_WGMMA_SECTIONS_CUH

struct wide_tiles_t : tiles_t {
    __device__ __forceinline__ explicit wide_tiles_t(const args_t &a) : tiles_t(a)
    {
    }
    /* The next tile; false: no more. */
    __device__ __forceinline__ bool get(tile_t &tile)
    {
        const int index = take(), rows = ceil_div(args.sq, kTileM), heads = args.batch * args.heads_q;
        int head, row;
        if (index >= heads * rows) return false;
        locate(index, heads, rows, kSections * heads_of_section(args, args.sk), head, row);
        tile.batch = head / args.heads_q;
        tile.head = head - tile.batch * args.heads_q;
        tile.q_len = args.sq;
        tile.k_len = args.sk;
        tile.q_row = 0;
        tile.m0 = row * kTileM;
        set_steps(tile);
        return true;
    }
};
#define tiles_t wide_tiles_t

#endif
