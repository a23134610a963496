/* The preprocessing tokens of a C, C++ or CUDA text: what its compiler sees, without comments and white space.
 *
 * Where white space has a meaning, a token says so: the end of a directive's line is one, and so is the parenthesis
 * that makes a macro take parameters, "#define F(x)" against "#define F (x)". What two languages read differently
 * (digraphs, ">>>", a literal's suffix) is read as the longest token of any of them: at worst two spellings of one
 * program have different tokens, never two programs the same. */
#ifndef TRIAGE_RENDER_TOKENS_H
#define TRIAGE_RENDER_TOKENS_H

#include "base/base.h"

typedef enum tri_token_kind {
    TRI_TOKEN_END = 0,    /* of the text */
    TRI_TOKEN_CODE,       /* a name, number, literal, punctuator or header name */
    TRI_TOKEN_DIRECTIVE,  /* the # that begins a directive */
    TRI_TOKEN_LINE_END,   /* of a directive */
    TRI_TOKEN_PARAMETERS, /* the ( of a macro's parameters */
} tri_token_kind;

/* Zero-initialise, set at, and free with tri_text_free(&reader.token). */
typedef struct tri_token_reader {
    const char *at; /* what is not read yet; borrowed */
    tri_text token; /* the last one, NUL-terminated; empty at an end */
    tri_token_kind kind;
    bool spaced; /* white space, a comment or a line's beginning is before the token */
    /* The program can see how its text is laid out: it names __LINE__; or where it has white space: it makes a string of
     * tokens (#x), in which any white space is one blank. */
    bool shows_layout, shows_spaces;
    /* private: what the place in the text means for the next token */
    bool within_line, in_directive;
    enum { TRI_WORD_ANY, TRI_WORD_DIRECTIVE, TRI_WORD_MACRO, TRI_WORD_AFTER_MACRO, TRI_WORD_HEADER } expected;
    bool defines;
} tri_token_reader;

/* Reads the next token; at the text's end its kind is TRI_TOKEN_END. Fails for lack of memory only. */
triage_status tri_token_next(tri_token_reader *reader);

#endif
