/* Plans made, written and read: see candidate_plan.h. */
#include "support/bsr_of.h"
#include "gpu/candidate_plan.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Candidates that a process takes at once: few enough to end together, enough to be worth opening their problem
 * (inputs, float64 reference, two launches of the plain kernel). */
#define UNIT 12
#define MEMORY " memory="

/* ---- making one ---- */

/* By the hash of a name: all problems of a configuration are of one part. */
static bool is_of_part(const purpose *of, const char *name) {
    char hash[TRI_HASH_SIZE], head[9] = "";
    tri_hash(hash, name, strlen(name));
    memcpy(head, hash, 8);
    return strtoul(head, NULL, 16) % of->parts == of->part;
}

static void offer(plan *out, const purpose *of, const outline *problem, const char *config) {
    char name[CONFIG_NAME_SIZE];
    name_config(name, &problem->problem, config);
    if (!is_of_part(of, name))
        return;
    if (out->job_count == JOBS_MAX)
        must(tri_fail(TRIAGE_E_MEMORY, "more than %d candidates", JOBS_MAX));
    job *next = &out->jobs[out->job_count++];
    *next =
        (job){.probe = (size_t)(problem->probe - probes), .cost = (double)bsr_of(&problem->problem)->nnzb};
    next->cost *= (double)bsr_of(&problem->problem)->n * bsr_of(&problem->problem)->block_m *
                  bsr_of(&problem->problem)->block_k;
    must(tri_strdup(&next->name, name));
    must(tri_strdup(&next->config, config));
}

int raggedness(const probe *from) {
    const int of_pattern[] = {[SPREAD] = 2, [UNEVEN] = 3, [FULL] = 1, [BARE] = 0};
    return 2 * of_pattern[from->pattern] + (from->n % 64 != 0);
}

static int by_name(const void *left, const void *right) {
    const job *a = left, *b = right;
    int order = strcmp(a->name, b->name);
    return order ? order : (a->probe > b->probe) - (a->probe < b->probe);
}

/* The dearest first; problem by problem. */
static int by_cost(const void *left, const void *right) {
    const job *a = left, *b = right;
    if (a->cost != b->cost)
        return a->cost < b->cost ? 1 : -1;
    if (a->probe != b->probe)
        return a->probe > b->probe ? 1 : -1;
    return strcmp(a->name, b->name);
}

/* Up to the kernel: "half 16x16 panel " */
static size_t kernel_length(const char *name) {
    size_t length = 0;
    for (int words = 0; words < 3 && name[length]; length++)
        words += name[length] == ' ';
    return length;
}

/* Of the jobs of one name, the one on the most ragged problem; of equals, the least used by this kernel. */
static size_t choose(const job *jobs, size_t count, const size_t used[PROBES]) {
    size_t best = 0;
    for (size_t i = 1; i < count; i++) {
        int more = raggedness(&probes[jobs[i].probe]) - raggedness(&probes[jobs[best].probe]);
        if (more > 0 || (more == 0 && used[jobs[i].probe] < used[jobs[best].probe]))
            best = i;
    }
    return best;
}

/* Keeps one job of each name. */
static void keep_once(plan *p) {
    size_t used[PROBES] = {0}, kept = 0, end = 0;
    qsort(p->jobs, p->job_count, sizeof *p->jobs, by_name);
    for (size_t i = 0; i < p->job_count; i = end) {
        for (end = i + 1; end < p->job_count && strcmp(p->jobs[end].name, p->jobs[i].name) == 0;)
            end++;
        size_t chosen = i + choose(p->jobs + i, end - i, used);
        size_t length = kernel_length(p->jobs[i].name);
        used[p->jobs[chosen].probe]++;
        if (end < p->job_count && strncmp(p->jobs[end].name, p->jobs[i].name, length) != 0)
            memset(used, 0, sizeof used);
        for (size_t j = i; j < end; j++) {
            if (j == chosen)
                continue;
            free(p->jobs[j].name);
            free(p->jobs[j].config);
        }
        p->jobs[kept++] = p->jobs[chosen];
    }
    p->job_count = kept;
}

static void divide(plan *p) {
    must(tri_calloc(&p->units, p->job_count + 1, sizeof *p->units));
    for (size_t i = 0, first = 0; i < p->job_count; i++) {
        if (i > 0 && i - first < UNIT && p->jobs[i].probe == p->jobs[first].probe)
            continue;
        p->units[p->unit_count++] = first = i;
    }
    p->units[p->unit_count] = p->job_count;
}

void plan_make(plan *out, const purpose *of, tri_space *space) {
    *out = (plan){0};
    must(tri_calloc(&out->jobs, JOBS_MAX, sizeof *out->jobs));
    for (size_t i = 0; i < PROBES; i++) {
        outline problem;
        tri_configs configs = {0};
        outline_make(&problem, &probes[i]);
        must(tri_space_enumerate(&configs, space, &problem.problem, &of->info));
        for (size_t j = 0; j < configs.count; j++)
            offer(out, of, &problem, configs.text[j]);
        tri_configs_free(&configs);
        outline_free(&problem);
    }
    if (of->once)
        keep_once(out);
    qsort(out->jobs, out->job_count, sizeof *out->jobs, by_cost);
    divide(out);
}

void plan_free(plan *p) {
    for (size_t i = 0; i < p->job_count; i++) {
        free(p->jobs[i].name);
        free(p->jobs[i].config);
    }
    free(p->jobs);
    free(p->units);
    *p = (plan){0};
}

/* ---- what it is for, in words ---- */

static void hash_space(char out[TRI_HASH_SIZE], const char *data_dir) {
    tri_text all = TRI_TEXT_INIT;
    const char *name;
    for (size_t i = 0; (name = tri_resource_name(i)); i++) {
        char *text = NULL, hash[TRI_HASH_SIZE];
        size_t size = 0;
        if (strncmp(name, "tuner/", 6) != 0)
            continue;
        must(tri_resource_read(&text, &size, data_dir, name));
        tri_hash(hash, text, size);
        must(tri_text_format(&all, "%s %s\n", name, hash));
        free(text);
    }
    tri_hash(out, all.data, all.size);
    tri_text_free(&all);
}

static void hash_probes(char out[TRI_HASH_SIZE]) {
    tri_text all = TRI_TEXT_INIT;
    for (size_t i = 0; i < PROBES; i++) {
        outline problem;
        outline_make(&problem, &probes[i]);
        must(tri_text_format(&all, "%s %d %d\n", problem.name, (int)problem.pattern.nnzb,
                             (int)probes[i].scale_per_block));
        outline_free(&problem);
    }
    tri_hash(out, all.data, all.size);
    tri_text_free(&all);
}

static void device_line(tri_text *out, const tri_device_info *info) {
    char *key = NULL;
    must(tri_device_key(&key, info));
    must(tri_text_format(out, "device %s" MEMORY "%" PRId64 "\n", key, info->memory_bytes));
    free(key);
}

/* The lines behind the device's. */
static void purpose_lines(tri_text *out, const purpose *of) {
    char space[TRI_HASH_SIZE], list[TRI_HASH_SIZE];
    hash_space(space, of->data_dir);
    hash_probes(list);
    must(tri_text_format(out, "choice once=%d part=%u/%u\nspace %s\nprobes %s\n", (int)of->once, of->part + 1,
                         of->parts, space, list));
}

/* ---- writing one ---- */

static void hash_job(job *of, const purpose *for_, tri_space *space, const tri_problem *problem) {
    tri_candidate candidate = {0};
    tri_source source = {0};
    must(tri_space_candidate(&candidate, space, problem, &for_->info, of->config));
    must(tri_render(&source, &candidate, for_->data_dir));
    tri_source_hash(of->hash, &source, for_->info.target);
    tri_source_free(&source);
    tri_candidate_free(&candidate);
}

void plan_write(plan *p, const purpose *of, tri_space *space, const char *path) {
    tri_text text = TRI_TEXT_INIT;
    outline problem = {0};
    must(tri_text_format(&text, "candidate plan 1\n"));
    device_line(&text, &of->info);
    purpose_lines(&text, of);
    for (size_t i = 0; i < p->job_count; i++) {
        job *next = &p->jobs[i];
        if (problem.probe != &probes[next->probe]) {
            outline_free(&problem);
            outline_make(&problem, &probes[next->probe]);
        }
        hash_job(next, of, space, &problem.problem);
        must(tri_text_format(&text, "%s\t%dx%d\t%s\t%s\t%zu\n", next->hash, bsr_of(&problem.problem)->block_m,
                             bsr_of(&problem.problem)->block_k, next->config, problem.name, next->probe));
    }
    must(tri_text_format(&text, "end\n"));
    must(tri_file_write_atomic(path, text.data, text.size, 0600));
    outline_free(&problem);
    tri_text_free(&text);
}

/* ---- reading one ---- */

static void refuse(const char *path, const char *what, const char *has, const char *wanted) {
    printf("run_candidates: %s is %s '%s', not '%s'\n", path, what, has, wanted);
    exit(65);
}

/* Cuts the next line off *rest; "" behind the last. */
static char *take_line(char **rest) {
    char *line = *rest, *end = strchr(line, '\n');
    *rest = end ? end + 1 : line + strlen(line);
    if (end)
        *end = '\0';
    return line;
}

static void read_device(purpose *of, const char *path, char *line) {
    char *memory = strstr(line, MEMORY);
    if (strncmp(line, "device ", 7) != 0 || !memory)
        refuse(path, "no plan: where 'device' belongs it has", line, "device ...");
    *memory = '\0';
    must(tri_device_parse(&of->info, line + 7));
    must(tri_parse_int64(&of->info.memory_bytes, memory + strlen(MEMORY), 1, INT64_MAX, path));
}

static void read_purpose(purpose *of, const char *path, char **rest) {
    tri_text own = TRI_TEXT_INIT;
    char *line = take_line(rest);
    if (strcmp(line, "candidate plan 1") != 0)
        refuse(path, "no plan: it begins with", line, "candidate plan 1");
    if (of->any_device)
        read_device(of, path, take_line(rest));
    else
        device_line(&own, &of->info);
    purpose_lines(&own, of);
    for (char *mine = own.data; *mine;) {
        char *wanted = take_line(&mine);
        line = take_line(rest);
        if (strcmp(line, wanted) != 0)
            refuse(path, "a plan for", line, wanted);
    }
    tri_text_free(&own);
}

/* "hash <tab> block <tab> configuration <tab> problem <tab> number" */
static void read_job(job *out, outline *problem, const char *path, char *line) {
    char *field[5] = {line}, name[CONFIG_NAME_SIZE];
    int64_t number = 0;
    for (int i = 1; i < 5; i++) {
        field[i] = strchr(field[i - 1], '\t');
        if (!field[i])
            refuse(path, "broken off at", line, "end");
        *field[i]++ = '\0';
    }
    must(tri_parse_int64(&number, field[4], 0, (int64_t)PROBES - 1, path));
    if (problem->probe != &probes[number]) {
        outline_free(problem);
        outline_make(problem, &probes[number]);
    }
    if (strcmp(problem->name, field[3]) != 0)
        refuse(path, "a plan for problem", field[3], problem->name);
    name_config(name, &problem->problem, field[2]);
    *out = (job){.probe = (size_t)number};
    snprintf(out->hash, sizeof out->hash, "%s", field[0]);
    must(tri_strdup(&out->name, name));
    must(tri_strdup(&out->config, field[2]));
}

void plan_read(plan *out, purpose *of, const char *path) {
    char *text = NULL, *rest, *line;
    outline problem = {0};
    *out = (plan){0};
    must(tri_calloc(&out->jobs, JOBS_MAX, sizeof *out->jobs));
    must(tri_file_read(&text, NULL, path, 0));
    rest = text;
    read_purpose(of, path, &rest);
    while (strcmp(line = take_line(&rest), "end") != 0) {
        if (out->job_count == JOBS_MAX)
            must(tri_fail(TRIAGE_E_DATA, "%s: more than %d candidates", path, JOBS_MAX));
        read_job(&out->jobs[out->job_count++], &problem, path, line);
    }
    divide(out);
    outline_free(&problem);
    free(text);
}
