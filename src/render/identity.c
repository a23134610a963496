/* The name of a kernel: what its compiler sees, hashed.
 *
 * Before 2026-12 it was a hash of the text as it lies, comments and all. Every row of evidence of that time has such a
 * name, and so have the rows that older programs still write and share. A kernel therefore keeps the name that it has:
 * db/pretuned/templates holds the templates as they lay when the rule changed, each source is rendered from those too,
 * and where both have the same tokens the name is that of the old text. So no row is rewritten, and older programs
 * and this one mean the same kernel by the same name, in every database. */
#include "render/identity.h"

#include <stdlib.h>
#include <string.h>

#include "render/render.h"
#include "render/tokens.h"

/* ---- what a compiler sees of a text ---- */

typedef struct view {
    tri_text tokens;
    bool shows_layout, shows_spaces;
} view;

/* Each token with its kind before it and a NUL, which no token has, after it; with_spaces: and a blank before that where
 * there is white space. */
static triage_status see(view *out, const char *text, bool with_spaces) {
    triage_status status = TRIAGE_OK;
    tri_token_reader reader = {.at = text};
    for (;;) {
        TRI_TRY(tri_token_next(&reader));
        if (reader.kind == TRI_TOKEN_END)
            break;
        const char head[] = {' ', (char)('0' + reader.kind)};
        const size_t skip = !(with_spaces && reader.spaced);
        TRI_TRY(tri_text_append(&out->tokens, head + skip, sizeof head - skip));
        TRI_TRY(tri_text_append(&out->tokens, reader.token.data, reader.token.size + 1));
    }
    out->shows_layout = reader.shows_layout;
    out->shows_spaces = reader.shows_spaces;
done:
    tri_text_free(&reader.token);
    return status;
}

/* A text whose tokens show where it has white space is seen with it. */
static triage_status see_all(view *views, const char *const *texts, size_t count) {
    triage_status status = TRIAGE_OK;
    bool shows_spaces = false;
    for (size_t i = 0; i < count; i++) {
        TRI_TRY(see(&views[i], texts[i], false));
        shows_spaces = shows_spaces || views[i].shows_spaces;
    }
    for (size_t i = 0; i < count && shows_spaces; i++) {
        tri_text_free(&views[i].tokens);
        views[i].tokens = (tri_text)TRI_TEXT_INIT;
        TRI_TRY(see(&views[i], texts[i], true));
        views[i].shows_spaces = true;
    }
done:
    return status;
}

static triage_status see_same(bool *same, const char *a, const char *b) {
    triage_status status = TRIAGE_OK;
    view views[2] = {0};
    *same = strcmp(a, b) == 0;
    if (*same)
        return TRIAGE_OK;
    TRI_TRY(see_all(views, (const char *const[]){a, b}, 2));
    const tri_text *first = &views[0].tokens, *second = &views[1].tokens;
    *same = !views[0].shows_layout && !views[1].shows_layout && first->size == second->size &&
            (first->size == 0 || memcmp(first->data, second->data, first->size) == 0);
done:
    tri_text_free(&views[0].tokens);
    tri_text_free(&views[1].tokens);
    return status;
}

triage_status tri_source_same(bool *same, const tri_source *a, const tri_source *b) {
    triage_status status = TRIAGE_OK;
    *same = false;
    if (a->include_count != b->include_count || a->option_count != b->option_count)
        return TRIAGE_OK;
    for (size_t i = 0; i < a->option_count; i++)
        if (strcmp(a->options[i], b->options[i]) != 0)
            return TRIAGE_OK;
    for (size_t i = 0; i < a->include_count; i++)
        if (strcmp(a->includes[i].name, b->includes[i].name) != 0)
            return TRIAGE_OK;
    TRI_TRY(see_same(same, a->text, b->text));
    for (size_t i = 0; i < a->include_count && *same; i++)
        TRI_TRY(see_same(same, a->includes[i].text, b->includes[i].text));
done:
    return status;
}

/* ---- hashes ---- */

static tri_piece piece_of(const char *text) {
    return (tri_piece){text, strlen(text)};
}

/* Text and headers are those of the source, or what is seen of them: [0] the text's, [1 + i] a header's. out: room for
 * every piece. The counts are pieces too: they keep headers and options apart. */
static size_t list_pieces(tri_piece *out, const tri_source *source, const tri_piece *texts,
                          const char *target) {
    size_t count = 0;
    out[count++] = texts[0];
    out[count++] = (tri_piece){&source->include_count, sizeof source->include_count};
    for (size_t i = 0; i < source->include_count; i++) {
        out[count++] = piece_of(source->includes[i].name);
        out[count++] = texts[1 + i];
    }
    out[count++] = (tri_piece){&source->option_count, sizeof source->option_count};
    for (size_t i = 0; i < source->option_count; i++)
        out[count++] = piece_of(source->options[i]);
    out[count++] = piece_of(target);
    return count;
}

/* rule: which of the hashes it is; NULL: the one from before there were several. */
static triage_status hash_source(char out[TRI_HASH_SIZE], const char *rule, const tri_source *source,
                                 const tri_piece *texts, const char *target) {
    tri_piece *pieces = NULL;
    triage_status status =
        tri_calloc(&pieces, 5 + 2 * source->include_count + source->option_count, sizeof *pieces);
    if (status != TRIAGE_OK)
        return status;
    pieces[0] = piece_of(rule ? rule : "");
    const size_t count = 1 + list_pieces(pieces + 1, source, texts, target);
    tri_hash_pieces(out, pieces + !rule, count - !rule);
    free(pieces);
    return TRIAGE_OK;
}

static const char *text_of(const tri_source *source, size_t i) {
    return i == 0 ? source->text : source->includes[i - 1].text;
}

static triage_status hash_texts(char out[TRI_HASH_SIZE], const char *rule, const tri_source *source,
                                const char *target) {
    triage_status status = TRIAGE_OK;
    tri_piece *texts = NULL;
    TRI_TRY(tri_calloc(&texts, 1 + source->include_count, sizeof *texts));
    for (size_t i = 0; i <= source->include_count; i++)
        texts[i] = piece_of(text_of(source, i));
    TRI_TRY(hash_source(out, rule, source, texts, target));
done:
    free(texts);
    return status;
}

/* A source that sees its own layout is its text; one that sees its spaces is its tokens with them. */
static triage_status hash_tokens(char out[TRI_HASH_SIZE], const tri_source *source, const char *target) {
    triage_status status = TRIAGE_OK;
    const size_t count = 1 + source->include_count;
    tri_piece *pieces = NULL;
    const char **texts = NULL;
    view *views = NULL;
    bool shows_layout = false;
    TRI_TRY(tri_calloc(&pieces, count, sizeof *pieces));
    TRI_TRY(tri_calloc(&texts, count, sizeof *texts));
    TRI_TRY(tri_calloc(&views, count, sizeof *views));
    for (size_t i = 0; i < count; i++)
        texts[i] = text_of(source, i);
    TRI_TRY(see_all(views, texts, count));
    for (size_t i = 0; i < count; i++) {
        pieces[i] = (tri_piece){views[i].tokens.data, views[i].tokens.size};
        shows_layout = shows_layout || views[i].shows_layout;
    }
    if (shows_layout)
        TRI_TRY(hash_texts(out, "triage kernel 2, text", source, target));
    else if (views[0].shows_spaces)
        TRI_TRY(hash_source(out, "triage kernel 2, tokens and spaces", source, pieces, target));
    else
        TRI_TRY(hash_source(out, "triage kernel 2, tokens", source, pieces, target));
done:
    for (size_t i = 0; views && i < count; i++)
        tri_text_free(&views[i].tokens);
    free(views);
    free(texts);
    free(pieces);
    return status;
}

void tri_source_hash(char out[TRI_HASH_SIZE], const tri_source *source, const char *target) {
    const triage_status status =
        source->known_as ? hash_texts(out, NULL, source->known_as, target) : hash_tokens(out, source, target);
    if (status != TRIAGE_OK)
        out[0] = '\0'; /* no memory: no kernel has that name */
}
