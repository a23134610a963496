/* What the programs share: exit codes, default paths, colour, tables, JSON, interruption. The only code
 * here that prints or reads the environment. */
#ifndef TRIAGE_CLI_COMMON_H
#define TRIAGE_CLI_COMMON_H

#include <jansson.h>

#include "base/base.h"

/* Version of every JSON document that a program prints ("schema"). */
#define TRI_CLI_SCHEMA 1

enum {
    TRI_EXIT_OK = 0,
    TRI_EXIT_USAGE = 64,
    TRI_EXIT_DATA = 65,
    TRI_EXIT_NO_DEVICE = 69,
    TRI_EXIT_NONE_RIGHT = 70,
    TRI_EXIT_IO = 74,
    TRI_EXIT_LEFT = 75, /* what was asked for is not all done: the same again goes on */
    TRI_EXIT_INTERRUPTED = 130
};

int tri_cli_exit_code(triage_status status);

/* First call of main: argp's own usage errors exit with 64; a closed pipe is an error of the write, not a
 * silent death. */
void tri_cli_start(void);

/* What the environment says of tools and folders: temporary files go to $TMPDIR; the C compiler is $CC where that is
 * one word (a path, or a name in $PATH), else the first of cc, gcc and clang in $PATH. A missing stdin, stdout or stderr is
 * /dev/null, and no signal that we count on stays ignored.
 * tri_cli_start does it, too. */
void tri_cli_honour_environment(void);

/* The first program of that name in $PATH, whose relative folders are not looked into. */
bool tri_cli_find_program(char *out, size_t limit, const char *name);

/* Last call of main: `return tri_cli_finish(code);`. Flushes stdout; a write that failed is 74. */
int tri_cli_finish(int code);

/* "PROGRAM: message" on stderr, one line. */
void tri_cli_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The library's last error on stderr (nothing for TRIAGE_OK); returns the exit code of status. */
int tri_cli_report(triage_status status);
/* Sets the message and is TRIAGE_E_INVALID: for usage errors found in a command's body. */
#define tri_cli_usage(...) tri_fail(TRIAGE_E_INVALID, __VA_ARGS__)

/* A triage_log_fn that writes "PROGRAM: line" to stderr; user: NULL, or a const bool that silences info. */
void tri_cli_log(void *user, triage_log_level level, const char *line);

/* SIGINT and SIGTERM set the returned flag (and nothing else) the first time; the second SIGINT kills. */
volatile const int *tri_cli_catch_interrupts(void);

/* ---- default paths; *out owned by the caller. A relative XDG_* is ignored, as its specification says. --- */
triage_status tri_cli_default_db(char **out);  /* $XDG_DATA_HOME/triage/triage.db, else ~/.local/share/... */
triage_status tri_cli_default_key(char **out); /* beside the database: .../triage/signing.key */
triage_status tri_cli_default_cache(char **out); /* $XDG_CACHE_HOME/triage, else ~/.cache/triage */

/* Where those who time on a device wait for each other: $TRIAGE_LOCK_DIR (containers that share a GPU need one in
 * common), else /tmp, which all users of a machine share. */
const char *tri_cli_lock_dir(void);

/* ---- colour ---- */

/* Only on a terminal, not with --no-color, a non-empty NO_COLOR or TERM=dumb. */
bool tri_cli_color(FILE *stream, bool no_color);
typedef enum tri_cli_style {
    TRI_STYLE_NONE = 0,
    TRI_STYLE_BOLD,
    TRI_STYLE_DIM,
    TRI_STYLE_GOOD,
    TRI_STYLE_BAD
} tri_cli_style;

/* ---- tables: every cell a text, columns as wide as they need ---- */

typedef struct tri_cli_column {
    const char *title;
    bool right; /* numbers */
} tri_cli_column;
typedef struct tri_cli_table tri_cli_table;

/* columns is borrowed for the table's life. */
triage_status tri_cli_table_new(tri_cli_table **out, const tri_cli_column *columns, size_t count);
void tri_cli_table_free(tri_cli_table *table);
/* Starts a row; its cells follow, left to right, as many as there are columns (missing ones are empty). */
triage_status tri_cli_table_row(tri_cli_table *table, tri_cli_style style);
triage_status tri_cli_table_cell(tri_cli_table *table, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void tri_cli_table_print(const tri_cli_table *table, FILE *stream, bool color);
/* Within so many columns: a column that is the same in every row is said once above, long texts go on in the next line.
 * 0: as tri_cli_table_print. */
void tri_cli_table_print_within(const tri_cli_table *table, FILE *stream, bool color, size_t width);
/* Lines of text, of which one that is longer than so many columns goes on in the next, this far to the right. 0: as they are. */
void tri_cli_print_within(FILE *stream, const char *text, size_t indent, size_t width);
/* Columns of the terminal on stdout, or of $COLUMNS; 0: neither, or wide. */
size_t tri_cli_width(bool wide);
/* Lines of the terminal on stdout; 0: it is none. */
size_t tri_cli_height(void);

/* ---- numbers for people, three significant digits and a unit ---- */
#define TRI_CLI_NUMBER 24
const char *tri_cli_time(char out[TRI_CLI_NUMBER], double ns);       /* "12.3 us"; "-" for 0 (not timed) */
const char *tri_cli_bytes(char out[TRI_CLI_NUMBER], int64_t bytes);  /* "1.50 MiB" */
const char *tri_cli_when(char out[TRI_CLI_NUMBER], int64_t unix_ms); /* "2026-11-21 12:30", local time */

/* ---- JSON on stdout ---- */

/* An object that begins with "schema" and "kind"; NULL when out of memory. */
json_t *tri_cli_json_new(const char *kind);
/* Prints one document, two-space indented, keys in order of insertion, and a newline. Takes the reference,
 * NULL included (TRIAGE_E_MEMORY). */
triage_status tri_cli_json_print(json_t *document);

#endif
