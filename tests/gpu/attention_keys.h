/* The cases that every kernel of attention must be right on, and small ragged ones that compute-sanitizer can watch. */
#ifndef TRIAGE_TESTS_GPU_ATTENTION_KEYS_H
#define TRIAGE_TESTS_GPU_ATTENTION_KEYS_H

#define LISTS " density=5000 imbalance=10 overlap=5"

static const char *const fixed_keys[] = {
    /* causal in both alignments, keyless rows among them */
    "attention bf16 bf16 causal m=1 n=64 k=64 v=64 heads=2/2 batch=1 lse",
    "attention bf16 bf16 causal m=64 n=1 k=64 v=64 heads=2/2 batch=1 lse",
    "attention f16 f16 causal m=63 n=129 k=128 v=128 heads=2/2 batch=2 lse",
    "attention bf16 bf16 causal m=130 n=64 k=128 v=128 heads=2/2 batch=2 lse",
    "attention bf16 bf16 causal-top-left m=1 n=64 k=64 v=64 heads=2/2 batch=1 lse",
    "attention bf16 bf16 causal-top-left m=64 n=1 k=64 v=64 heads=2/2 batch=1 lse",
    "attention f16 f16 causal-top-left m=63 n=129 k=128 v=128 heads=2/2 batch=2 lse",
    "attention bf16 bf16 causal-top-left m=130 n=64 k=128 v=128 heads=2/2 batch=2 lse",
    /* sizes that fill no tile */
    "attention bf16 bf16 full m=1 n=1 k=128 v=128 heads=2/1 batch=2 lse",
    "attention bf16 bf16 full m=7 n=7 k=128 v=128 heads=2/1 batch=2 lse",
    "attention f16 f16 full m=65 n=65 k=64 v=64 heads=2/1 batch=2 lse",
    "attention bf16 bf16 full m=127 n=127 k=128 v=128 heads=2/1 batch=2",
    "attention bf16 bf16 full m=129 n=129 k=64 v=64 heads=2/1 batch=2",
    "attention f16 f16 full m=257 n=257 k=256 v=256 heads=2/1 batch=2 lse",
    "attention bf16 bf16 causal m=700 n=700 k=128 v=128 heads=4/2 batch=1 lse",
    /* heads */
    "attention bf16 bf16 full m=100 n=130 k=80 v=80 heads=2/1 batch=1 lse",
    "attention bf16 bf16 causal m=100 n=130 k=96 v=96 heads=2/1 batch=1 lse",
    "attention bf16 bf16 causal m=200 n=330 k=192 v=128 heads=2/1 batch=1 lse",
    "attention bf16 bf16 full m=200 n=330 k=256 v=256 heads=2/1 batch=1",
    "attention f16 bf16 full m=20 n=33 k=40 v=40 heads=2/1 batch=1",
    "attention f16 f16 full m=20 n=33 k=72 v=72 heads=2/1 batch=1",
    "attention bf16 bf16 full m=20 n=33 k=100 v=100 heads=2/1 batch=1",
    "attention bf16 bf16 full m=33 n=65 k=128 v=128 heads=32/8 batch=1",
    "attention bf16 bf16 full m=33 n=65 k=128 v=128 heads=32/1 batch=1",
    "attention bf16 bf16 full m=33 n=65 k=64 v=64 heads=28/4 batch=1",
    /* windows, caps, 8-bit floats */
    "attention bf16 bf16 window m=16 n=16 k=64 v=64 heads=2/1 batch=1 window=3,0 lse",
    "attention bf16 bf16 window m=300 n=300 k=128 v=128 heads=2/1 batch=1 window=0,3 lse",
    "attention f16 f16 window m=300 n=333 k=64 v=64 heads=2/1 batch=1 window=130,5 lse",
    "attention f16 f16 window m=300 n=333 k=64 v=64 heads=2/1 batch=1 window=open,70 lse",
    "attention bf16 bf16 causal softcap m=150 n=150 k=128 v=128 heads=2/1 batch=1 lse",
    "attention e4m3 bf16 full m=130 n=300 k=128 v=128 heads=4/2 batch=2 lse",
    "attention e4m3 f16 causal m=300 n=300 k=64 v=64 heads=4/2 batch=2 lse",
    /* lengths */
    "attention bf16 bf16 causal varlen m=300 n=300 k=128 v=128 heads=4/2 batch=17 lse",
    "attention f16 f16 full varlen m=37 n=290 k=64 v=64 heads=2/1 batch=17 lse",
    "attention bf16 bf16 causal cache m=1 n=300 k=128 v=128 heads=32/8 batch=40 lse",
    "attention bf16 bf16 causal cache m=16 n=500 k=128 v=128 heads=8/2 batch=9 lse",
    "attention f16 f16 causal cache m=4 n=300 k=64 v=64 heads=8/8 batch=9 lse",
    "attention bf16 bf16 causal paged m=1 n=300 k=128 v=128 heads=32/8 batch=9 page=1 lse",
    "attention bf16 bf16 causal paged m=1 n=300 k=128 v=128 heads=32/8 batch=9 page=8 lse",
    "attention bf16 bf16 causal paged m=2 n=300 k=64 v=64 heads=8/2 batch=9 page=16 lse",
    "attention f16 f16 causal paged m=1 n=900 k=128 v=128 heads=8/2 batch=9 page=64 lse",
    "attention bf16 bf16 causal paged m=1 n=1000 k=128 v=128 heads=8/2 batch=9 page=192 lse",
    "attention bf16 bf16 causal cache m=1 n=3000 k=128 v=128 heads=8/2 batch=3 splits=4 lse",
    "attention e4m3 bf16 causal paged m=1 n=600 k=128 v=128 heads=32/8 batch=3 page=16 lse",
    /* block masks */
    "attention e4m3 bf16 causal varlen m=300 n=300 k=128 v=128 heads=4/2 batch=17 lse",
    "attention e4m3 f16 full cache m=40 n=290 k=192 v=128 heads=2/1 batch=5 lse",
    "attention e4m3 bf16 window softcap m=300 n=333 k=80 v=80 heads=2/1 batch=2 window=130,5 lse",
    "attention e4m3 bf16 causal m=900 n=1100 k=128 v=128 heads=4/2 batch=2 lse",
    "attention bf16 bf16 full blocks=128x128 m=600 n=700 k=128 v=128 heads=4/2 batch=2 lists=all" LISTS
    " lse",
    "attention bf16 bf16 full blocks=64x64 m=600 n=700 k=128 v=128 heads=4/2 batch=2 lists=kv" LISTS " lse",
    "attention bf16 bf16 full blocks=128x16 m=600 n=700 k=64 v=64 heads=4/2 batch=2 lists=q" LISTS " lse",
    "attention f16 f16 full blocks=128x32 m=600 n=700 k=128 v=128 heads=4/2 batch=2 lists=batch" LISTS " lse",
    "attention bf16 bf16 causal blocks=64x128 m=600 n=600 k=128 v=128 heads=4/2 batch=2 lists=batch-kv" LISTS
    " lse",
    "attention bf16 bf16 causal blocks=128x64 m=600 n=600 k=256 v=256 heads=4/2 batch=2 lists=batch-q" LISTS
    " bits lse",
    "attention bf16 bf16 full blocks=16x32 m=200 n=230 k=64 v=64 heads=4/2 batch=2 lists=q" LISTS " lse",
    /* more heads, windows, and rows beyond 16 bits */
    "attention bf16 bf16 full m=33 n=65 k=64 v=64 heads=6/3 batch=1",
    "attention bf16 bf16 window m=300 n=300 k=64 v=64 heads=2/1 batch=1 window=3,3 lse",
    "attention bf16 bf16 window m=65537 n=65537 k=64 v=64 heads=1/1 batch=1 window=3,0 lse",
};
#define FIXED_KEYS (sizeof fixed_keys / sizeof *fixed_keys)

/* Few tiles and CTAs. Sizes are in few texts: mostly these are kernels of the cases above. */
static const char *const small_keys[] = {
    "attention bf16 bf16 full m=70 n=150 k=128 v=128 heads=2/1 batch=1 lse",
    "attention f16 f16 causal m=200 n=233 k=128 v=128 heads=1/1 batch=1 lse",
    "attention f16 f16 full m=70 n=150 k=64 v=64 heads=1/1 batch=1 lse",
    "attention bf16 bf16 causal m=200 n=230 k=64 v=64 heads=1/1 batch=1 lse",
    "attention bf16 bf16 full m=140 n=150 k=256 v=256 heads=1/1 batch=1",
    "attention bf16 bf16 causal m=140 n=150 k=192 v=128 heads=1/1 batch=1 lse",
    "attention bf16 bf16 causal m=100 n=130 k=96 v=96 heads=1/1 batch=1 lse",
    "attention bf16 bf16 full m=40 n=130 k=80 v=80 heads=1/1 batch=1 lse",
    "attention f16 bf16 full m=20 n=33 k=40 v=40 heads=1/1 batch=1",
    "attention bf16 bf16 window m=150 n=150 k=64 v=64 heads=1/1 batch=1 window=30,3 lse",
    "attention bf16 bf16 causal softcap m=150 n=150 k=128 v=128 heads=1/1 batch=1 lse",
    "attention bf16 bf16 causal varlen m=100 n=100 k=128 v=128 heads=1/1 batch=5 lse",
    "attention bf16 bf16 full blocks=128x128 m=200 n=220 k=128 v=128 heads=1/1 batch=1 lists=all" LISTS
    " lse",
    "attention bf16 bf16 full blocks=64x64 m=200 n=220 k=128 v=128 heads=1/1 batch=1 lists=kv" LISTS " lse",
    "attention bf16 bf16 full blocks=128x16 m=200 n=150 k=64 v=64 heads=1/1 batch=1 lists=q" LISTS " lse",
    "attention f16 f16 full blocks=128x32 m=200 n=150 k=128 v=128 heads=1/1 batch=1 lists=batch" LISTS " lse",
    "attention bf16 bf16 causal blocks=64x128 m=200 n=200 k=128 v=128 heads=1/1 batch=1 lists=batch-kv" LISTS
    " lse",
    "attention bf16 bf16 causal blocks=128x64 m=200 n=200 k=256 v=256 heads=1/1 batch=1 lists=batch-q" LISTS
    " bits lse",
    "attention bf16 bf16 full blocks=16x32 m=50 n=100 k=64 v=64 heads=1/1 batch=1 lists=q" LISTS " lse",
    "attention e4m3 bf16 full m=130 n=150 k=128 v=128 heads=2/1 batch=1 lse",
    "attention e4m3 f16 causal m=150 n=300 k=64 v=64 heads=1/1 batch=1 lse",
    "attention e4m3 bf16 causal varlen m=150 n=150 k=128 v=128 heads=1/1 batch=3 lse",
    "attention e4m3 f16 full cache m=40 n=150 k=192 v=128 heads=1/1 batch=3 lse",
    "attention e4m3 bf16 window softcap m=100 n=133 k=80 v=80 heads=1/1 batch=1 window=60,5 lse",
    "attention bf16 bf16 causal cache m=1 n=200 k=128 v=128 heads=8/1 batch=3 lse",
    "attention bf16 bf16 causal cache m=9 n=200 k=128 v=128 heads=4/1 batch=2 lse",
    "attention f16 f16 causal cache m=4 n=300 k=64 v=64 heads=4/1 batch=2 lse",
    "attention bf16 bf16 causal cache m=3 n=2100 k=128 v=128 heads=4/1 batch=2 lse",
    "attention bf16 bf16 full cache m=1 n=2100 k=256 v=256 heads=4/1 batch=2 lse",
    "attention bf16 bf16 causal paged m=1 n=300 k=128 v=128 heads=8/2 batch=3 page=1 lse",
    "attention bf16 bf16 causal paged m=2 n=300 k=64 v=64 heads=8/2 batch=3 page=16 lse",
    "attention f16 f16 causal paged m=1 n=600 k=128 v=128 heads=8/2 batch=2 page=64 lse",
    "attention bf16 bf16 causal cache m=1 n=1000 k=128 v=128 heads=4/1 batch=2 splits=4 lse",
    "attention e4m3 bf16 causal paged m=1 n=300 k=128 v=128 heads=8/2 batch=2 page=16 lse",
    /* more pieces a CTA than it has under way */
    "attention bf16 bf16 causal cache m=1 n=70 k=64 v=64 heads=8/8 batch=100 lse",
    "attention bf16 bf16 causal paged m=1 n=70 k=128 v=128 heads=16/8 batch=100 page=16 lse",
    "attention bf16 bf16 causal m=140 n=150 k=256 v=256 heads=1/1 batch=1",
    "attention bf16 bf16 full blocks=128x16 m=200 n=150 k=128 v=128 heads=1/1 batch=1 lists=all" LISTS,
    "attention bf16 bf16 full blocks=128x128 m=200 n=220 k=64 v=64 heads=1/1 batch=1 lists=all" LISTS,
    "attention bf16 bf16 full blocks=128x128 m=200 n=220 k=256 v=256 heads=1/1 batch=1 lists=all" LISTS,
    "attention e4m3 bf16 full m=1 n=2100 k=128 v=128 heads=4/1 batch=1",
    "attention bf16 bf16 causal paged m=1 n=2100 k=128 v=128 heads=4/1 batch=2 page=16",
    "attention bf16 bf16 full m=1 n=1000 k=128 v=128 heads=4/1 batch=1 lse",
    "attention f16 f16 causal m=2 n=125 k=64 v=64 heads=4/2 batch=1 lse",
};
#define SMALL_KEYS (sizeof small_keys / sizeof *small_keys)

#endif
