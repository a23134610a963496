/* Carries shipped rows over a move of text (carry.h); docs/carry.py runs it.
 *
 *   build/bin/carry_rows --before FOLDER --after FOLDER [--cache FOLDER] [--only TEXT] [--check] FILE.jsonl
 *
 * Prints what became of each row whose kernel's name has changed, as JSON. FILE is rewritten, each line that is carried in its
 * place, only if no row was refused; with --check it is not. Exit code 1: a row was refused. */
#include <argp.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "carry.h"

typedef struct options {
    const char *only, *file;
    carry with;
    bool check;
} options;

static const struct argp_option argp_options[] = {
    {"before", 'b', "FOLDER", 0, "templates/ and tuner/ that the rows were measured with", 0},
    {"after", 'a', "FOLDER", 0, "... that are to be shipped", 0},
    {"cache", 'c', "FOLDER", 0, "Of compiled kernels (default: none)", 0},
    {"only", 'o', "TEXT", 0, "Rows whose problem or configuration has TEXT", 0},
    {"check", 'n', NULL, 0, "Write nothing", 0},
    {0}};

static error_t parse_option(int key, char *argument, struct argp_state *state) {
    options *o = state->input;
    switch (key) {
    case 'b':
        o->with.before.folder = argument;
        break;
    case 'a':
        o->with.after.folder = argument;
        break;
    case 'c':
        o->with.cache_dir = argument;
        break;
    case 'o':
        o->only = argument;
        break;
    case 'n':
        o->check = true;
        break;
    case ARGP_KEY_ARG:
        if (o->file)
            argp_error(state, "'%s': one FILE.jsonl is enough", argument);
        o->file = argument;
        break;
    case ARGP_KEY_END:
        if (!o->file || !o->with.before.folder || !o->with.after.folder)
            argp_error(state, "--before FOLDER, --after FOLDER and a FILE.jsonl are needed");
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

typedef struct run {
    options o;
    tri_text written; /* the file as it will be */
    json_t *carried, *refused;
    int current, passed_over;
} run;

static bool is_asked_for(const options *o, const tri_measurement *row) {
    return !o->only || strstr(row->problem, o->only) || strstr(row->config, o->only);
}

static void note(run *of, const carry_result *result, const tri_measurement *row) {
    if (result->verdict == CARRY_CURRENT)
        of->current++;
    else if (result->verdict == CARRY_REFUSED)
        json_array_append_new(of->refused, json_pack("{ss ss ss ss}", "id", row->id, "problem", row->problem,
                                                     "config", row->config, "reason", result->reason));
    else
        json_array_append_new(of->carried,
                              json_pack("{ss ss ss ss ss ss sI}", "config", row->config, "id_was",
                                        result->id_was, "id", row->id, "source_hash_was", result->was,
                                        "source_hash", row->source_hash, "image", result->image,
                                        "image_bytes", (json_int_t)result->image_bytes));
    if (result->verdict == CARRY_REFUSED)
        fprintf(stderr, "refused: %s | %s: %s\n", row->problem, row->config, result->reason);
}

/* line without its end; what is not carried stays as it is, to the byte. */
static triage_status take_line(run *of, const char *line) {
    triage_status status = TRIAGE_OK;
    tri_measurement row = {0};
    carry_result result = {0};
    char *text = NULL;
    TRI_TRY(tri_measurement_from_json(&row, line));
    if (is_asked_for(&of->o, &row)) {
        TRI_TRY(carry_row(&result, &of->o.with, &row));
        note(of, &result, &row);
    } else {
        of->passed_over++;
    }
    if (result.verdict == CARRY_CARRIED)
        TRI_TRY(tri_measurement_to_json(&text, &row));
    TRI_TRY(tri_text_format(&of->written, "%s\n", text ? text : line));
done:
    free(text);
    tri_measurement_clear(&row);
    return status;
}

static triage_status take_file(run *of) {
    triage_status status = TRIAGE_OK;
    char *text = NULL;
    TRI_TRY(tri_file_read(&text, NULL, of->o.file, 0));
    for (char *line = text, *next; *line; line = next) {
        char *end = strchr(line, '\n');
        next = end ? end + 1 : line + strlen(line);
        if (end)
            *end = '\0';
        TRI_TRY(take_line(of, line));
    }
    if (!of->o.check && json_array_size(of->refused) == 0 && json_array_size(of->carried) > 0)
        TRI_TRY(tri_file_write_atomic(of->o.file, of->written.data, of->written.size, 0644));
done:
    free(text);
    return status;
}

static triage_status print(const run *of) {
    char compiler[TRI_COMPILER_SIZE];
    const triage_status status = tri_compiler_version(compiler, sizeof compiler, "sm_90a");
    if (status != TRIAGE_OK)
        return status;
    json_t *all = json_pack(
        "{ss sb si si sO sO}", "compiler", compiler, "written",
        !of->o.check && json_array_size(of->refused) == 0 && json_array_size(of->carried) > 0, "current",
        of->current, "passed_over", of->passed_over, "refused", of->refused, "carried", of->carried);
    json_dumpf(all, stdout, JSON_INDENT(1));
    puts("");
    json_decref(all);
    return TRIAGE_OK;
}

int main(int argc, char **argv) {
    const struct argp parser = {
        argp_options, parse_option,
        "FILE.jsonl", "Carries shipped rows over a move of text that changes no machine code.",
        NULL,         NULL,
        NULL};
    run of = {.carried = json_array(), .refused = json_array()};
    argp_parse(&parser, argc, argv, 0, NULL, &of.o);
    triage_status status = take_file(&of);
    if (status == TRIAGE_OK)
        status = print(&of);
    if (status != TRIAGE_OK)
        fprintf(stderr, "carry_rows: %s\n", triage_last_error());
    const bool refused = json_array_size(of.refused) > 0;
    carry_end(&of.o.with);
    tri_text_free(&of.written);
    json_decref(of.carried);
    json_decref(of.refused);
    return status != TRIAGE_OK ? 70 : refused ? 1 : 0;
}
