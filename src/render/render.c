#include "render/render.h"

#include <stdlib.h>
#include <string.h>

#include "render/identity.h"
#include "render/tokens.h"

#define ROOT "templates/"
#define BEFORE "db/pretuned/" /* templates/ as it lay when names were hashes of text: see identity.c */
#define NAME_MAX_SIZE 64
#define HEADERS_MAX 256

/* ---- placeholders ---- */

/* Where a message points. */
typedef struct place {
    const char *file;
    int line;
} place;

static int line_of(const char *text, const char *at) {
    int line = 1;
    for (; text < at; text++)
        line += *text == '\n';
    return line;
}

/* The length of the name between {{ and }}; 0: it is none. */
static size_t placeholder_name(const char *after_braces) {
    size_t size = strspn(after_braces, "abcdefghijklmnopqrstuvwxyz0123456789_");
    bool closed = size > 0 && size <= NAME_MAX_SIZE && !strncmp(after_braces + size, "}}", 2);
    return closed && after_braces[0] >= 'a' && after_braces[0] <= 'z' ? size : 0;
}

static size_t find_param(const tri_candidate *candidate, const char *name, size_t size) {
    for (size_t i = 0; i < candidate->param_count; i++)
        if (strlen(candidate->params[i].name) == size && !memcmp(candidate->params[i].name, name, size))
            return i;
    return candidate->param_count;
}

/* A text while its placeholders are replaced. */
typedef struct filling {
    tri_text *out;
    const tri_candidate *candidate;
    bool *used; /* which parameters were met */
    const char *text;
    size_t section, section_size; /* within one: where its name is in text; 0: outside */
    bool leaves_out;              /* ... one whose text is left out */
} filling;

static triage_status copy(filling *of, const char *from, size_t size) {
    return of->leaves_out ? TRIAGE_OK : tri_text_append(of->out, from, size);
}

static triage_status fill_name(filling *of, const char *name, size_t size) {
    const tri_candidate *candidate = of->candidate;
    const size_t i = find_param(candidate, name, size);
    if (i < candidate->param_count)
        of->used[i] = true;
    if (of->leaves_out)
        return TRIAGE_OK;
    if (i == candidate->param_count)
        return tri_fail(TRIAGE_E_DATA, "%s:%d: no parameter for the placeholder {{%.*s}}",
                        candidate->template_name, line_of(of->text, name), (int)size, name);
    return tri_text_append(of->out, candidate->params[i].value, strlen(candidate->params[i].value));
}

/* {{#name}} begins what only a kernel with that parameter, other than 0, has, {{^name}} what only one without, and {{/name}}
 * ends it; sections do not nest. mark: the character before the name. */
static triage_status turn_section(filling *of, char mark, const char *name, size_t size) {
    const tri_candidate *candidate = of->candidate;
    const bool ends = mark == '/';
    if (ends != (of->section > 0) ||
        (ends && (of->section_size != size || memcmp(of->text + of->section, name, size) != 0)))
        return tri_fail(TRIAGE_E_DATA, "%s:%d: {{%c%.*s}} where %s", candidate->template_name,
                        line_of(of->text, name), mark, (int)size, name,
                        of->section > 0 ? "another section is open" : "no section is open");
    of->section = ends ? 0 : (size_t)(name - of->text);
    of->section_size = size;
    const size_t i = find_param(candidate, name, size);
    const bool is_set = i < candidate->param_count && strcmp(candidate->params[i].value, "0") != 0;
    if (i < candidate->param_count)
        of->used[i] = true;
    of->leaves_out = !ends && is_set == (mark == '^');
    return TRIAGE_OK;
}

/* Copies text with its placeholders replaced; marks in used[] which parameters were. */
static triage_status substitute(tri_text *out, const char *text, const tri_candidate *candidate, bool *used) {
    triage_status status = TRIAGE_OK;
    filling of = {.out = out, .candidate = candidate, .used = used, .text = text};
    const char *from = text;
    for (const char *at = strstr(text, "{{"); at; at = strstr(from, "{{")) {
        const bool marked = at[2] == '#' || at[2] == '^' || at[2] == '/';
        const char *name = at + 2 + marked;
        size_t size = placeholder_name(name);
        if (size == 0)
            return tri_fail(TRIAGE_E_DATA, "%s:%d: '{{' does not begin a placeholder {{name}}",
                            candidate->template_name, line_of(text, at));
        TRI_TRY(copy(&of, from, (size_t)(at - from)));
        TRI_TRY(marked ? turn_section(&of, at[2], name, size) : fill_name(&of, name, size));
        from = name + size + 2;
    }
    if (of.section > 0)
        return tri_fail(TRIAGE_E_DATA, "%s:%d: the section {{%.*s}} has no end", candidate->template_name,
                        line_of(text, text + of.section), (int)of.section_size, text + of.section);
    TRI_TRY(tri_text_append(out, from, strlen(from)));
done:
    return status;
}

static triage_status check_params(const tri_candidate *candidate, const bool *used) {
    for (size_t i = 0; i < candidate->param_count; i++) {
        const char *name = candidate->params[i].name;
        if (find_param(candidate, name, strlen(name)) != i)
            return tri_fail(TRIAGE_E_DATA, "%s: the parameter %s is given twice", candidate->template_name,
                            name);
        if (!used[i])
            return tri_fail(TRIAGE_E_DATA, "%s: has no placeholder {{%s}} for the parameter of that name",
                            candidate->template_name, name);
    }
    return TRIAGE_OK;
}

static triage_status render_text(char **out, const char *text, const tri_candidate *candidate) {
    triage_status status = TRIAGE_OK;
    tri_text rendered = TRI_TEXT_INIT;
    bool *used = NULL;
    TRI_TRY(tri_calloc(&used, candidate->param_count + 1, sizeof *used));
    TRI_TRY(substitute(&rendered, text, candidate, used));
    TRI_TRY(check_params(candidate, used));
    *out = rendered.data;
    rendered = (tri_text)TRI_TEXT_INIT;
done:
    tri_text_free(&rendered);
    free(used);
    return status;
}

/* ---- includes ---- */

/* What an #include names, behind the word; NULL: the line is none. */
static const char *include_of(const char *line) {
    line += strspn(line, " \t");
    if (*line++ != '#')
        return NULL;
    line += strspn(line, " \t");
    return strncmp(line, "include", 7) ? NULL : line + 7 + strspn(line + 7, " \t");
}

/* If the line is #include "name": the name and its length; else NULL. */
static const char *quoted_include(const char *line, size_t *size) {
    line = include_of(line);
    if (!line || *line != '"')
        return NULL;
    *size = strcspn(line + 1, "\"\n");
    return line + 1;
}

/* The next line, or NULL after the last. */
static const char *next_line(const char *line) {
    const char *end = strchr(line, '\n');
    return end && end[1] ? end + 1 : NULL;
}

/* Nothing outside templates/ and nothing hidden: plain names joined by '/'. */
static bool stays_below(const char *name, size_t size) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./";
    if (size == 0 || size > 200 || strspn(name, plain) < size)
        return false;
    for (size_t i = 0; i < size; i++)
        if ((i == 0 || name[i - 1] == '/') && (name[i] == '.' || name[i] == '/'))
            return false;
    return true;
}

static const tri_include *find_include(const tri_source *source, const char *name, size_t size) {
    for (size_t i = 0; i < source->include_count; i++)
        if (strlen(source->includes[i].name) == size && !memcmp(source->includes[i].name, name, size))
            return &source->includes[i];
    return NULL;
}

static triage_status read_header(tri_source *source, const char *name, size_t size, place here,
                                 const char *data_dir) {
    triage_status status = TRIAGE_OK;
    char *path = NULL, *text = NULL, *copy = NULL;
    size_t text_size = 0;
    if (!stays_below(name, size))
        return tri_fail(TRIAGE_E_DATA, "%s:%d: #include \"%.*s\" is not a plain path below %s", here.file,
                        here.line, (int)(size < 80 ? size : 80), name, ROOT);
    if (source->include_count == HEADERS_MAX)
        return tri_fail(TRIAGE_E_DATA, "%s:%d: more than %d headers", here.file, here.line, HEADERS_MAX);
    TRI_TRY(tri_format(&path, ROOT "%.*s", (int)size, name));
    status = tri_resource_read(&text, &text_size, data_dir, path);
    if (status == TRIAGE_E_NOT_FOUND || status == TRIAGE_E_IO)
        status = tri_fail(TRIAGE_E_DATA, "%s:%d: there is no header %s", here.file, here.line, path);
    TRI_TRY(status);
    TRI_TRY(tri_strdup(&copy, path + strlen(ROOT)));
    source->includes[source->include_count++] = (tri_include){copy, text};
    text = NULL;
done:
    free(path);
    free(text);
    return status;
}

/* Is the # there the beginning of a directive, and not part of a comment or a string? The reader comes from above. */
static triage_status is_directive(bool *yes, tri_token_reader *reader, const char *hash) {
    triage_status status = TRIAGE_OK;
    while (status == TRIAGE_OK && reader->at <= hash)
        status = tri_token_next(reader);
    *yes = reader->kind == TRI_TOKEN_DIRECTIVE && reader->at == hash + 1;
    return status;
}

/* Reads every header that text names and that is not there yet. */
static triage_status gather_from(tri_source *source, const char *text, const char *file,
                                 const char *data_dir) {
    triage_status status = TRIAGE_OK;
    tri_token_reader reader = {.at = text};
    place here = {file, 1};
    for (const char *line = text; line; line = next_line(line), here.line++) {
        size_t size = 0;
        bool named = false;
        const char *name = quoted_include(line, &size);
        if (name && !find_include(source, name, size))
            TRI_TRY(is_directive(&named, &reader, strchr(line, '#')));
        if (named)
            TRI_TRY(read_header(source, name, size, here, data_dir));
    }
done:
    tri_text_free(&reader.token);
    return status;
}

/* <a/b.h> or "a/b.h". */
static bool is_plain_header(const char *token) {
    const size_t size = strlen(token);
    const char close = token[0] == '<' ? '>' : '"';
    return size > 2 && (token[0] == '<' || token[0] == '"') && token[size - 1] == close &&
           stays_below(token + 1, size - 2);
}

/* Of a text from elsewhere: a compiler that is not confined (NVRTC) opens whatever file a directive names, and says in its
 * errors what is in it. So a header has a plain name, and no macro's; and no directive is disguised by trigraphs. */
static triage_status check_includes(const char *text, const char *file) {
    static const char *const opening[] = {"include", "include_next", "import", "embed"};
    triage_status status = TRIAGE_OK;
    tri_token_reader reader = {.at = text};
    bool opens = false;
    if (strstr(text, "?\?=") || strstr(text, "?\?/"))
        return tri_fail(TRIAGE_E_DATA, "%s: has a trigraph", file);
    do {
        const bool begins = reader.kind == TRI_TOKEN_DIRECTIVE;
        TRI_TRY(tri_token_next(&reader));
        if (opens && !is_plain_header(reader.token.data))
            TRI_TRY(tri_fail(TRIAGE_E_DATA, "%s:%d: #include %.80s is not a plain path below %s", file,
                             line_of(text, reader.at), reader.token.data, ROOT));
        opens = false;
        for (size_t i = 0; begins && i < sizeof opening / sizeof *opening; i++)
            opens = opens || strcmp(reader.token.data, opening[i]) == 0;
    } while (reader.kind != TRI_TOKEN_END);
done:
    tri_text_free(&reader.token);
    return status;
}

static triage_status check_all_includes(const tri_source *source) {
    triage_status status = check_includes(source->text, source->name);
    for (size_t i = 0; i < source->include_count && status == TRIAGE_OK; i++)
        status = check_includes(source->includes[i].text, source->includes[i].name);
    return status;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const tri_include *)a)->name, ((const tri_include *)b)->name);
}

/* The list grows while it is walked: that makes it transitive. */
static triage_status gather_headers(tri_source *source, const char *data_dir) {
    triage_status status = TRIAGE_OK;
    char *file = NULL;
    TRI_TRY(tri_calloc(&source->includes, HEADERS_MAX, sizeof *source->includes));
    TRI_TRY(gather_from(source, source->text, source->name, data_dir));
    for (size_t i = 0; i < source->include_count; i++) {
        free(file);
        file = NULL;
        TRI_TRY(tri_format(&file, ROOT "%s", source->includes[i].name));
        TRI_TRY(gather_from(source, source->includes[i].text, file, data_dir));
    }
    qsort(source->includes, source->include_count, sizeof *source->includes, by_name);
done:
    free(file);
    return status;
}

/* ---- rendering ---- */

static triage_status copy_options(tri_source *source, const tri_candidate *candidate) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_calloc(&source->options, candidate->option_count + 1, sizeof *source->options));
    for (; source->option_count < candidate->option_count; source->option_count++)
        TRI_TRY(tri_strdup(&source->options[source->option_count], candidate->options[source->option_count]));
done:
    return status;
}

/* The text of the candidate's template below a folder, which may be "". */
static triage_status render_template(char **out, const tri_candidate *candidate, const char *data_dir,
                                     const char *folder) {
    triage_status status = TRIAGE_OK;
    char *path = NULL, *text = NULL;
    size_t size = 0;
    TRI_TRY(tri_format(&path, "%s%s", folder, candidate->template_name));
    status = tri_resource_read(&text, &size, data_dir, path);
    if (status == TRIAGE_E_NOT_FOUND)
        status = tri_fail(TRIAGE_E_DATA, "there is no template %s", candidate->template_name);
    TRI_TRY(status);
    if (strlen(text) != size) {
        status = tri_fail(TRIAGE_E_DATA, "%s: holds a NUL byte", candidate->template_name);
        goto done;
    }
    TRI_TRY(render_text(out, text, candidate));
done:
    free(text);
    free(path);
    return status;
}

/* The same headers as they lay before. Others than these no text with the same tokens can reach. */
static triage_status copy_headers_before(tri_source *out, const tri_source *source) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_calloc(&out->includes, source->include_count + 1, sizeof *out->includes));
    for (; out->include_count < source->include_count; out->include_count++) {
        tri_include *include = &out->includes[out->include_count];
        char *path = NULL, *text = NULL, *name = NULL;
        TRI_TRY(tri_format(&path, BEFORE ROOT "%s", source->includes[out->include_count].name));
        status = tri_resource_read(&text, NULL, NULL, path);
        free(path);
        TRI_TRY(status);
        include->text = text;
        TRI_TRY(tri_strdup(&name, source->includes[out->include_count].name));
        include->name = name;
    }
done:
    return status;
}

/* A kernel that is what it was when names were hashes of text keeps that name. */
static triage_status find_old_name(tri_source *source, const tri_candidate *candidate) {
    triage_status status = TRIAGE_OK;
    tri_source *before = NULL;
    bool same = false;
    TRI_TRY(tri_calloc(&before, 1, sizeof *before));
    TRI_TRY(render_template(&before->text, candidate, NULL, BEFORE));
    TRI_TRY(copy_headers_before(before, source));
    TRI_TRY(copy_options(before, candidate));
    TRI_TRY(tri_source_same(&same, source, before));
    if (same) {
        source->known_as = before;
        before = NULL;
    }
done:
    tri_source_free(before);
    free(before);
    /* it is a newer kernel, takes other parameters now, or has another header */
    return status == TRIAGE_E_DATA || status == TRIAGE_E_NOT_FOUND ? TRIAGE_OK : status;
}

triage_status tri_render(tri_source *out, const tri_candidate *candidate, const char *data_dir) {
    triage_status status = TRIAGE_OK;
    tri_source source = {0};
    *out = source;
    TRI_TRY(tri_strdup(&source.name, candidate->template_name));
    TRI_TRY(render_template(&source.text, candidate, data_dir, ""));
    TRI_TRY(gather_headers(&source, data_dir));
    if (data_dir)
        TRI_TRY(check_all_includes(&source));
    TRI_TRY(copy_options(&source, candidate));
    TRI_TRY(find_old_name(&source, candidate));
    *out = source;
    source = (tri_source){0};
done:
    tri_source_free(&source);
    return status;
}

/* ---- flattening ---- */

/* In one text every header is there once: the line means nothing, and compilers warn of it. */
static bool is_pragma_once(const char *line) {
    return !strncmp(line, "#pragma once", 12) && strchr("\r\n", line[12]);
}

/* Where the includes at the top end: the first line behind one of them that is none and not empty; NULL: nowhere. */
static const char *end_of_top(const char *text) {
    bool seen = false;
    for (const char *line = text; line; line = next_line(line)) {
        bool include = include_of(line) != NULL, empty = line[strspn(line, " \t\r")] == '\n';
        if (seen && !include && !empty)
            return line;
        seen |= include;
    }
    return NULL;
}

static triage_status append_header(tri_text *out, const tri_source *source, const tri_include *header,
                                   bool *written);

/* Appends text with the headers in their places that are not there yet. An empty line stays in place of an include, so lines
 * keep numbers. */
static triage_status append_text(tri_text *out, const tri_source *source, const char *text, const char *name,
                                 bool *written) {
    triage_status status = TRIAGE_OK;
    int number = 1;
    TRI_TRY(tri_text_format(out, "#line 1 \"%s\"\n", name));
    for (const char *line = text, *next; line; line = next, number++) {
        size_t size = 0;
        const char *included = quoted_include(line, &size);
        const tri_include *header = included ? find_include(source, included, size) : NULL;
        next = next_line(line);
        size_t length = next ? (size_t)(next - line) : strlen(line);
        if (header && !written[header - source->includes]) {
            TRI_TRY(append_header(out, source, header, written));
            TRI_TRY(tri_text_format(out, "#line %d \"%s\"\n", number + 1, name));
        } else if (included || is_pragma_once(line)) {
            TRI_TRY(tri_text_append(out, "\n", 1));
        } else {
            TRI_TRY(tri_text_append(out, line, length));
        }
    }
    if (out->size && out->data[out->size - 1] != '\n')
        TRI_TRY(tri_text_append(out, "\n", 1));
done:
    return status;
}

/* The headers that text includes at its top. Those further down may need what stands above them. */
static triage_status append_headers_of(tri_text *out, const tri_source *source, const char *text,
                                       bool *written) {
    triage_status status = TRIAGE_OK;
    const char *end = end_of_top(text);
    for (const char *line = text; line && line != end; line = next_line(line)) {
        size_t size = 0;
        const char *name = quoted_include(line, &size);
        const tri_include *header = name ? find_include(source, name, size) : NULL;
        if (header)
            TRI_TRY(append_header(out, source, header, written));
    }
done:
    return status;
}

/* Appends a header after those that it includes. written marks what is there or under way: a header that
 * includes itself in a circle comes once. The depth is at most the number of headers. */
static triage_status append_header(tri_text *out, const tri_source *source, const tri_include *header,
                                   bool *written) {
    triage_status status = TRIAGE_OK;
    char *name = NULL;
    if (written[header - source->includes])
        return TRIAGE_OK;
    written[header - source->includes] = true;
    TRI_TRY(append_headers_of(out, source, header->text, written));
    TRI_TRY(tri_format(&name, ROOT "%s", header->name));
    TRI_TRY(append_text(out, source, header->text, name, written));
done:
    free(name);
    return status;
}

triage_status tri_source_flatten(char **out, const tri_source *source) {
    triage_status status = TRIAGE_OK;
    tri_text text = TRI_TEXT_INIT;
    bool *written = NULL;
    TRI_TRY(tri_calloc(&written, source->include_count + 1, sizeof *written));
    TRI_TRY(append_headers_of(&text, source, source->text, written));
    TRI_TRY(append_text(&text, source, source->text, source->name, written));
    *out = text.data;
    text = (tri_text)TRI_TEXT_INIT;
done:
    tri_text_free(&text);
    free(written);
    return status;
}
