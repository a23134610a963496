/* mma.cu, the end: a warp's rows of O and LSE, by way of shared memory. Included behind the state of a warp. */
#ifndef TRIAGE_ATTENTION_MMA_STORE_CUH
#define TRIAGE_ATTENTION_MMA_STORE_CUH

/* The warp's rows of O, finished, to `stage`, the place of its rows of Q. */
__device__ __forceinline__ void stage_rows(char *stage, const state &st, const float (&scale)[kMTiles * 2], int lane)
{
    int g = lane / 4, q = lane % 4;
#pragma unroll
    for (int r = 0; r < kMTiles * 2; r++) {
        out_t *row = reinterpret_cast<out_t *>(stage + (r * 8 + g) * kPitchQ);
        int e = r % 2 * 2;
#pragma unroll
        for (int t = 0; t < kOTiles; t++) {
            float low = st.o[r / 2][t][e] * scale[r], high = st.o[r / 2][t][e + 1] * scale[r];
            /* e4m3: tiles of the even and of the odd columns of 16 */
            int at = kFp8 ? t / 2 * 16 + 4 * q + t % 2 : t * 8 + 2 * q;
            row[at] = out_t(low);
            row[at + (kFp8 ? 2 : 1)] = out_t(high);
        }
    }
}

/* Rows of O from `stage` to global memory, as widely as pointer and strides allow. */
__device__ __forceinline__ void store_rows(const tri_attention_args &args, const char *stage, out_t *to, int rows,
                                           int lane)
{
    constexpr int kBytes = kDv * sizeof(out_t), kPieces = kBytes / 16;
    bool wide = kBytes % 16 == 0 && reinterpret_cast<unsigned long long>(to) % 16 == 0 &&
                args.o_stride.row * sizeof(out_t) % 16 == 0;
    if (wide) {
        for (int i = lane; i < rows * kPieces; i += 32) {
            int r = i / max(1, kPieces), piece = i % max(1, kPieces);
            char *row = reinterpret_cast<char *>(to + r * args.o_stride.row);
            *reinterpret_cast<uint4 *>(row + piece * 16) =
                *reinterpret_cast<const uint4 *>(stage + r * kPitchQ + piece * 16);
        }
    } else {
        for (int i = lane; i < rows * kDv; i += 32)
            to[i / kDv * args.o_stride.row + i % kDv] =
                reinterpret_cast<const out_t *>(stage + i / kDv * kPitchQ)[i % kDv];
    }
}

__device__ __forceinline__ void finish(const tri_attention_args &args, const sequence &s, state &st, char *stage,
                                       int batch, int head, int row0, int lane)
{
    float factor[kMTiles * 2];
    float scale_v = args.scale_v ? args.scale_v[batch * args.heads_kv + head / kGroup] : 1.0f;
    long long first = args.cu_q ? 0 : batch;
    float *lse = args.lse ? args.lse + first * args.lse_stride.batch + head * args.lse_stride.head +
                                s.q_row * args.lse_stride.row
                          : nullptr;
#pragma unroll
    for (int r = 0; r < kMTiles * 2; r++) {
        float l = quad_sum(st.l[r]);
        int row = row0 + r * 8 + lane / 4;
        factor[r] = l > 0.0f ? scale_v / l : 0.0f;
        if (lse && lane % 4 == 0 && row < s.sq)
            lse[row * args.lse_stride.row] =
                l > 0.0f ? (st.m[r] + log2f(l)) * 0.6931471805599453f : minus_infinity();
    }
    __syncwarp(); /* all lanes have read their rows of Q */
    stage_rows(stage, st, factor, lane);
    __syncwarp();
    out_t *to = static_cast<out_t *>(args.o) + first * args.o_stride.batch + head * args.o_stride.head +
                (s.q_row + row0) * args.o_stride.row;
    store_rows(args, stage, to, min(kWarpM, s.sq - row0), lane);
}

#endif
