/* Runs every candidate of an operation's space once on small ragged problems, in one process and one context: what
 * tests/gpu/sanitize.sh puts under compute-sanitizer. Each goes through the house's gate (all cases, on poisoned results;
 * red zones; float64) and is not timed. run_candidates has bsr_gemm, run_candidates_attention attention.
 *
 *   run_candidates [--device cuda|host] [--part I/N] [--once | --cover] [--share FILE] [--time-limit S] [--cache DIR]
 *                  [--log FILE] [--data-dir DIR]
 *   run_candidates --compile-only [--target sm_90a]    fills the cache; no GPU
 *   --once: each configuration on one problem alone, the most ragged that it is legal on. Where several are as
 *   ragged, the configurations of a kernel are dealt over them.
 *   --cover: these, and more until each problem has met each axis value that a kernel may have on it.
 *   --share FILE: processes that name the same FILE (absent at first) take units of the work from it in turn, the
 *   dearest first, so that they end together. FILE holds the number of the next unit.
 *   run_candidates --count [--once] [--part I/N]       how many runs and units that is; no GPU
 *   run_candidates --coverage                          is every configuration of the space on the list? no GPU
 *   run_candidates --plant memcheck|racecheck|synccheck|initcheck|gate
 *                                                      a kernel with that defect: the tool must find it; gate: one that
 *                                                      does nothing, on the first problem
 *
 *   run_candidates --make-plan FILE [--device cuda|host | --target T] [--once] [--part I/N]
 *                                                      the same count, and writes which candidate runs on which
 *                                                      problem (candidate_plan.h says how)
 *   --plan FILE: to run, compile or count what that file says. Making a plan takes seconds, reading one none. Where
 *   the device (its limits and its clock), --once, --cover, --part, tuner/, the list of problems or a kernel's text is not
 *   what the file was made for, it is refused. To compile or count without --target is to do so for the file's device.
 *
 * A line of --log: hash, group, configuration, problem, outcome ("right" or why not), launches, seconds; a run that
 * never came back has no outcome. The last line printed is for scripts. Exit codes: 0 all is right, 1 not, 64 usage,
 * 65 a plan for something else, 75 stopped by the time limit, 77 no device or no NVRTC. */
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "op/bsr_gemm/bsr_gemm.h"
#include "gpu/candidate_plan.h"
#include "measure/bench_private.h"

#define SEEN_MAX JOBS_MAX

typedef struct options {
    const char *device, *target, *cache, *log, *plant, *data_dir, *share, *plan, *make_plan;
    bool compile_only, coverage, once, cover, count;
    unsigned part, parts; /* part is 0 .. parts - 1 */
    double time_limit_s;
} options;

/* Texts met so far, in order of meeting. */
typedef struct seen {
    char *text[SEEN_MAX];
    size_t count;
} seen;

typedef struct tally {
    size_t problems, runs, launches, wrong, left;
    double open_s;                /* of `problems` openings */
    seen sources, plain, configs; /* hashes; of plain kernels; "16x16 panel ..." */
} tally;

typedef struct session {
    const options *o;
    tri_device *device; /* NULL: compile only */
    tri_device_info info;
    tri_space *space;
    int64_t start_ns;
    FILE *log;
    int share;   /* a file, or -1 */
    size_t next; /* unit, where nothing is shared */
    plan plan;
    bool late;    /* no more launches: out of time */
    bool stopped; /* nor is anything else taken: the device is lost */
    tally t;
} session;

/* One problem of the list on its way. */
typedef struct place {
    outline of;
    tri_candidate reference;
    tri_source reference_source;
    tri_bench *bench; /* opened when the first candidate needs it */
} place;

static double seconds_since(int64_t start_ns) {
    return (double)(tri_now_ns() - start_ns) / 1e9;
}

/* ---- texts met so far ---- */

static bool has(const seen *list, const char *text) {
    for (size_t i = list->count; i > 0; i--)
        if (strcmp(list->text[i - 1], text) == 0)
            return true;
    return false;
}

/* True when it was new. */
static bool meet(seen *list, const char *text) {
    if (has(list, text))
        return false;
    if (list->count == SEEN_MAX)
        must(tri_fail(TRIAGE_E_MEMORY, "more than %d candidates", SEEN_MAX));
    must(tri_strdup(&list->text[list->count], text));
    list->count++;
    return true;
}

static void forget(seen *list) {
    for (size_t i = 0; i < list->count; i++)
        free(list->text[i]);
    list->count = 0;
}

/* ---- the problem ---- */

static void open_place(place *out, session *s, size_t number) {
    *out = (place){0};
    outline_make(&out->of, number);
    must(tri_space_reference(&out->reference, s->space, &out->of.problem, &s->info));
    must(tri_render(&out->reference_source, &out->reference, s->o->data_dir));
}

static void close_place(place *p) {
    tri_bench_close(p->bench);
    tri_source_free(&p->reference_source);
    tri_candidate_free(&p->reference);
    outline_free(&p->of);
}

/* ---- one candidate ---- */

static void compile(session *s, const tri_source *source, const char *what) {
    tri_image image = {0};
    triage_status status = tri_compile(&image, s->info.target, source, s->o->cache);
    if (status == TRIAGE_E_NO_DEVICE)
        must(status);
    if (status != TRIAGE_OK) {
        printf("WRONG %s: does not compile: %s\n", what, triage_last_error());
        s->t.wrong++;
    }
    tri_image_free(&image);
}

static void open_bench(session *s, place *p) {
    tri_bench_setup setup = {.problem = &p->of.problem,
                             .pattern = outline_pattern(&p->of),
                             .seed = 7,
                             .warm = true,
                             .cache_dir = s->o->cache,
                             .reference = {&p->reference_source, &p->reference.launch}};
    int64_t start = tri_now_ns();
    triage_status status = tri_bench_open(&p->bench, s->device, &setup);
    s->t.open_s += seconds_since(start);
    s->t.problems++;
    if (status == TRIAGE_OK)
        return;
    printf("WRONG %s: %s\n", p->of.name, triage_last_error());
    s->t.wrong++;
    s->stopped = true;
}

/* In two parts and flushed, so that a candidate that never comes back is the line without an end. */
static void log_begin(const session *s, const place *p, const char *hash, const char *config) {
    if (!s->log)
        return;
    fprintf(s->log, "%s\t%s\t%s\t%s", hash, p->of.group, config, p->of.name);
    fflush(s->log);
}

static void log_end(const session *s, const char *how, size_t launches, double seconds) {
    if (!s->log)
        return;
    fprintf(s->log, "\t%s\t%zu\t%.3f\n", how, launches, seconds);
    fflush(s->log);
}

static void run(session *s, place *p, const tri_candidate *candidate, const tri_source *source,
                const char *hash) {
    tri_mounted mounted;
    tri_report report = {0};
    size_t launches = s->t.launches;
    int64_t start = tri_now_ns();
    log_begin(s, p, hash, candidate->config);
    bool right = tri_bench_mount(&mounted, p->bench,
                                 &(tri_trial){.source = source, .launch = &candidate->launch}, &report);
    bool is_mounted = right;
    for (size_t i = p->bench->case_count; i-- > 0 && right;) {
        s->t.launches++;
        right = tri_bench_run_case(p->bench, &mounted, i, &report);
    }
    if (is_mounted)
        tri_bench_unmount(p->bench, &mounted);
    s->t.runs++;
    log_end(s, right ? "right" : report.reason, s->t.launches - launches, seconds_since(start));
    if (right)
        return;
    printf("WRONG %s: %s: %s: %s\n", p->of.name, candidate->config, tri_outcome_name(report.outcome),
           report.reason);
    fflush(stdout);
    s->t.wrong++;
    if (report.lost) {
        printf("the device is lost: nothing more is launched\n");
        s->stopped = true;
    }
}

/* A plan from a file says what its kernels were: other templates make it another plan. */
static void check_kernel(const session *s, const job *planned, const char *hash) {
    if (!planned->hash[0] || strcmp(planned->hash, hash) == 0)
        return;
    printf("run_candidates: %s is a plan for kernel '%s' of %s, not '%s'\n", s->o->plan, planned->hash,
           planned->name, hash);
    exit(65);
}

static void take(session *s, place *p, const job *planned) {
    tri_candidate candidate = {0};
    tri_source source = {0};
    char hash[TRI_HASH_SIZE];
    if (s->o->time_limit_s > 0 && seconds_since(s->start_ns) > s->o->time_limit_s)
        s->late = true;
    if (!s->late && !s->stopped && !p->bench && !s->o->compile_only)
        open_bench(s, p);
    if (s->late || s->stopped) {
        s->t.left++;
        return;
    }
    must(tri_space_candidate(&candidate, s->space, &p->of.problem, &s->info, planned->config));
    must(tri_render(&source, &candidate, s->o->data_dir));
    tri_source_hash(hash, &source, s->info.target);
    check_kernel(s, planned, hash);
    meet(&s->t.configs, planned->name);
    bool fresh = meet(&s->t.sources, hash);
    if (!s->o->compile_only)
        run(s, p, &candidate, &source, hash);
    else if (fresh)
        compile(s, &source, planned->config);
    tri_source_free(&source);
    tri_candidate_free(&candidate);
}

static void compile_plain(session *s, const place *p) {
    char hash[TRI_HASH_SIZE];
    tri_source_hash(hash, &p->reference_source, s->info.target);
    if (!s->late && meet(&s->t.plain, hash))
        compile(s, &p->reference_source, "the plain kernel");
}

/* ---- taking units ---- */

/* The number in the file, which is one more afterwards. An empty file is 0. */
static size_t take_shared(int file) {
    char text[24] = "";
    size_t next = 0;
    if (flock(file, LOCK_EX) != 0 || pread(file, text, sizeof text - 1, 0) < 0)
        must(tri_fail(TRIAGE_E_IO, "the shared file cannot be read"));
    next = (size_t)strtoull(text, NULL, 10);
    int length = snprintf(text, sizeof text, "%zu\n", next + 1);
    if (pwrite(file, text, (size_t)length, 0) != length || flock(file, LOCK_UN) != 0)
        must(tri_fail(TRIAGE_E_IO, "the shared file cannot be written"));
    return next;
}

static bool next_unit(session *s, size_t *first, size_t *end) {
    size_t unit = s->next++;
    if (s->share >= 0)
        unit = take_shared(s->share);
    if (unit >= s->plan.unit_count)
        return false;
    *first = s->plan.units[unit];
    *end = s->plan.units[unit + 1];
    return true;
}

/* What is taken after the time is up is only counted. */
static void take_units(session *s) {
    place p = {0};
    size_t first, end;
    while (!s->stopped && next_unit(s, &first, &end)) {
        size_t wanted = s->plan.jobs[first].probe;
        size_t runs = s->t.runs, wrong = s->t.wrong;
        if (!p.of.made || p.of.number != wanted) {
            close_place(&p);
            open_place(&p, s, wanted);
        }
        if (s->o->compile_only)
            compile_plain(s, &p);
        for (size_t i = first; i < end; i++)
            take(s, &p, &s->plan.jobs[i]);
        if (s->t.runs > runs)
            printf("%s: %zu candidates run, %zu wrong\n", p.of.name, s->t.runs - runs, s->t.wrong - wrong);
        fflush(stdout);
    }
    close_place(&p);
}

/* ---- the modes ---- */

static int finish(session *s, const char *mode) {
    tally *t = &s->t;
    if (s->device)
        printf("device %s, %s, %d SMs\n", s->info.name, s->info.target, s->info.sm_count);
    printf("%s part=%u/%u problems=%zu candidates=%zu configurations=%zu runs=%zu launches=%zu wrong=%zu "
           "left=%zu open_seconds=%.1f seconds=%.1f\n",
           mode, s->o->part + 1, s->o->parts, t->problems, t->sources.count, t->configs.count, t->runs,
           t->launches, t->wrong, t->left, t->open_s, seconds_since(s->start_ns));
    int code = t->wrong ? 1 : t->left ? 75 : 0;
    forget(&t->sources);
    forget(&t->plain);
    forget(&t->configs);
    return code;
}

static void open_device(session *s) {
    must(tri_device_open(&s->device, s->o->device, false));
    s->info = *tri_device_describe(s->device);
}

/* From the file, or anew. Without a device and a target, the file also says for what. */
static void get_plan(session *s) {
    purpose of = {.info = s->info,
                  .any_device = !s->device && !s->o->target,
                  .once = s->o->once,
                  .cover = s->o->cover,
                  .part = s->o->part,
                  .parts = s->o->parts,
                  .data_dir = s->o->data_dir};
    if (s->o->plan)
        plan_read(&s->plan, &of, s->o->plan);
    else
        plan_make(&s->plan, &of, s->space);
    if (s->o->make_plan)
        plan_write(&s->plan, &of, s->space, s->o->make_plan);
    s->info = of.info;
}

static int run_all(session *s) {
    if (s->o->log && !(s->log = fopen(s->o->log, "w")))
        must(tri_fail(TRIAGE_E_IO, "%s cannot be written", s->o->log));
    if (!s->o->compile_only)
        open_device(s);
    if (s->o->share && (s->share = open(s->o->share, O_RDWR | O_CREAT | O_CLOEXEC, 0600)) < 0)
        must(tri_fail(TRIAGE_E_IO, "%s cannot be opened", s->o->share));
    get_plan(s);
    take_units(s);
    plan_free(&s->plan);
    if (s->share >= 0)
        close(s->share);
    if (s->log)
        fclose(s->log);
    int code = finish(s, s->o->compile_only ? "compiled" : "run");
    tri_device_close(s->device);
    return code;
}

/* What a run would do: nothing is compiled. A plan to keep is that of the device, unless a target is named. */
static int count_plan(session *s) {
    size_t of_probe[PROBES_MAX] = {0}, ragged = 0, launches = 0;
    if (s->o->make_plan && !s->o->target)
        open_device(s);
    get_plan(s);
    for (size_t i = 0; i < s->plan.job_count; i++) {
        const job *j = &s->plan.jobs[i];
        s->t.runs++;
        meet(&s->t.configs, j->name);
        s->t.problems += of_probe[j->probe]++ == 0;
        ragged += j->raggedness > 2;
    }
    for (size_t i = 0; i < probe_count(); i++) {
        outline p;
        outline_make(&p, i);
        printf("%4zu  %s\n", of_probe[i], p.name);
        launches += of_probe[i] * probes_of()->case_count(&p.problem);
        outline_free(&p);
    }
    printf("count part=%u/%u problems=%zu configurations=%zu runs=%zu units=%zu launches=%zu ragged=%zu\n",
           s->o->part + 1, s->o->parts, s->t.problems, s->t.configs.count, s->t.runs, s->plan.unit_count,
           launches, ragged);
    plan_free(&s->plan);
    forget(&s->t.configs);
    tri_device_close(s->device);
    return 0;
}

/* The configurations of a problem: those of the list are met; those of a large one must have been. */
static void note_configs(session *s, const tri_problem *problem, const char *group, bool large) {
    tri_configs configs = {0};
    must(tri_space_enumerate(&configs, s->space, problem, &s->info));
    for (size_t i = 0; i < configs.count; i++) {
        char name[CONFIG_NAME_SIZE];
        name_config(name, group, configs.text[i]);
        s->t.runs += large;
        if (meet(&s->t.configs, name) && large) {
            s->t.wrong++;
            printf("on no problem of the list: %s\n", name);
        }
    }
    tri_configs_free(&configs);
}

static int check_coverage(session *s) {
    char group[40];
    tri_problem large;
    for (size_t i = 0; i < probe_count(); i++) {
        outline p;
        size_t met = s->t.configs.count;
        outline_make(&p, i);
        note_configs(s, &p.problem, p.group, false);
        printf("%4zu new ones: %s\n", s->t.configs.count - met, p.name);
        s->t.problems++;
        outline_free(&p);
    }
    for (size_t i = 0; large_problem(&large, group, i); i++)
        note_configs(s, &large, group, true);
    return finish(s, "coverage");
}

/* ---- planted defects ---- */

#define KERNEL(body)                                                                                         \
    "#include \"bsr_gemm/args.h\"\n"                                                                         \
    "extern \"C\" __global__ void triage_kernel(const __grid_constant__ tri_bsr_gemm_args args) {\n"         \
    "int *c = static_cast<int *>(args.c); const int *b = static_cast<const int *>(args.b);\n"                \
    "const int me = threadIdx.x; (void)b;\n" body "}\n"

static const struct {
    const char *tool, *text;
} plants[] = {
    {"memcheck", KERNEL("c[64 + me] = me;")}, /* C has 64 integers */
    {"racecheck", KERNEL("__shared__ int shared[64]; shared[me] = c[me]; c[me] = shared[63 - me];")},
    {"synccheck", /* thread 16 of a warp is not in its mask; then half a warp waits for the block */
     KERNEL("if (me % 32 <= 16) __syncwarp(0xffff); if (me % 32 < 16) __syncthreads(); c[me] = me;")},
    {"initcheck", KERNEL("c[me] = b[me];")}, /* nobody has written B */
};

/* On a problem of the list, and judged like a candidate. */
static int plant_nothing(session *s) {
    const bool on_host = strcmp(s->o->device, "host") == 0;
    const tri_source source = {.name = "planted.cu",
                               .text = on_host
                                           ? (char *)"void triage_kernel(const void *args) { (void)args; }"
                                           : (char *)"extern \"C\" __global__ void triage_kernel(int) {}"};
    const tri_candidate nothing = {.config = (char *)"planted",
                                   .launch = {.grid = {1, 1, 1}, .block = {64, 1, 1}, .cluster = {1, 1, 1}}};
    place p;
    must(tri_device_open(&s->device, s->o->device, false));
    s->info = *tri_device_describe(s->device);
    open_place(&p, s, 0);
    open_bench(s, &p);
    if (!s->stopped)
        run(s, &p, &nothing, &source, "");
    close_place(&p);
    tri_device_close(s->device);
    return s->t.wrong ? 1 : 0;
}

static int plant(session *s) {
    const tri_launch launch = {.grid = {1, 1, 1}, .block = {64, 1, 1}, .cluster = {1, 1, 1}};
    tri_bsr_gemm_args args = {0};
    tri_address b = 0, c = 0;
    tri_image image = {0};
    tri_kernel *kernel = NULL;
    const char *text = NULL;
    char *header = NULL;
    for (size_t i = 0; i < sizeof plants / sizeof plants[0]; i++)
        text = strcmp(plants[i].tool, s->o->plant) == 0 ? plants[i].text : text;
    if (!text) {
        fprintf(stderr,
                "run_candidates: --plant %s is not one of memcheck, racecheck, synccheck, initcheck, gate\n",
                s->o->plant);
        return 64;
    }
    must(tri_resource_read(&header, NULL, NULL, "templates/bsr_gemm/args.h"));
    tri_source source = {.name = "planted.cu",
                         .text = (char *)text,
                         .includes = &(tri_include){"bsr_gemm/args.h", header},
                         .include_count = 1};
    must(tri_compile(&image, s->info.target, &source, s->o->cache));
    if (s->o->compile_only) {
        puts("planted compiles");
        return 0;
    }
    must(tri_device_open(&s->device, s->o->device, false));
    must(tri_device_alloc(s->device, &b, 256));
    must(tri_device_alloc(s->device, &c, 256));
    must(tri_device_fill(s->device, c, 0, 64, NULL));
    must(tri_device_synchronize(s->device));
    args.b = (const void *)(uintptr_t)b;
    args.c = (void *)(uintptr_t)c;
    must(tri_kernel_load(&kernel, s->device, &image, &launch));
    must(tri_kernel_launch(kernel, &args, NULL));
    (void)tri_device_synchronize(s->device); /* it may fail: that is what it is for */
    puts("planted");
    return 0;
}

/* ---- the command line ---- */

static int usage(const char *what) {
    fprintf(stderr, "run_candidates: %s (its first lines say what is)\n", what);
    return 64;
}

static int parse(options *o, int argc, char **argv) {
    static const struct option names[] = {{"device", 1, 0, 'd'},
                                          {"target", 1, 0, 't'},
                                          {"part", 1, 0, 'p'},
                                          {"time-limit", 1, 0, 'l'},
                                          {"cache", 1, 0, 'c'},
                                          {"compile-only", 0, 0, 'o'},
                                          {"coverage", 0, 0, 'v'},
                                          {"log", 1, 0, 'g'},
                                          {"plant", 1, 0, 'x'},
                                          {"once", 0, 0, '1'},
                                          {"data-dir", 1, 0, 'a'},
                                          {"share", 1, 0, 's'},
                                          {"count", 0, 0, 'n'},
                                          {"plan", 1, 0, 'f'},
                                          {"make-plan", 1, 0, 'm'},
                                          {"cover", 0, 0, 'C'},
                                          {0}};
    char rest = 0;
    for (int key; (key = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (key) {
        case 'd':
            o->device = optarg;
            break;
        case 't':
            o->target = optarg;
            break;
        case 'p':
            if (sscanf(optarg, "%u/%u%c", &o->part, &o->parts, &rest) != 2 || o->part < 1 ||
                o->part > o->parts)
                return usage("--part is I/N, I from 1 to N");
            o->part--;
            break;
        case 'l':
            if (tri_parse_double(&o->time_limit_s, optarg, 1, 86400, "--time-limit") != TRIAGE_OK)
                return usage(triage_last_error());
            break;
        case 'c':
            o->cache = optarg;
            break;
        case 'g':
            o->log = optarg;
            break;
        case 'a':
            o->data_dir = optarg;
            break;
        case 'x':
            o->plant = optarg;
            break;
        case 's':
            o->share = optarg;
            break;
        case 'f':
            o->plan = optarg;
            break;
        case 'm':
            o->make_plan = optarg;
            break;
        case 'n':
            o->count = true;
            break;
        case '1':
            o->once = true;
            break;
        case 'C':
            o->cover = true;
            break;
        case 'o':
            o->compile_only = true;
            break;
        case 'v':
            o->coverage = true;
            break;
        default:
            return 64;
        }
    }
    if ((o->plan != NULL) + (o->make_plan != NULL) + o->coverage + (o->plant != NULL) > 1)
        return usage("--plan, --make-plan, --coverage and --plant: one of them");
    if (o->once && o->cover)
        return usage("--once and --cover: one of them");
    if (o->make_plan && (o->compile_only || o->share || o->log))
        return usage("--make-plan neither compiles nor runs");
    return optind < argc ? usage("an argument that is no option") : 0;
}

int main(int argc, char **argv) {
    static session s; /* large */
    options o = {.device = "cuda", .parts = 1};
    int code = parse(&o, argc, argv);
    if (code)
        return code;
    s.o = &o;
    s.share = -1;
    s.start_ns = tri_now_ns();
    must(tri_device_info_of_target(&s.info, o.target ? o.target : "sm_90a"));
    if (o.plant && strcmp(o.plant, "gate") != 0)
        return plant(&s);
    must(tri_space_open(&s.space, probes_of(), &(tri_space_options){.data_dir = o.data_dir}));
    code = o.plant                  ? plant_nothing(&s)
           : o.coverage             ? check_coverage(&s)
           : o.count || o.make_plan ? count_plan(&s)
                                    : run_all(&s);
    tri_space_free(s.space);
    return code;
}
