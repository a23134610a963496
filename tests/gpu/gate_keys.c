/* Problems through the gate: see gate_keys.h. */
#include "gpu/gate_keys.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "measure/bench_private.h"
#include "render/render.h"

struct gate_tally gate_counts;

void gate_must(triage_status status) {
    if (status == TRIAGE_OK)
        return;
    fprintf(stderr, "%s\n", triage_last_error());
    exit(1);
}

bool gate_read_options(gate_options *o, int argc, char **argv) {
    static const struct option known[] = {
        {"device", 1, 0, 'd'}, {"all", 0, 0, 'a'},   {"kernel", 1, 0, 'k'},  {"part", 1, 0, 'p'},
        {"keys", 1, 0, 't'},   {"cache", 1, 0, 'c'}, {"verbose", 0, 0, 'v'}, {"compile", 1, 0, 'x'},
        {"small", 0, 0, 's'},  {"cover", 0, 0, 'o'}, {"log", 1, 0, 'l'},     {0}};
    unsigned part = 1, parts = 1;
    *o = (gate_options){.device = "cuda"};
    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) >= 0;) {
        if (c == '?' ||
            (c == 'p' && (sscanf(optarg, "%u/%u", &part, &parts) != 2 || part < 1 || part > parts)))
            return false;
        o->device = c == 'd' ? optarg : o->device;
        o->kernel = c == 'k' ? optarg : o->kernel;
        o->text = c == 't' ? optarg : o->text;
        o->cache = c == 'c' ? optarg : o->cache;
        o->compile = c == 'x' ? optarg : o->compile;
        o->log = c == 'l' ? optarg : o->log;
        o->all |= c == 'a';
        o->small |= c == 's';
        o->cover |= c == 'o';
        o->verbose |= c == 'v';
    }
    o->part = part - 1;
    o->parts = parts;
    return optind == argc;
}

int gate_open(gate_stand *s, const gate_options *o) {
    if (o->compile) {
        gate_must(tri_device_info_of_target(&s->info, o->compile));
        return 0;
    }
    if (tri_device_open(&s->device, o->device, false) != TRIAGE_OK) {
        printf("skipped: %s\n", triage_last_error());
        return 77;
    }
    s->info = *tri_device_describe(s->device);
    return 0;
}

void gate_close(gate_stand *s) {
    tri_space_free(s->space);
    tri_device_close(s->device);
}

int gate_end(const char *program) {
    printf("%s: problems=%zu right=%zu wrong=%zu without=%zu\n", program, gate_counts.problems,
           gate_counts.right, gate_counts.wrong, gate_counts.without);
    return gate_counts.wrong ? 1 : 0;
}

/* ---- one problem ---- */

const tri_pattern *gate_pattern(const gate_stand *s) {
    return s->pattern.row_ptr ? &s->pattern : NULL;
}

void gate_problem(gate_stand *s, const char *key) {
    gate_must(tri_problem_parse(&s->problem, key));
    s->pattern = (tri_pattern){0};
    if (tri_problem_has_pattern(&s->problem))
        gate_must(s->pattern_of(&s->pattern, &s->problem));
}

void gate_wrong(const char *key, const char *config, const char *reason) {
    printf("WRONG %s | %s | %s\n", key, config, reason);
    fflush(stdout);
    gate_counts.wrong++;
}

/* "kernel axis=value" that have been run. */
static struct {
    char **at;
    size_t count;
} covered;

/* Is this value new? Then it is known from now on. */
static bool cover(const char *kernel, size_t name, const char *axis, size_t size) {
    char *text = malloc(name + size + 2);
    snprintf(text, name + size + 2, "%.*s %.*s", (int)name, kernel, (int)size, axis);
    for (size_t i = 0; i < covered.count; i++)
        if (strcmp(covered.at[i], text) == 0) {
            free(text);
            return false;
        }
    covered.at = realloc(covered.at, (covered.count + 1) * sizeof *covered.at);
    covered.at[covered.count++] = text;
    return true;
}

static bool covers_more(const char *config) {
    const size_t name = strcspn(config, " ");
    bool more = false;
    for (const char *axis = config + name; *axis; axis += strcspn(axis, " ")) {
        axis += strspn(axis, " ");
        more |= cover(config, name, axis, strcspn(axis, " "));
    }
    return more;
}

bool gate_wants(const gate_options *o, const tri_configs *configs, size_t i) {
    const char *text = configs->text[i];
    size_t name = strcspn(text, " ");
    if (o->kernel && (strlen(o->kernel) != name || strncmp(o->kernel, text, name) != 0))
        return false;
    if (o->cover && covers_more(text))
        return true;
    for (size_t j = 0; j < i && !o->all; j++)
        if (strncmp(configs->text[j], text, name + 1) == 0)
            return false;
    return true;
}

/* ---- a log that goes on where it ended ---- */

static bool is_logged(const gate_options *o, const char *key, const char *config) {
    char line[2000], wanted[1000];
    bool found = false;
    FILE *file = o->log ? fopen(o->log, "r") : NULL;
    if (!file)
        return false;
    snprintf(wanted, sizeof wanted, "{\"problem\":\"%s\",\"config\":\"%s\",", key, config);
    while (!found && fgets(line, sizeof line, file))
        found = strncmp(line, wanted, strlen(wanted)) == 0;
    fclose(file);
    return found;
}

/* reason: of a wrong result. One write, so that several processes may share a log. */
static void log_result(const gate_options *o, const char *key, const char *config, bool right,
                       const char *reason) {
    FILE *file = o->log ? fopen(o->log, "a") : NULL;
    if (!file)
        return;
    fprintf(file, "{\"problem\":\"%s\",\"config\":\"%s\",\"outcome\":\"%s\",\"reason\":\"%s\"}\n", key,
            config, right ? "right" : "wrong", right ? "" : reason);
    fclose(file);
}

static void verify(gate_stand *s, tri_bench *bench, const char *key, const char *config,
                   const gate_options *o) {
    tri_candidate candidate = {0};
    tri_source source = {0};
    tri_report report = {0};
    tri_mounted mounted;
    gate_must(tri_space_candidate(&candidate, s->space, &s->problem, &s->info, config));
    gate_must(tri_render(&source, &candidate, NULL));
    bool right = tri_bench_mount(&mounted, bench,
                                 &(tri_trial){.source = &source, .launch = &candidate.launch}, &report);
    if (right) {
        for (size_t i = 0; i < s->problem.op->case_count(&s->problem) && right; i++)
            right = tri_bench_run_case(bench, &mounted, i, &report);
        tri_bench_unmount(bench, &mounted);
    }
    if (!right)
        gate_wrong(key, config, report.reason);
    log_result(o, key, config, right, report.reason);
    gate_counts.right += right;
    if (o->verbose && right)
        printf("right %s | %s | error %.2g of %.2g\n", key, config, report.row_error, report.row_error_limit);
    tri_source_free(&source);
    tri_candidate_free(&candidate);
}

static void open_bench(tri_bench **out, gate_stand *s, const gate_options *o) {
    tri_candidate reference = {0};
    tri_source source = {0};
    gate_must(tri_space_reference(&reference, s->space, &s->problem, &s->info));
    gate_must(tri_render(&source, &reference, NULL));
    const tri_bench_setup setup = {.problem = &s->problem,
                                   .pattern = gate_pattern(s),
                                   .seed = 11,
                                   .warm = true,
                                   .cache_dir = o->cache,
                                   .reference = {&source, &reference.launch}};
    gate_must(tri_bench_open(out, s->device, &setup));
    tri_source_free(&source);
    tri_candidate_free(&reference);
}

/* The bench is opened for the first candidate that has to be run. */
static void judge(gate_stand *s, const gate_options *o, const tri_configs *configs, const char *key) {
    tri_bench *bench = NULL;
    for (size_t i = 0; i < configs->count; i++) {
        if (!gate_wants(o, configs, i) || is_logged(o, key, configs->text[i]))
            continue;
        if (!bench)
            open_bench(&bench, s, o);
        verify(s, bench, key, configs->text[i], o);
    }
    tri_bench_close(bench);
}

static void compile(const gate_stand *s, const gate_options *o, const char *config) {
    tri_candidate candidate = {0};
    tri_source source = {0};
    tri_image image = {0};
    gate_must(tri_space_candidate(&candidate, s->space, &s->problem, &s->info, config));
    gate_must(tri_render(&source, &candidate, NULL));
    gate_must(tri_compile(&image, s->info.target, &source, o->cache));
    gate_counts.right++;
    tri_image_free(&image);
    tri_source_free(&source);
    tri_candidate_free(&candidate);
}

static void take_key(gate_stand *s, const gate_options *o, const char *key) {
    tri_configs configs = {0};
    gate_problem(s, key);
    if (tri_space_enumerate(&configs, s->space, &s->problem, &s->info) != TRIAGE_OK) {
        printf("no candidate for %s: %s\n", key, triage_last_error());
        gate_counts.without++;
    } else if (o->compile) {
        for (size_t i = 0; i < configs.count; i++)
            if (gate_wants(o, &configs, i))
                compile(s, o, configs.text[i]);
        gate_counts.problems++;
    } else {
        judge(s, o, &configs, key);
        gate_counts.problems++;
    }
    tri_configs_free(&configs);
    tri_pattern_free(&s->pattern);
}

void gate_keys(gate_stand *s, const gate_options *o, const tri_operation *op, const char *const *keys,
               size_t count) {
    tri_space_free(s->space);
    s->space = NULL;
    gate_must(tri_space_open(&s->space, op, &(tri_space_options){0}));
    for (size_t i = 0; i < count; i++)
        if (i % o->parts == o->part && (!o->text || strstr(keys[i], o->text)))
            take_key(s, o, keys[i]);
}
