/* attention: from the options that describe a problem to the problem and its lists of blocks. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "op/attention/attention.h"

#include "cli/common/common.h"
#include "cli/common/options.h"
#include "cli/common/problem.h"

#define EXTENT_MAX 2147483647

extern const tri_cli_op tri_cli_op_attention;

/* ---- sizes and types ---- */

static triage_status parse_shape(tri_attention_problem *out, const char *text) {
    static const char *const names[] = {"--shape's B",  "--shape's HQ", "--shape's HKV", "--shape's SQ",
                                        "--shape's SK", "--shape's D",  "--shape's DV"};
    int64_t v[7] = {0};
    size_t found = 0;
    triage_status status = tri_cli_parse_list(v, 7, &found, text, tri_cli_separator(text), EXTENT_MAX, names);
    if (status == TRIAGE_OK && found != 6 && found != 7)
        status =
            tri_cli_usage("--shape %.64s has %zu numbers: B,HQ,HKV,SQ,SK,D[,DV] are expected, each 1 to %d",
                          text, found, EXTENT_MAX);
    out->batch = v[0], out->heads_q = v[1], out->heads_kv = v[2];
    out->sq = v[3], out->sk = v[4];
    out->d = (int32_t)v[5];
    out->dv = (int32_t)(found == 7 ? v[6] : v[5]);
    return status;
}

static triage_status parse_types(tri_cli_problem *out, tri_attention_problem *p,
                                 const tri_cli_problem_options *o) {
    triage_status status = TRIAGE_OK;
    out->dtype_given = tri_cli_given(o, "dtype");
    p->in_type = TRIAGE_BF16;
    if (tri_cli_given(o, "dtype"))
        TRI_TRY(tri_dtype_parse(&p->in_type, tri_cli_given(o, "dtype")));
    p->out_type = p->in_type == TRIAGE_E4M3 ? TRIAGE_BF16 : p->in_type;
    if (tri_cli_given(o, "out-dtype") && !tri_cli_given(o, "dtype"))
        status = tri_cli_usage("--out-dtype %.32s needs --dtype beside it", tri_cli_given(o, "out-dtype"));
    else if (tri_cli_given(o, "out-dtype"))
        status = tri_dtype_parse(&p->out_type, tri_cli_given(o, "out-dtype"));
done:
    return status;
}

static triage_status parse_lengths(tri_attention_problem *out, const tri_cli_problem_options *o) {
    static const char *const names[] = {"dense", "varlen", "cache"};
    int64_t page = 0, splits = 0;
    double cap = 0;
    triage_status status = TRIAGE_OK;
    const char *lse = tri_cli_given(o, "lse");
    const char *kind = tri_cli_given(o, "lengths") ? tri_cli_given(o, "lengths")
                       : tri_cli_given(o, "paged") ? "cache"
                                                   : "dense";
    int found = -1;
    for (int i = 0; i < 3; i++)
        found = strcmp(kind, names[i]) == 0 ? i : found;
    if (found < 0)
        return tri_cli_usage("--lengths %.32s is not one of dense, varlen, cache", kind);
    if (tri_cli_given(o, "paged") && found != TRI_LENGTHS_CACHE)
        return tri_cli_usage("--paged goes with --lengths cache, not with %s", kind);
    if (lse && strcmp(lse, "yes") != 0 && strcmp(lse, "no") != 0)
        return tri_cli_usage("--lse %.32s is not one of yes, no", lse);
    if (tri_cli_given(o, "paged"))
        TRI_TRY(tri_parse_int64(&page, tri_cli_given(o, "paged"), 1, EXTENT_MAX, "--paged"));
    if (tri_cli_given(o, "splits"))
        TRI_TRY(
            tri_parse_int64(&splits, tri_cli_given(o, "splits"), 1, TRI_ATTENTION_SPLITS_MAX, "--splits"));
    if (tri_cli_given(o, "softcap"))
        TRI_TRY(tri_parse_double(&cap, tri_cli_given(o, "softcap"), 1e-6, 1e6, "--softcap"));
    if (splits > 0 && out->batch != 1)
        return tri_cli_usage("--splits: its kernel is that of one sequence, whatever the batch: B of --shape "
                             "is %lld; must be 1",
                             (long long)out->batch);
    out->lengths = (tri_attention_lengths)found;
    out->page_size = (int32_t)page;
    out->splits = (int32_t)splits;
    out->softcap = cap > 0;
    out->lse = lse && strcmp(lse, "yes") == 0;
done:
    return status;
}

/* ---- the mask ---- */

/* A side of a window: keys, or - for open. */
static triage_status parse_side(int32_t *out, const char *text, const char *name) {
    int64_t side = -1;
    triage_status status = TRIAGE_OK;
    if (strcmp(text, "-") != 0)
        status = tri_parse_int64(&side, text, 0, EXTENT_MAX, name);
    *out = (int32_t)side;
    return status;
}

static triage_status parse_window(tri_attention_problem *out, char *text) {
    char *right = strchr(text, ',');
    triage_status status;
    if (!right)
        return tri_cli_usage(
            "--mask window:%.64s: window:L,R is expected, keys to the left and right, - for no limit", text);
    *right++ = '\0';
    out->band = TRI_BAND_WINDOW;
    TRI_TRY(parse_side(&out->left, text, "--mask window's L"));
    TRI_TRY(parse_side(&out->right, right, "--mask window's R"));
done:
    return status;
}

/* What --mask has said so far. */
typedef struct lists {
    const char *file, *sparsity; /* NULL: not given */
    bool band;                   /* one of full, causal, causal-top-left, window was there */
} lists;

static int find_band(const char *word) {
    for (int band = TRI_BAND_FULL; band < TRI_BAND_WINDOW; band++)
        if (strcmp(word, tri_attention_band_name((tri_attention_band)band)) == 0)
            return band;
    return strncmp(word, "window:", 7) == 0 ? TRI_BAND_WINDOW : -1;
}

static triage_status parse_band(tri_attention_problem *out, lists *so_far, char *word) {
    static const char *const words[] = {"full",       "causal",      "causal-top-left",
                                        "window:L,R", "blocks:FILE", "random-blocks:S"};
    const int band = find_band(word);
    const char *nearest = band < 0 ? tri_cli_nearest(word, words, sizeof words / sizeof *words) : NULL;
    if (band < 0)
        return tri_cli_usage(
            "--mask %.64s is not one of full, causal, causal-top-left, window:L,R, blocks:FILE, "
            "random-blocks:S, or two of them joined by +%s%s%s",
            word, nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
    if (so_far->band)
        return tri_cli_usage(
            "--mask has %.64s beside another of full, causal, causal-top-left, window:L,R: one of "
            "them, and blocks",
            word);
    so_far->band = true;
    out->band = (tri_attention_band)band;
    return band == TRI_BAND_WINDOW ? parse_window(out, word + 7) : TRIAGE_OK;
}

static triage_status parse_word(tri_attention_problem *out, lists *blocks, char *word) {
    if (strcmp(word, "blocks:") == 0)
        return tri_cli_usage("--mask blocks: has no file: blocks:FILE.smtx is expected");
    if (strncmp(word, "blocks:", 7) == 0)
        blocks->file = word + 7;
    else if (strncmp(word, "random-blocks:", 14) == 0)
        blocks->sparsity = word + 14;
    else
        return parse_band(out, blocks, word);
    return blocks->file && blocks->sparsity
               ? tri_cli_usage("--mask blocks:FILE already gives the blocks: leave out random-blocks")
               : TRIAGE_OK;
}

/* Cuts the text, which stays the caller's. */
static triage_status parse_mask(tri_attention_problem *out, lists *blocks, char *text) {
    triage_status status = TRIAGE_OK;
    for (char *word = text, *next; word && status == TRIAGE_OK; word = next) {
        next =
            strncmp(word, "blocks:", 7) == 0 ? NULL : strchr(word, '+'); /* a file may have a + in its name */
        if (next)
            *next++ = '\0';
        status = parse_word(out, blocks, word);
    }
    return status;
}

static triage_status parse_block(tri_attention_problem *out, const char *text) {
    static const char *const names[] = {"--mask-block's rows", "--mask-block's columns"};
    int64_t v[2] = {0};
    size_t found = 0;
    triage_status status = tri_cli_parse_list(v, 2, &found, text ? text : "64", 'x', 128, names);
    if (status == TRIAGE_OK && found > 2)
        status = tri_cli_usage(
            "--mask-block %.64s: one number or ROWSxCOLUMNS is expected, 16, 32, 64 or 128 each", text);
    out->mask.rows = (int32_t)v[0];
    out->mask.cols = (int32_t)(found == 2 ? v[1] : v[0]);
    return status;
}

static triage_status parse_lists(tri_attention_problem *out, const char *text) {
    static const char *const names[] = {"all", "kv", "q", "batch", "batch-kv", "batch-q"};
    for (int i = 0; i < 6; i++)
        if (!text || strcmp(text, names[i]) == 0) {
            out->mask.per_batch = i / 3;
            out->mask.heads = (tri_mask_heads)(i % 3);
            return TRIAGE_OK;
        }
    return tri_cli_usage("--mask-lists %.32s is not one of all, kv, q, batch, batch-kv, batch-q", text);
}

static triage_status parse_bits(tri_attention_problem *out, const char *text) {
    if (text && strcmp(text, "yes") != 0 && strcmp(text, "no") != 0)
        return tri_cli_usage("--mask-bits %.32s is not one of yes, no", text);
    out->mask.bits = text && strcmp(text, "yes") == 0;
    return TRIAGE_OK;
}

/* The lists as kernels get them: then the pairs are counted, not estimated; but for the bits, which each draw has of its
 * own: half of every fifth block (inputs.c). */
static void count_pairs(tri_attention_problem *p, const tri_pattern *mask) {
    tri_attention_args args;
    tri_attention_complete(p);
    if (p->lengths == TRI_LENGTHS_OFFSETS)
        return;
    tri_attention_layout(&args, p);
    args.full = (tri_attention_blocks){mask->row_ptr, NULL, mask->col_idx, 0};
    p->pairs = tri_attention_count_pairs(p, &args);
    if (p->mask.bits)
        p->pairs -= p->pairs / 10;
}

static triage_status make_lists(tri_cli_problem *out, tri_attention_problem *p, const lists *blocks,
                                const tri_cli_problem_options *o) {
    double sparsity = 0;
    triage_status status;
    TRI_TRY(parse_block(p, tri_cli_given(o, "mask-block")));
    TRI_TRY(parse_lists(p, tri_cli_given(o, "mask-lists")));
    TRI_TRY(parse_bits(p, tri_cli_given(o, "mask-bits")));
    TRI_TRY(tri_attention_check(p));
    if (p->sq == 0 || p->sk == 0)
        TRI_TRY(tri_cli_usage("--shape %.64s has no blocks: SQ and SK must be 1 or more",
                              tri_cli_given(o, "shape")));
    if (blocks->file && (p->mask.per_batch || p->mask.heads))
        TRI_TRY(tri_cli_usage(
            "--mask blocks:FILE has lists for all heads and sequences: --mask-lists must be all"));
    if (blocks->file) {
        status = tri_attention_mask_read(&out->pattern, p, blocks->file);
        if (status == TRIAGE_E_IO || status == TRIAGE_E_NOT_FOUND)
            status = TRIAGE_E_DATA; /* a file that cannot be read is bad input, not a failure of ours */
        TRI_TRY(status);
    } else {
        TRI_TRY(tri_parse_double(&sparsity, blocks->sparsity, 0, 1, "--mask random-blocks"));
        TRI_TRY(tri_attention_mask_random(&out->pattern, p, sparsity, o->seed));
    }
    tri_fingerprint_of(&p->mask.fingerprint, &out->pattern);
    count_pairs(p, &out->pattern);
done:
    return status;
}

/* ---- all of it ---- */

static triage_status make(tri_cli_problem *out, const tri_cli_problem_options *o) {
    const char *shape = tri_cli_given(o, "shape"), *text = tri_cli_given(o, "mask");
    const char *block = tri_cli_given(o, "mask-block"), *whose = tri_cli_given(o, "mask-lists"),
               *bits = tri_cli_given(o, "mask-bits");
    tri_attention_problem p = {0};
    lists blocks = {0};
    char *mask = NULL;
    triage_status status;
    if (!shape)
        return tri_cli_usage("no problem is given: --shape B,HQ,HKV,SQ,SK,D[,DV]");
    TRI_TRY(parse_shape(&p, shape));
    TRI_TRY(parse_types(out, &p, o));
    TRI_TRY(parse_lengths(&p, o));
    TRI_TRY(tri_strdup(&mask, text ? text : "full"));
    TRI_TRY(parse_mask(&p, &blocks, mask));
    TRI_TRY(tri_attention_check(&p));
    if (blocks.file || blocks.sparsity)
        TRI_TRY(make_lists(out, &p, &blocks, o));
    else if (block || whose || bits)
        TRI_TRY(tri_cli_usage("--mask-%s goes with --mask blocks:FILE or random-blocks:S", block   ? "block"
                                                                                           : whose ? "lists"
                                                                                                   : "bits"));
    else
        tri_attention_complete(&p);
    out->problem = tri_attention_problem_of(&p);
done:
    free(mask);
    return status;
}

static void for_host(tri_cli_problem *problem) {
    tri_attention_problem p = *tri_attention(&problem->problem);
    p.in_type = p.out_type = TRIAGE_F32;
    problem->problem = tri_attention_problem_of(&p);
}

static void json(json_t *object, const tri_problem *problem) {
    json_object_set_new(object, "pairs", json_integer(tri_attention(problem)->pairs));
}

static const struct argp_option options[] = {
    {"shape", 0, "B,HQ,HKV,SQ,SK,D[,DV]", 0,
     "Sequences, heads of Q, heads of K and V, queries, keys, size of a head of Q and K[, of V]", 0},
    {"dtype", 0, "f16|bf16|f32|e4m3", 0, "Type of Q, K, V (default bf16 on cuda, f32 on host)", 0},
    {"out-dtype", 0, "f32|f16|bf16", 0, "Type of O; f32 for f32 alone (default that of Q; bf16 for e4m3)", 0},
    {"mask", 0, "MASK", 0,
     "full (default), causal (aligned to the last key), causal-top-left, window:L,R (L keys to the left, R "
     "to the right; - is no limit), blocks:FILE.smtx, random-blocks:S (the share S, 0 to 1, of the blocks is "
     "masked out, never the diagonal); a band and blocks are joined by +, e.g. causal+random-blocks:0.9",
     0},
    {"mask-block", 0, "B|BMxBN", 0,
     "Queries x keys of a block of the mask: 16, 32, 64 or 128 each (default 64)", 0},
    {"mask-lists", 0, "all|kv|q|batch|batch-kv|batch-q", 0,
     "Lists of blocks: all share one list (default), one for each KV "
     "head (kv), head of Q (q), sequence (batch), or both (batch-kv, batch-q)",
     0},
    {"mask-bits", 0, "yes|no", 0,
     "Every fifth block is partial, with a bit for each query and key (default no)", 0},
    {"softcap", 0, "X", 0,
     "Soft cap: scores become X tanh(score / X), X above 0; the kernel is the same for any X", 0},
    {"lengths", 0, "dense|varlen|cache", 0,
     "dense (default): all sequences have SQ queries and SK keys; varlen: at most so many, at offsets "
     "(cu_seqlens); cache: keys in a KV cache with room for SK",
     0},
    {"paged", 0, "SIZE", 0, "A KV cache in pages of SIZE keys, 1 to 2147483647", 0},
    {"splits", 0, "N", 0,
     "Always split a row's keys in N parts, 1 to 256, so that its result does not depend on the batch; B of "
     "--shape must be 1",
     0},
    {"lse", 0, "yes|no", 0, "Also compute the log-sum-exp of each row (default no)", 0},
    {0}};

/* ---- finding, and in words ---- */

static triage_status key_words(tri_text *out, const tri_cli_problem_options *given) {
    const char *shape = tri_cli_given(given, "shape"), *mask = tri_cli_given(given, "mask");
    tri_attention_problem p = {0};
    triage_status status = TRIAGE_OK;
    for (size_t i = 0; i < given->count; i++) {
        char word[40];
        snprintf(word, sizeof word, " %s ", given->texts[i].name);
        if (!strstr(" shape mask dtype ", word))
            TRI_TRY(tri_cli_usage("--%s is no filter of attention: --shape, --mask, --dtype are",
                                  given->texts[i].name));
    }
    if (shape) {
        TRI_TRY(parse_shape(&p, shape));
        TRI_TRY(tri_text_format(out, " m=%lld n=%lld k=%d v=%d heads=%lld/%lld batch=%lld", (long long)p.sq,
                                (long long)p.sk, p.d, p.dv, (long long)p.heads_q, (long long)p.heads_kv,
                                (long long)p.batch));
    }
    if (mask && strcmp(mask, "full") != 0 && strcmp(mask, "causal") != 0 &&
        strcmp(mask, "causal-top-left") != 0 && strcmp(mask, "window") != 0)
        TRI_TRY(tri_cli_usage(
            "--mask %.40s is not one of full, causal, causal-top-left, window, the words that find", mask));
    if (mask)
        TRI_TRY(tri_text_format(out, " %s", mask));
done:
    return status;
}

static triage_status describe_band(tri_text *out, const tri_attention_problem *p) {
    triage_status status = tri_text_format(out, "; mask %s", tri_attention_band_name(p->band));
    if (status == TRIAGE_OK && p->band == TRI_BAND_WINDOW)
        status = tri_text_format(out, " (%d keys to the left, %d to the right; -1: all)", p->left, p->right);
    return status;
}

static triage_status describe_blocks(tri_text *out, const tri_block_mask_kind *mask) {
    static const char *const own[] = {"all heads alike", "each KV head its own", "each head of Q its own"};
    triage_status status = TRIAGE_OK;
    if (!mask->rows)
        return TRIAGE_OK;
    TRI_TRY(tri_text_format(out,
                            "; %.3g %% of the blocks of %d queries x %d keys are seen, the fullest row of "
                            "blocks has %.3g times the mean, neighbouring rows share %.3g of their columns",
                            mask->fingerprint.density_e4 / 100.0, mask->rows, mask->cols,
                            mask->fingerprint.imbalance_e1 / 10.0, mask->fingerprint.overlap_e1 / 10.0));
    TRI_TRY(
        tri_text_format(out, ", %s%s%s", own[mask->heads], mask->per_batch ? ", of each sequence" : "",
                        mask->bits ? "; some blocks are partial, with a bit for each query and key" : ""));
done:
    return status;
}

static triage_status describe_rest(tri_text *out, const tri_attention_problem *p) {
    triage_status status = TRIAGE_OK;
    if (p->softcap)
        TRI_TRY(tri_text_format(out, "; the products are capped by tanh"));
    if (p->lengths == TRI_LENGTHS_OFFSETS)
        TRI_TRY(tri_text_format(out, "; sequences of many lengths, one behind the other"));
    else if (p->page_size)
        TRI_TRY(tri_text_format(out, "; keys from a cache in pages of %d", p->page_size));
    else if (p->lengths == TRI_LENGTHS_CACHE)
        TRI_TRY(tri_text_format(out, "; keys from a cache"));
    if (p->splits)
        TRI_TRY(tri_text_format(out, "; a row's keys always in %d pieces", p->splits));
    if (p->lse)
        TRI_TRY(tri_text_format(out, "; the logarithm of each row's sum, too"));
done:
    return status;
}

static triage_status describe(tri_text *out, const tri_problem *of) {
    const tri_attention_problem *p = tri_attention(of);
    const char *most = p->lengths == TRI_LENGTHS_DENSE ? "" : " at most";
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_text_format(out,
                            "O = softmax(scale Q K^T + mask) V: sequences %lld, heads of Q %lld, of K and V "
                            "%lld; queries %lld%s, keys %lld%s; elements of a head of Q and K %d, of V %d; "
                            "%s in, %s out",
                            (long long)p->batch, (long long)p->heads_q, (long long)p->heads_kv,
                            (long long)p->sq, p->lengths == TRI_LENGTHS_OFFSETS ? most : "", (long long)p->sk,
                            most, p->d, p->dv, tri_dtype_name(p->in_type), tri_dtype_name(p->out_type)));
    TRI_TRY(describe_band(out, p));
    TRI_TRY(describe_blocks(out, &p->mask));
    TRI_TRY(describe_rest(out, p));
done:
    return status;
}

/* Lists come with each call, so a key knows how dense they are and no more: random ones stand for them. */
static triage_status find_pattern(tri_cli_problem *out, const char *file, uint64_t seed) {
    tri_attention_problem p = *tri_attention(&out->problem);
    (void)file;
    triage_status status =
        tri_attention_mask_random(&out->pattern, &p, 1 - p.mask.fingerprint.density_e4 / 1e4, seed);
    if (status == TRIAGE_OK)
        count_pairs(&p, &out->pattern);
    out->problem = tri_attention_problem_of(&p);
    return status;
}

const tri_cli_op tri_cli_op_attention = {
    .op = &tri_op_attention,
    .heading = "With --op attention: O = softmax(scale Q K^T + mask) V; --shape B,HQ,HKV,SQ,SK,D[,DV] are "
               "sequences, heads of Q, heads of K and V, queries, keys, size of a head of Q and K[, of V]; "
               "--dtype is the type of Q, K and V, --out-dtype that of O",
    .options = options,
    .make = make,
    .for_host = for_host,
    .json = json,
    .key_words = key_words,
    .describe = describe,
    .find_pattern = find_pattern,
};
