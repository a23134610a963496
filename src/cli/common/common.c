#include "cli/common/common.h"

#include "cli/common/progress.h"

#include <argp.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- exit codes and messages ---- */

int tri_cli_exit_code(triage_status status) {
    switch (status) {
    case TRIAGE_OK:
        return TRI_EXIT_OK;
    case TRIAGE_E_INVALID:
        return TRI_EXIT_USAGE;
    case TRIAGE_E_DATA:
        return TRI_EXIT_DATA;
    case TRIAGE_E_NO_DEVICE:
    case TRIAGE_E_DEVICE:
        return TRI_EXIT_NO_DEVICE;
    case TRIAGE_E_UNSUPPORTED:
    case TRIAGE_E_COMPILE:
    case TRIAGE_E_WRONG:
    case TRIAGE_E_TIMEOUT:
    case TRIAGE_E_MEMORY:
        return TRI_EXIT_NONE_RIGHT;
    case TRIAGE_E_CAPTURE:
    case TRIAGE_E_NOT_FOUND:
    case TRIAGE_E_IO:
    case TRIAGE_E_DB:
        return TRI_EXIT_IO;
    case TRIAGE_E_INTERRUPTED:
        return TRI_EXIT_INTERRUPTED;
    }
    return TRI_EXIT_IO;
}

/* A umask says what others may do with what we make. One that shuts out its owner, too, would have us make folders
 * that we cannot enter. */
static void keep_owners_rights(void) {
    umask(umask(0) & (S_IRWXG | S_IRWXO));
}

void tri_cli_start(void) {
    argp_err_exit_status = TRI_EXIT_USAGE;
    keep_owners_rights();
    signal(SIGPIPE, SIG_IGN);
    tri_cli_honour_environment();
}

int tri_cli_finish(int code) {
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    /* "triage_db list | head": the reader has what it wants; nothing to complain of, but not a success. */
    if (errno != EPIPE)
        tri_cli_error("cannot write the output: %s", strerror(errno));
    return code == TRI_EXIT_OK ? TRI_EXIT_IO : code;
}

void tri_cli_error(const char *format, ...) {
    char line[4096];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments); /* NOLINT(clang-analyzer-valist.Uninitialized): it is */
    va_end(arguments);
    tri_cli_progress_hide();
    fflush(stdout); /* where both go to one place, in their order */
    fprintf(stderr, "%s: %s\n", program_invocation_short_name, line); /* one write: lines stay whole */
}

int tri_cli_report(triage_status status) {
    if (status != TRIAGE_OK) {
        const char *message = triage_last_error();
        tri_cli_error("%s", message[0] ? message : triage_status_name(status));
    }
    return tri_cli_exit_code(status);
}

void tri_cli_log(void *user, triage_log_level level, const char *line) {
    const bool *quiet = user;
    if (level == TRIAGE_LOG_WARNING)
        tri_cli_error("warning: %s", line);
    else if (!quiet || !*quiet)
        tri_cli_error("%s", line);
}

/* ---- interruption ---- */

static volatile int interrupted;

static void on_signal(int number) {
    interrupted = number;
}

volatile const int *tri_cli_catch_interrupts(void) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    return &interrupted;
}

/* ---- default paths ---- */

static triage_status default_path(char **out, const char *variable, const char *below_home,
                                  const char *tail) {
    const char *base = getenv(variable);
    if (base && base[0] == '/')
        return tri_format(out, "%s/%s", base, tail);
    const char *home = getenv("HOME");
    if (home && home[0] == '/')
        return tri_format(out, "%s/%s/%s", home, below_home, tail);
    return tri_fail(TRIAGE_E_INVALID, "neither %s nor HOME names an absolute path", variable);
}

triage_status tri_cli_default_db(char **out) {
    return default_path(out, "XDG_DATA_HOME", ".local/share", "triage/triage.db");
}

triage_status tri_cli_default_key(char **out) {
    return default_path(out, "XDG_DATA_HOME", ".local/share", "triage/signing.key");
}

triage_status tri_cli_default_cache(char **out) {
    return default_path(out, "XDG_CACHE_HOME", ".cache", "triage");
}

const char *tri_cli_lock_dir(void) {
    const char *folder = getenv("TRIAGE_LOCK_DIR");
    return folder && folder[0] ? folder : "/tmp";
}

/* ---- colour ---- */

bool tri_cli_color(FILE *stream, bool no_color) {
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return !no_color && !(no && no[0]) && !(term && strcmp(term, "dumb") == 0) && isatty(fileno(stream));
}

static const char *style_code(tri_cli_style style) {
    static const char *const codes[] = {"", "\033[1m", "\033[2m", "\033[32m", "\033[31m"};
    return codes[style];
}

/* ---- tables ---- */

typedef struct table_row {
    tri_cli_style style;
    size_t filled;
    char **cells;
} table_row;

struct tri_cli_table {
    const tri_cli_column *columns;
    size_t count;
    size_t *widths; /* of the widest cell of each column */
    table_row *rows;
    size_t size, capacity;
};

/* Columns on a terminal, not bytes: continuation bytes of UTF-8 take none. */
static size_t shown_width(const char *text) {
    size_t width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xC0) != 0x80;
    return width;
}

static void widen(tri_cli_table *table, size_t column, const char *text) {
    size_t width = shown_width(text);
    if (width > table->widths[column])
        table->widths[column] = width;
}

triage_status tri_cli_table_new(tri_cli_table **out, const tri_cli_column *columns, size_t count) {
    triage_status status = TRIAGE_OK;
    tri_cli_table *table = NULL;
    TRI_TRY(tri_calloc(&table, 1, sizeof *table));
    table->columns = columns;
    table->count = count;
    TRI_TRY(tri_calloc(&table->widths, count, sizeof *table->widths));
    for (size_t i = 0; i < count; i++)
        widen(table, i, columns[i].title);
    *out = table;
    table = NULL;
done:
    tri_cli_table_free(table);
    return status;
}

void tri_cli_table_free(tri_cli_table *table) {
    if (!table)
        return;
    for (size_t i = 0; i < table->size; i++) {
        for (size_t j = 0; j < table->rows[i].filled; j++)
            free(table->rows[i].cells[j]);
        free(table->rows[i].cells);
    }
    free(table->rows);
    free(table->widths);
    free(table);
}

triage_status tri_cli_table_row(tri_cli_table *table, tri_cli_style style) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_grow(&table->rows, &table->capacity, table->size, sizeof *table->rows, "rows of a table"));
    table_row *row = &table->rows[table->size];
    *row = (table_row){.style = style};
    TRI_TRY(tri_calloc(&row->cells, table->count, sizeof *row->cells));
    table->size++;
done:
    return status;
}

triage_status tri_cli_table_cell(tri_cli_table *table, const char *format, ...) {
    table_row *row = &table->rows[table->size - 1];
    if (row->filled == table->count)
        return tri_fail(TRIAGE_E_INVALID, "a table of %zu columns got another cell", table->count);
    va_list arguments;
    va_start(arguments, format);
    int size = vasprintf(&row->cells[row->filled], format, arguments);
    va_end(arguments);
    if (size < 0)
        return tri_fail(TRIAGE_E_MEMORY, "out of memory for a table cell");
    widen(table, row->filled, row->cells[row->filled]);
    row->filled++;
    return TRIAGE_OK;
}

/* Text from a database may come from elsewhere: a control character must not reach the terminal. */
static void print_cell(FILE *stream, const char *text, size_t width, bool right, bool last) {
    size_t shown = shown_width(text), pad = width > shown ? width - shown : 0;
    if (right)
        fprintf(stream, "%*s", (int)pad, "");
    for (const char *c = text; *c; c++) {
        const size_t size = tri_control_size(c);
        fputc(size > 0 ? '?' : *c, stream);
        c += size > 1 ? size - 1 : 0;
    }
    if (!right && !last)
        fprintf(stream, "%*s", (int)pad, "");
    fputs(last ? "" : "  ", stream);
}

void tri_cli_table_print(const tri_cli_table *table, FILE *stream, bool color) {
    for (size_t i = 0; i <= table->size; i++) {
        const table_row *row = i ? &table->rows[i - 1] : NULL;
        tri_cli_style style = !color ? TRI_STYLE_NONE : row ? row->style : TRI_STYLE_BOLD;
        fputs(style_code(style), stream);
        for (size_t j = 0; j < table->count; j++) {
            const char *text = !row ? table->columns[j].title : j < row->filled ? row->cells[j] : "";
            print_cell(stream, text, table->widths[j], table->columns[j].right, j + 1 == table->count);
        }
        fputs(style == TRI_STYLE_NONE ? "\n" : "\033[0m\n", stream);
    }
}

/* ---- tables that fit ---- */

size_t tri_cli_width(bool wide) {
    struct winsize size;
    const char *columns = getenv("COLUMNS");
    int64_t given = 0;
    if (wide)
        return 0;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return columns && tri_parse_int64(&given, columns, 1, 10000, "COLUMNS") == TRIAGE_OK ? (size_t)given : 0;
}

size_t tri_cli_height(void) {
    struct winsize size;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_row : 0;
}

static bool is_same_everywhere(const tri_cli_table *table, size_t column) {
    for (size_t i = 0; i < table->size; i++)
        if (table->rows[i].filled <= column || !table->rows[i].cells[column][0] ||
            strcmp(table->rows[i].cells[column], table->rows[0].cells[column]) != 0)
            return false;
    return table->size > 1;
}

/* Of its widest cell, and of the longest word of its title, which may go on in a second line. */
static size_t least_width(const tri_cli_table *table, size_t column) {
    size_t least = 0, word = 0;
    for (const char *c = table->columns[column].title; *c; c++) {
        word = *c == ' ' ? 0 : word + (((unsigned char)*c & 0xC0) != 0x80);
        least = word > least ? word : least;
    }
    for (size_t i = 0; i < table->size; i++) {
        const size_t shown = column < table->rows[i].filled ? shown_width(table->rows[i].cells[column]) : 0;
        least = shown > least ? shown : least;
    }
    return least;
}

/* Of the longest word of a column's cells. */
static size_t longest_word(const tri_cli_table *table, size_t column) {
    size_t longest = 0;
    for (size_t i = 0; i < table->size; i++) {
        const char *at = column < table->rows[i].filled ? table->rows[i].cells[column] : "";
        for (size_t size; *at; at += size + (at[size] == ' ')) {
            size = strcspn(at, " ");
            longest = size > longest ? size : longest;
        }
    }
    return longest;
}

/* Takes width off the widest columns of text, until all fit or none has more to give. Columns that are not shown have width 0.
 * least: what a column keeps; NULL: little. */
static void shrink(size_t *widths, const tri_cli_table *table, size_t limit, const size_t *least) {
    enum { LEAST = 7, GAP = 2 };
    for (;;) {
        size_t total = 0, widest = table->count;
        for (size_t j = 0; j < table->count; j++) {
            total += widths[j] ? widths[j] + GAP : 0;
            if (!table->columns[j].right && widths[j] > (least ? least[j] : LEAST) &&
                (widest == table->count || widths[j] > widths[widest]))
                widest = j;
        }
        if (total <= limit + GAP || widest == table->count)
            return;
        widths[widest]--;
    }
}

/* The bytes of the text's first line of at most so many columns, up to a blank where there is one. */
static size_t line_of(const char *text, size_t width) {
    size_t bytes = 0, columns = 0, blank = 0;
    for (; text[bytes]; bytes++) {
        columns += ((unsigned char)text[bytes] & 0xC0) != 0x80;
        if (columns > width)
            return blank ? blank : bytes;
        if (text[bytes] == ' ')
            blank = bytes;
    }
    return bytes;
}

void tri_cli_print_within(FILE *stream, const char *text, size_t indent, size_t width) {
    char line[4096];
    for (const char *end; *text; text = *end ? end + 1 : end) {
        end = text + strcspn(text, "\n");
        snprintf(line, sizeof line, "%.*s", (int)(end - text), text);
        size_t size = width ? line_of(line, width) : strlen(line);
        fprintf(stream, "%.*s", (int)size, line);
        for (const char *rest = line + size; *rest; rest += size) {
            rest += *rest == ' ';
            size = line_of(rest, width > 2 * indent ? width - indent : width);
            fprintf(stream, "\n%*s%.*s", (int)indent, "", (int)size, rest);
        }
        fputc('\n', stream);
    }
}

static void print_line(FILE *stream, const tri_cli_table *table, const size_t *widths, const char **rest) {
    char piece[1024];
    size_t last = table->count;
    while (last > 0 && (!widths[last - 1] || !rest[last - 1][0]))
        last--;
    for (size_t j = 0; j < last; j++) {
        if (!widths[j])
            continue;
        const size_t size = line_of(rest[j], widths[j]);
        snprintf(piece, sizeof piece, "%.*s", (int)size, rest[j]);
        rest[j] += size + (rest[j][size] == ' ');
        print_cell(stream, piece, widths[j], table->columns[j].right, j + 1 == last);
    }
}

/* row NULL: the titles. */
static void print_row(FILE *stream, const tri_cli_table *table, const size_t *widths, const table_row *row,
                      const char **rest, bool color) {
    const tri_cli_style style = !color ? TRI_STYLE_NONE : row ? row->style : TRI_STYLE_BOLD;
    bool more = true;
    for (size_t j = 0; j < table->count; j++)
        rest[j] = !row ? table->columns[j].title : j < row->filled ? row->cells[j] : "";
    while (more) {
        fputs(style_code(style), stream);
        print_line(stream, table, widths, rest);
        fputs(style == TRI_STYLE_NONE ? "\n" : "\033[0m\n", stream);
        more = false;
        for (size_t j = 0; j < table->count; j++)
            more = more || (widths[j] && rest[j][0]);
    }
}

void tri_cli_table_print_within(const tri_cli_table *table, FILE *stream, bool color, size_t width) {
    size_t *widths = NULL; /* and behind them of each column its longest word */
    const char **rest = NULL;
    if (!width || tri_calloc(&widths, 2 * table->count, sizeof *widths) != TRIAGE_OK ||
        tri_calloc(&rest, table->count, sizeof *rest) != TRIAGE_OK) {
        tri_cli_table_print(table, stream, color);
        free(widths);
        return;
    }
    size_t *const words = widths + table->count;
    for (size_t j = 0; j < table->count; j++) {
        words[j] = longest_word(table, j);
        widths[j] = is_same_everywhere(table, j) ? 0 : least_width(table, j);
        if (widths[j])
            continue;
        fprintf(stream, "%s%s", table->columns[j].title, table->columns[j].title[0] ? ": " : "");
        print_cell(stream, table->rows[0].cells[j], 0, false, true);
        fputc('\n', stream);
    }
    shrink(widths, table, width, words); /* breaks no word while there is room */
    shrink(widths, table, width, NULL);
    for (size_t i = 0; i <= table->size; i++)
        print_row(stream, table, widths, i ? &table->rows[i - 1] : NULL, rest, color);
    free(rest);
    free(widths);
}

/* ---- numbers ---- */

/* Three significant digits; value is below 1000 or in the largest unit. */
static const char *with_unit(char out[TRI_CLI_NUMBER], double value, const char *unit) {
    snprintf(out, TRI_CLI_NUMBER, "%.*f %s", value < 10 ? 2 : value < 100 ? 1 : 0, value, unit);
    return out;
}

const char *tri_cli_time(char out[TRI_CLI_NUMBER], double ns) {
    static const char *const units[] = {"ns", "us", "ms", "s"};
    if (!(ns > 0)) {
        snprintf(out, TRI_CLI_NUMBER, "-");
        return out;
    }
    size_t unit = 0;
    for (; ns >= 999.5 && unit < 3; unit++)
        ns /= 1000;
    return ns < 1e12 ? with_unit(out, ns, units[unit]) : "for ever";
}

const char *tri_cli_bytes(char out[TRI_CLI_NUMBER], int64_t bytes) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t unit = 0;
    for (; value >= 1023.5 && unit < 6; unit++)
        value /= 1024;
    if (unit > 0)
        return with_unit(out, value, units[unit]);
    snprintf(out, TRI_CLI_NUMBER, "%lld B", (long long)bytes);
    return out;
}

const char *tri_cli_when(char out[TRI_CLI_NUMBER], int64_t unix_ms) {
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm parts;
    if (!localtime_r(&seconds, &parts) || strftime(out, TRI_CLI_NUMBER, "%Y-%m-%d %H:%M", &parts) == 0)
        snprintf(out, TRI_CLI_NUMBER, "?");
    return out;
}

/* ---- JSON ---- */

json_t *tri_cli_json_new(const char *kind) {
    return json_pack("{s:i, s:s}", "schema", TRI_CLI_SCHEMA, "kind", kind);
}

triage_status tri_cli_json_print(json_t *document) {
    char *text = document ? json_dumps(document, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) : NULL;
    json_decref(document);
    if (!text)
        return tri_fail(TRIAGE_E_MEMORY, "out of memory for the JSON output");
    bool written = fputs(text, stdout) >= 0 && fputc('\n', stdout) != EOF;
    free(text);
    return written ? TRIAGE_OK : tri_fail(TRIAGE_E_IO, "cannot write the output: %s", strerror(errno));
}
