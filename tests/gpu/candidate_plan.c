/* Plans made, written and read: see candidate_plan.h. */
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
    name_config(name, problem->group, config);
    if (!is_of_part(of, name))
        return;
    if (out->job_count == JOBS_MAX)
        must(tri_fail(TRIAGE_E_MEMORY, "more than %d candidates", JOBS_MAX));
    job *next = &out->jobs[out->job_count++];
    *next = (job){.probe = problem->number, .raggedness = problem->raggedness, .cost = problem->cost};
    must(tri_strdup(&next->name, name));
    must(tri_strdup(&next->config, config));
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
static size_t choose(const job *jobs, size_t count, const size_t used[PROBES_MAX]) {
    size_t best = 0;
    for (size_t i = 1; i < count; i++) {
        int more = jobs[i].raggedness - jobs[best].raggedness;
        if (more > 0 || (more == 0 && used[jobs[i].probe] < used[jobs[best].probe]))
            best = i;
    }
    return best;
}

/* Chooses one job of each name. */
static void choose_once(plan *p) {
    size_t used[PROBES_MAX] = {0}, end = 0;
    qsort(p->jobs, p->job_count, sizeof *p->jobs, by_name);
    for (size_t i = 0; i < p->job_count; i = end) {
        for (end = i + 1; end < p->job_count && strcmp(p->jobs[end].name, p->jobs[i].name) == 0;)
            end++;
        job *chosen = &p->jobs[i + choose(p->jobs + i, end - i, used)];
        size_t length = kernel_length(p->jobs[i].name);
        chosen->chosen = true;
        used[chosen->probe]++;
        if (end < p->job_count && strncmp(p->jobs[end].name, p->jobs[i].name, length) != 0)
            memset(used, 0, sizeof used);
    }
}

static void drop_others(plan *p) {
    size_t kept = 0;
    for (size_t i = 0; i < p->job_count; i++) {
        if (p->jobs[i].chosen) {
            p->jobs[kept++] = p->jobs[i];
            continue;
        }
        free(p->jobs[i].name);
        free(p->jobs[i].config);
    }
    p->job_count = kept;
}

/* ---- a cover ---- */

/* Texts by number: their places in a table with open addresses. */
#define WORDS_MAX ((size_t)1 << 16)
typedef struct words {
    char *text[WORDS_MAX];
    bool seen[WORDS_MAX];
    size_t count;
} words;

static size_t number_of(words *all, const char *text) {
    uint32_t at = 2166136261u; /* FNV-1a */
    for (const char *c = text; *c; c++)
        at = (at ^ (unsigned char)*c) * 16777619u;
    for (at %= WORDS_MAX; all->text[at] && strcmp(all->text[at], text) != 0;)
        at = (at + 1) % WORDS_MAX;
    if (all->text[at])
        return at;
    if (++all->count == WORDS_MAX)
        must(tri_fail(TRIAGE_E_MEMORY, "too many axis values and problems"));
    must(tri_strdup(&all->text[at], text));
    return at;
}

/* What a job shows: each of its axis values on its problem. */
#define SHOWN_MAX 24
typedef struct shown {
    size_t word[SHOWN_MAX], count;
} shown;

static void show(shown *out, words *all, const char *text) {
    if (out->count == SHOWN_MAX)
        must(tri_fail(TRIAGE_E_MEMORY, "more than %d axes", SHOWN_MAX));
    out->word[out->count++] = number_of(all, text);
}

static void show_job(shown *out, words *all, const job *of) {
    const int kernel = (int)strcspn(of->config, " ");
    for (const char *value = of->config + kernel; *value; value += strcspn(value, " ")) {
        char text[CONFIG_NAME_SIZE];
        value++;
        snprintf(text, sizeof text, "%.*s %.*s on %zu", kernel, of->config, (int)strcspn(value, " "), value,
                 of->probe);
        show(out, all, text);
    }
}

static void see(words *all, const shown *of) {
    for (size_t i = 0; i < of->count; i++)
        all->seen[of->word[i]] = true;
}

/* The job that shows most of what no chosen one has shown; NULL: nothing is left. */
static job *find_news(const plan *p, const shown *of, const words *all) {
    job *best = NULL;
    size_t most = 0;
    for (size_t i = 0; i < p->job_count; i++) {
        size_t fresh = 0;
        for (size_t j = 0; j < of[i].count; j++)
            fresh += !all->seen[of[i].word[j]];
        if (fresh > most)
            best = &p->jobs[i], most = fresh;
    }
    return best;
}

/* Chooses more jobs until all is shown that there is. */
static void choose_cover(plan *p) {
    words *all = NULL;
    shown *of = NULL;
    must(tri_calloc(&all, 1, sizeof *all));
    must(tri_calloc(&of, p->job_count + 1, sizeof *of));
    for (size_t i = 0; i < p->job_count; i++)
        show_job(&of[i], all, &p->jobs[i]);
    for (size_t i = 0; i < p->job_count; i++)
        if (p->jobs[i].chosen)
            see(all, &of[i]);
    for (job *next; (next = find_news(p, of, all));) {
        next->chosen = true;
        see(all, &of[next - p->jobs]);
    }
    for (size_t i = 0; i < WORDS_MAX; i++)
        free(all->text[i]);
    free(all);
    free(of);
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
    for (size_t i = 0; i < probe_count(); i++) {
        outline problem;
        tri_configs configs = {0};
        outline_make(&problem, i);
        must(tri_space_enumerate(&configs, space, &problem.problem, &of->info));
        for (size_t j = 0; j < configs.count; j++)
            offer(out, of, &problem, configs.text[j]);
        tri_configs_free(&configs);
        outline_free(&problem);
    }
    if (of->once || of->cover)
        choose_once(out);
    if (of->cover)
        choose_cover(out);
    if (of->once || of->cover)
        drop_others(out);
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
    for (size_t i = 0; i < probe_count(); i++) {
        outline problem;
        outline_make(&problem, i);
        char *key = NULL;
        must(tri_problem_key(&key, &problem.problem));
        must(tri_text_format(&all, "%s %s %d\n", problem.name, key, (int)problem.pattern.nnzb));
        free(key);
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
    must(tri_text_format(out, "choice %s=%d part=%u/%u\nspace %s\nprobes %s\n", of->cover ? "cover" : "once",
                         (int)(of->once || of->cover), of->part + 1, of->parts, space, list));
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
        if (!problem.made || problem.number != next->probe) {
            outline_free(&problem);
            outline_make(&problem, next->probe);
        }
        hash_job(next, of, space, &problem.problem);
        must(tri_text_format(&text, "%s\t%s\t%s\t%s\t%zu\n", next->hash, problem.group, next->config,
                             problem.name, next->probe));
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
    must(tri_parse_int64(&number, field[4], 0, (int64_t)probe_count() - 1, path));
    if (!problem->made || problem->number != (size_t)number) {
        outline_free(problem);
        outline_make(problem, (size_t)number);
    }
    if (strcmp(problem->name, field[3]) != 0)
        refuse(path, "a plan for problem", field[3], problem->name);
    name_config(name, problem->group, field[2]);
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
