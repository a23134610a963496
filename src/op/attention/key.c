/* The canonical text of a problem, and back. */
#include "op/attention/attention.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define KEY_LIMIT 512

/* ---- the words and fields that are only there when they say something ---- */

static const char *const lists_names[2][3] = {{"all", "kv", "q"}, {"batch", "batch-kv", "batch-q"}};

static triage_status append_words(tri_text *text, const tri_attention_problem *p) {
    triage_status status;
    TRI_TRY(tri_text_format(text, "attention %s %s %s", tri_dtype_name(p->in_type),
                            tri_dtype_name(p->out_type), tri_attention_band_name(p->band)));
    if (p->softcap)
        TRI_TRY(tri_text_format(text, " softcap"));
    if (p->mask.rows)
        TRI_TRY(tri_text_format(text, " blocks=%" PRId32 "x%" PRId32, p->mask.rows, p->mask.cols));
    if (p->lengths != TRI_LENGTHS_DENSE)
        TRI_TRY(tri_text_format(text, p->lengths == TRI_LENGTHS_OFFSETS ? " varlen"
                                      : p->page_size                    ? " paged"
                                                                        : " cache"));
done:
    return status;
}

static triage_status append_side(tri_text *text, int32_t side) {
    return side < 0 ? tri_text_format(text, "open") : tri_text_format(text, "%" PRId32, side);
}

static triage_status append_fields(tri_text *text, const tri_attention_problem *p) {
    triage_status status;
    TRI_TRY(tri_text_format(text,
                            " m=%" PRId64 " n=%" PRId64 " k=%" PRId32 " v=%" PRId32 " heads=%" PRId64
                            "/%" PRId64 " batch=%" PRId64,
                            p->sq, p->sk, p->d, p->dv, p->heads_q, p->heads_kv, p->batch));
    if (p->band == TRI_BAND_WINDOW) {
        TRI_TRY(tri_text_format(text, " window="));
        TRI_TRY(append_side(text, p->left));
        TRI_TRY(tri_text_format(text, ","));
        TRI_TRY(append_side(text, p->right));
    }
    if (p->page_size)
        TRI_TRY(tri_text_format(text, " page=%" PRId32, p->page_size));
    if (p->mask.rows)
        TRI_TRY(tri_text_format(
            text, " lists=%s density=%" PRId32 " imbalance=%" PRId32 " overlap=%" PRId32 "%s",
            lists_names[p->mask.per_batch][p->mask.heads], p->mask.fingerprint.density_e4,
            p->mask.fingerprint.imbalance_e1, p->mask.fingerprint.overlap_e1, p->mask.bits ? " bits" : ""));
    if (p->splits)
        TRI_TRY(tri_text_format(text, " splits=%" PRId32, p->splits));
    if (p->lse)
        TRI_TRY(tri_text_format(text, " lse"));
done:
    return status;
}

triage_status tri_attention_key(char **out, const tri_attention_problem *problem) {
    tri_text text = TRI_TEXT_INIT;
    triage_status status;
    *out = NULL;
    TRI_TRY(tri_attention_check(problem));
    TRI_TRY(append_words(&text, problem));
    TRI_TRY(append_fields(&text, problem));
    *out = text.data;
    return TRIAGE_OK;
done:
    tri_text_free(&text);
    return status;
}

/* ---- back ---- */

/* Cuts the next word off *rest, up to the separator or the end. */
static const char *next_word(char **rest, char separator) {
    char *word = *rest, *end = strchr(word, separator);
    if (end)
        *end = '\0';
    *rest = end ? end + 1 : word + strlen(word);
    return word;
}

static triage_status expect(const char *word, const char *expected) {
    if (strcmp(word, expected) == 0)
        return TRIAGE_OK;
    return tri_fail(TRIAGE_E_DATA, "problem key: '%s' where '%s' belongs", word, expected);
}

/* Takes the word if it is the next one. A prefix ends in '=': what follows it stays. */
static bool take(char **rest, const char *word) {
    size_t size = strlen(word);
    bool prefix = word[size - 1] == '=';
    if (strncmp(*rest, word, size) != 0 || (!prefix && (*rest)[size] != ' ' && (*rest)[size] != '\0'))
        return false;
    *rest += size + (!prefix && (*rest)[size] == ' ');
    return true;
}

static triage_status parse_number(int64_t *out, char **rest, char separator, const char *name) {
    return tri_parse_int64(out, next_word(rest, separator), 0, INT32_MAX, name);
}

static triage_status parse_field(int64_t *out, char **rest, const char *name, char separator) {
    triage_status status = expect(next_word(rest, '='), name);
    return status == TRIAGE_OK ? parse_number(out, rest, separator, name) : status;
}

static triage_status parse_band(tri_attention_band *out, const char *word) {
    for (int i = TRI_BAND_FULL; i <= TRI_BAND_WINDOW; i++)
        if (strcmp(word, tri_attention_band_name((tri_attention_band)i)) == 0) {
            *out = (tri_attention_band)i;
            return TRIAGE_OK;
        }
    return tri_fail(TRIAGE_E_DATA, "problem key: '%s' is not a mask", word);
}

static triage_status parse_words(tri_attention_problem *p, char **rest, bool *paged) {
    triage_status status;
    int64_t rows = 0, cols = 0;
    TRI_TRY(expect(next_word(rest, ' '), "attention"));
    TRI_TRY(tri_dtype_parse(&p->in_type, next_word(rest, ' ')));
    TRI_TRY(tri_dtype_parse(&p->out_type, next_word(rest, ' ')));
    TRI_TRY(parse_band(&p->band, next_word(rest, ' ')));
    p->softcap = take(rest, "softcap");
    if (take(rest, "blocks=")) {
        TRI_TRY(parse_number(&rows, rest, 'x', "blocks"));
        TRI_TRY(parse_number(&cols, rest, ' ', "blocks"));
    }
    p->mask.rows = (int32_t)rows;
    p->mask.cols = (int32_t)cols;
    *paged = take(rest, "paged");
    p->lengths = *paged || take(rest, "cache") ? TRI_LENGTHS_CACHE
                 : take(rest, "varlen")        ? TRI_LENGTHS_OFFSETS
                                               : TRI_LENGTHS_DENSE;
done:
    return status;
}

static triage_status parse_sizes(tri_attention_problem *p, char **rest) {
    triage_status status;
    int64_t d, dv;
    TRI_TRY(parse_field(&p->sq, rest, "m", ' '));
    TRI_TRY(parse_field(&p->sk, rest, "n", ' '));
    TRI_TRY(parse_field(&d, rest, "k", ' '));
    TRI_TRY(parse_field(&dv, rest, "v", ' '));
    TRI_TRY(parse_field(&p->heads_q, rest, "heads", '/'));
    TRI_TRY(parse_number(&p->heads_kv, rest, ' ', "heads"));
    TRI_TRY(parse_field(&p->batch, rest, "batch", ' '));
    p->d = (int32_t)d;
    p->dv = (int32_t)dv;
done:
    return status;
}

static triage_status parse_side(int32_t *out, char **rest, char separator) {
    const char *word = next_word(rest, separator);
    int64_t side = -1;
    triage_status status = TRIAGE_OK;
    if (strcmp(word, "open") != 0)
        status = tri_parse_int64(&side, word, 0, INT32_MAX, "window");
    *out = (int32_t)side;
    return status;
}

static triage_status parse_lists(tri_block_mask_kind *mask, char **rest) {
    triage_status status;
    int64_t density, imbalance, overlap;
    TRI_TRY(expect(next_word(rest, '='), "lists"));
    const char *word = next_word(rest, ' ');
    bool known = false;
    for (int i = 0; i < 6 && !known; i++) {
        known = strcmp(word, lists_names[i / 3][i % 3]) == 0;
        mask->per_batch = i / 3;
        mask->heads = (tri_mask_heads)(i % 3);
    }
    if (!known)
        TRI_TRY(tri_fail(TRIAGE_E_DATA, "problem key: lists=%s; allowed all, kv, q, batch, batch-kv, batch-q",
                         word));
    TRI_TRY(parse_field(&density, rest, "density", ' '));
    TRI_TRY(parse_field(&imbalance, rest, "imbalance", ' '));
    TRI_TRY(parse_field(&overlap, rest, "overlap", ' '));
    mask->fingerprint = (tri_fingerprint){(int32_t)density, (int32_t)imbalance, (int32_t)overlap};
    mask->bits = take(rest, "bits");
done:
    return status;
}

static triage_status parse_rest(tri_attention_problem *p, char **rest, bool paged) {
    triage_status status = TRIAGE_OK;
    int64_t page = 0, splits = 0;
    if (p->band == TRI_BAND_WINDOW) {
        TRI_TRY(expect(next_word(rest, '='), "window"));
        TRI_TRY(parse_side(&p->left, rest, ','));
        TRI_TRY(parse_side(&p->right, rest, ' '));
    }
    if (paged)
        TRI_TRY(parse_field(&page, rest, "page", ' '));
    p->page_size = (int32_t)page;
    if (p->mask.rows)
        TRI_TRY(parse_lists(&p->mask, rest));
    if (take(rest, "splits="))
        TRI_TRY(parse_number(&splits, rest, ' ', "splits"));
    p->splits = (int32_t)splits;
    p->lse = take(rest, "lse");
    TRI_TRY(expect(*rest, ""));
done:
    return status;
}

/* The one check that catches every other spelling (leading zeros, more blanks, a tail): write it again. */
static triage_status check_canonical(const tri_attention_problem *problem, const char *key) {
    char *again;
    triage_status status = tri_attention_key(&again, problem);
    if (status == TRIAGE_OK && strcmp(again, key) != 0)
        status = tri_fail(TRIAGE_E_DATA, "problem key: '%s' is not written as '%s'", key, again);
    free(again);
    return status;
}

triage_status tri_attention_parse(tri_attention_problem *out, const char *key) {
    char text[KEY_LIMIT], *rest = text;
    triage_status status;
    tri_attention_problem problem = {0};
    bool paged;
    size_t size = strlen(key);
    if (size >= sizeof text)
        return tri_fail(TRIAGE_E_DATA, "problem key: longer than %d bytes", KEY_LIMIT - 1);
    memcpy(text, key, size + 1);
    TRI_TRY(parse_words(&problem, &rest, &paged));
    TRI_TRY(parse_sizes(&problem, &rest));
    TRI_TRY(parse_rest(&problem, &rest, paged));
    TRI_TRY(check_canonical(&problem, key));
    if (problem.mask.rows && !tri_fingerprint_is_quantised(&problem.mask.fingerprint))
        TRI_TRY(tri_fail(TRIAGE_E_DATA, "problem key: '%s' has a fingerprint that no pattern gives", key));
    tri_attention_complete(&problem);
    *out = problem;
done:
    return status == TRIAGE_E_INVALID ? TRIAGE_E_DATA : status; /* the fault is in what was imported */
}
