#include "render/tokens.h"

#include <string.h>

/* ---- characters ---- */

/* The next character, lines that end in a backslash joined to those after them; NUL at the end. */
static char peek(tri_token_reader *r) {
    while (r->at[0] == '\\') {
        const size_t size = r->at[1] == '\n' ? 2 : r->at[1] == '\r' && r->at[2] == '\n' ? 3 : 0;
        if (!size)
            break;
        r->at += size;
    }
    return *r->at;
}

static triage_status take(tri_token_reader *r) {
    triage_status status = tri_text_append(&r->token, r->at, 1);
    r->at++;
    return status;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* Of a name. A backslash begins a universal character name; bytes from 0x80 on are letters of UTF-8. */
static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$' || c == '\\' ||
           (unsigned char)c >= 0x80;
}

static bool is_word(char c) {
    return is_letter(c) || is_digit(c);
}

static bool is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* ---- what is no token ---- */

static void skip_line(tri_token_reader *r) {
    for (r->at += strcspn(r->at, "\\\n"); peek(r) && *r->at != '\n'; r->at += strcspn(r->at, "\\\n"))
        r->at += *r->at == '\\'; /* one that joins no lines */
}

static void skip_comment(tri_token_reader *r) {
    for (char before = '\0', c; (c = peek(r));) {
        r->at++;
        if (before == '*' && c == '/')
            return;
        before = c;
    }
}

/* A comment, if the text goes on with one. */
static bool skip_if_comment(tri_token_reader *r) {
    if (peek(r) != '/')
        return false;
    const char *at = r->at;
    r->at++;
    const char second = peek(r);
    if (second != '/' && second != '*') {
        r->at = at;
        return false;
    }
    r->at++;
    if (second == '/')
        skip_line(r);
    else
        skip_comment(r);
    return true;
}

/* To the next token, or to the line end that is one. */
static void skip_space(tri_token_reader *r) {
    for (;;) {
        const char c = peek(r);
        if (c == '\n' && r->in_directive)
            return;
        if (c == '\n')
            r->within_line = false;
        if (is_space(c))
            r->at++;
        else if (!skip_if_comment(r))
            return;
    }
}

/* ---- tokens ---- */

static triage_status take_many(tri_token_reader *r, size_t size) {
    const triage_status status = tri_text_append(&r->token, r->at, size);
    r->at += size;
    return status;
}

static triage_status take_word(tri_token_reader *r) {
    triage_status status = TRIAGE_OK;
    while (status == TRIAGE_OK && is_word(peek(r))) {
        size_t size = 1;
        while (is_word(r->at[size]) && r->at[size] != '\\')
            size++;
        status = take_many(r, size);
    }
    return status;
}

/* 1.5e-3f, 0x1p+4, 1'000'000: whatever a number could begin. */
static triage_status take_number(tri_token_reader *r) {
    triage_status status = TRIAGE_OK;
    for (char last = '\0'; status == TRIAGE_OK;) {
        const char c = peek(r);
        const bool sign = (c == '+' || c == '-') && last && strchr("eEpP", last);
        const bool separator = c == '\'' && is_word(r->at[1]);
        if (!is_word(c) && c != '.' && !sign && !separator)
            break;
        status = take(r);
        last = c;
    }
    return status;
}

/* To the closing character, with what a backslash protects; what is not closed ends with its line. */
static triage_status take_until(tri_token_reader *r, char close, bool escapes) {
    triage_status status = take(r);
    for (char c; status == TRIAGE_OK && (c = peek(r)) && c != '\n';) {
        status = take(r);
        if (c == close)
            break;
        if (escapes && c == '\\' && status == TRIAGE_OK && peek(r) && peek(r) != '\n')
            status = take(r);
    }
    return status;
}

static triage_status take_literal(tri_token_reader *r) {
    triage_status status = take_until(r, *r->at, true);
    return status == TRIAGE_OK && is_letter(peek(r)) ? take_word(r) : status; /* "..."_suffix */
}

/* The size of "delimiter(...)delimiter" from its first quote on; 0: it is no raw string. */
static size_t raw_size(const char *quote) {
    char close[20] = ")";
    const size_t delimiter = strcspn(quote + 1, "()\\ \t\v\f\r\n\"");
    if (delimiter > 16 || quote[1 + delimiter] != '(')
        return 0;
    memcpy(close + 1, quote + 1, delimiter);
    close[1 + delimiter] = '"';
    const char *end = strstr(quote + 1 + delimiter, close);
    return end ? (size_t)(end - quote) + delimiter + 2 : 0;
}

static bool is_one_of(const char *word, const char *const *list) {
    for (; *list; list++)
        if (strcmp(word, *list) == 0)
            return true;
    return false;
}

/* A name, or a literal with the prefix that the name turns out to be. */
static triage_status take_name(tri_token_reader *r) {
    static const char *const raw[] = {"R", "LR", "uR", "UR", "u8R", NULL};
    static const char *const plain[] = {"L", "u", "U", "u8", NULL};
    triage_status status = take_word(r);
    if (status != TRIAGE_OK)
        return status;
    const char next = peek(r);
    const size_t size = next == '"' && is_one_of(r->token.data, raw) ? raw_size(r->at) : 0;
    if (size)
        status = take_many(r, size); /* nothing is joined within */
    if (status == TRIAGE_OK && r->token.data[r->token.size - 1] != '"' &&
        ((next == '"' && (is_one_of(r->token.data, raw) || is_one_of(r->token.data, plain))) ||
         (next == '\'' && is_one_of(r->token.data, plain))))
        status = take_literal(r);
    return status;
}

static bool is_punctuator(const char *text) {
    static const char *const longest[] = {"<<<", ">>>", "...", "->*", "<=>", "<<=", ">>=", "%:%:", "->",
                                          "++",  "--",  "<<",  ">>",  "<=",  ">=",  "==",  "!=",   "&&",
                                          "||",  "*=",  "/=",  "%=",  "+=",  "-=",  "&=",  "^=",   "|=",
                                          "##",  "::",  ".*",  "<:",  ":>",  "<%",  "%>",  "%:",   NULL};
    return is_one_of(text, longest);
}

/* The longest punctuator, else one character. */
static triage_status take_punctuator(tri_token_reader *r) {
    const bool alone = strchr("(){}[],;?~", *r->at);
    triage_status status = take(r);
    const char *end = r->at;
    size_t size = 1;
    while (status == TRIAGE_OK && !alone && r->token.size < 4 && peek(r) && strchr("<>.-*=%:+&|^#", *r->at)) {
        status = take(r);
        if (status == TRIAGE_OK && is_punctuator(r->token.data)) {
            size = r->token.size;
            end = r->at;
        }
    }
    r->at = end;
    if (status == TRIAGE_OK) {
        r->token.size = size;
        r->token.data[size] = '\0';
    }
    return status;
}

static triage_status take_code(tri_token_reader *r) {
    const char c = peek(r);
    if (r->expected == TRI_WORD_HEADER && (c == '<' || c == '"'))
        return take_until(r, c == '<' ? '>' : '"', false);
    if (is_digit(c) || (c == '.' && is_digit(r->at[1])))
        return take_number(r);
    if (is_letter(c))
        return take_name(r);
    return c == '"' || c == '\'' ? take_literal(r) : take_punctuator(r);
}

/* ---- what they mean ---- */

static bool is_hash(const char *token) {
    return strcmp(token, "#") == 0 || strcmp(token, "%:") == 0;
}

static void note(tri_token_reader *r) {
    static const char *const includes[] = {"include", "include_next", "import", "embed", NULL};
    static const char *const layout[] = {"__LINE__", "__builtin_LINE", "source_location", NULL};
    const char *token = r->token.data;
    r->shows_layout = r->shows_layout || ((*token == '_' || *token == 's') && is_one_of(token, layout));
    r->shows_spaces = r->shows_spaces || (r->defines && is_hash(token));
    if (r->expected == TRI_WORD_DIRECTIVE) {
        r->defines = strcmp(token, "define") == 0;
        r->expected = r->defines                   ? TRI_WORD_MACRO
                      : is_one_of(token, includes) ? TRI_WORD_HEADER
                                                   : TRI_WORD_ANY;
    } else {
        r->expected = r->expected == TRI_WORD_MACRO ? TRI_WORD_AFTER_MACRO : TRI_WORD_ANY;
    }
}

static void end_directive(tri_token_reader *r) {
    r->kind = TRI_TOKEN_LINE_END;
    r->in_directive = r->within_line = r->defines = r->spaced = false; /* blanks at a line's end are none */
    r->expected = TRI_WORD_ANY;
}

triage_status tri_token_next(tri_token_reader *r) {
    triage_status status = TRIAGE_OK;
    const bool parameters = r->expected == TRI_WORD_AFTER_MACRO && peek(r) == '(';
    r->token.size = 0;
    TRI_TRY(tri_text_append(&r->token, "", 0)); /* never NULL */
    (void)peek(r);                              /* joined lines have nothing between them */
    const char *const before = r->at;
    skip_space(r);
    r->spaced = r->at != before || !r->within_line;
    if (r->in_directive && (!peek(r) || peek(r) == '\n')) {
        end_directive(r);
        goto done;
    }
    if (!peek(r)) {
        r->kind = TRI_TOKEN_END;
        goto done;
    }
    TRI_TRY(take_code(r));
    if (!r->within_line && !r->in_directive && is_hash(r->token.data)) {
        r->kind = TRI_TOKEN_DIRECTIVE;
        r->in_directive = true;
        r->expected = TRI_WORD_DIRECTIVE;
    } else {
        r->kind = parameters ? TRI_TOKEN_PARAMETERS : TRI_TOKEN_CODE;
        note(r);
    }
    r->within_line = true;
done:
    return status;
}
