#include "cli/db/explain.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/common/common.h"
#include "cli/common/devices.h"
#include "cli/common/fleet.h"
#include "evidence/explain.h"
#include "evidence/pretuned.h"
#include "evidence/teach.h"

/* Of a layer's rivals of one standing, and of donors that were not needed. */
enum { SHOWN = 5 };

/* ---- devices ---- */

typedef struct device_search {
    const char *wanted; /* NULL: all */
    tri_cli_devices found;
} device_search;

/* A tri_device_fn. */
static triage_status note_device(void *user, const char *key, const char *name) {
    device_search *search = user;
    if (search->wanted && !strstr(key, search->wanted) && !strstr(name, search->wanted))
        return TRIAGE_OK;
    return tri_cli_devices_add(&search->found, key, name);
}

static triage_status find_devices(tri_cli_devices *out, tri_store *own, const tri_cli_explain_options *o) {
    triage_status status = TRIAGE_OK;
    device_search search = {.wanted = o->device};
    if (own)
        TRI_TRY(tri_store_devices(own, note_device, &search));
    TRI_TRY(tri_pretuned_devices(o->data_dir, note_device, &search));
done:
    *out = search.found;
    return status;
}

static bool is_local(const char *device) {
    return !device || strcmp(device, "auto") == 0 || strcmp(device, "host") == 0 ||
           strcmp(device, "cuda") == 0 || strncmp(device, "cuda:", 5) == 0;
}

static triage_status describe_local(tri_device_info *out, const char *device) {
    tri_device *opened = NULL;
    triage_status status = tri_device_open(&opened, device ? device : "auto", false);
    if (status == TRIAGE_OK)
        *out = *tri_device_describe(opened);
    tri_device_close(opened);
    return status;
}

static triage_status describe_known(tri_device_info *out, const char *key, const char *name) {
    triage_status status = tri_device_parse(out, key);
    if (status == TRIAGE_OK)
        snprintf(out->name, sizeof out->name, "%s", name);
    return status;
}

/* One device of those in the databases; a whole key need not be there. */
static triage_status choose_known(tri_device_info *out, tri_store *own, const tri_cli_explain_options *o) {
    triage_status status = TRIAGE_OK;
    tri_cli_devices list = {0};
    TRI_TRY(find_devices(&list, own, o));
    if (list.count == 0 && tri_device_parse(out, o->device) == TRIAGE_OK)
        status = describe_known(out, o->device, "a device of which nothing is known");
    else if (list.count == 0)
        status =
            tri_fail(TRIAGE_E_DATA,
                     "--device %.200s: no device with that in its name or key is in the database (triage_db "
                     "list), nor is that auto, cuda, cuda:N or host",
                     o->device);
    else if (list.count > 1)
        status = tri_cli_usage("--device %.60s: %zu devices have that in their name or key, e.g. \"%s\" and "
                               "\"%s\": say more of it",
                               o->device, list.count, list.keys[0], list.keys[1]);
    else
        status = describe_known(out, list.keys[0], list.names[0]);
done:
    tri_cli_devices_free(&list);
    return status;
}

/* ---- JSON ---- */

static json_t *losses_json(const tri_losses *losses) {
    json_t *object = json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I}", "problems", (json_int_t)losses->count, "judged",
        (json_int_t)losses->counts[TRI_LOSS_JUDGED], "failed", (json_int_t)losses->counts[TRI_LOSS_FAILED],
        "untimed", (json_int_t)losses->counts[TRI_LOSS_UNTIMED], "no_donor",
        (json_int_t)losses->counts[TRI_LOSS_NO_DONOR], "stale", (json_int_t)losses->counts[TRI_LOSS_STALE]);
    static const char *const names[] = {"mean", "median", "p90", "most"};
    const double values[] = {losses->mean, losses->median, losses->p90, losses->most};
    for (size_t i = 0; object && i < 4; i++)
        json_object_set_new(object, names[i], values[i] < 0 ? json_null() : json_real(values[i]));
    return object;
}

static const char *const kinds[] = {"judged", "failed", "untimed", "no_donor", "stale"};

static json_t *cases_json(const tri_losses *losses) {
    json_t *list = json_array();
    for (size_t i = 0; i < losses->count; i++) {
        const tri_loss *item = &losses->items[i];
        const bool known = item->kind == TRI_LOSS_JUDGED || item->kind == TRI_LOSS_FAILED;
        json_t *object = json_pack("{s:s, s:s, s:s}", "problem", item->problem, "kind", kinds[item->kind],
                                   "donor", item->donor);
        json_object_set_new(object, "distance", item->donor[0] ? json_real(item->distance) : json_null());
        json_object_set_new(object, "loss", known ? json_real(item->loss) : json_null());
        json_array_append_new(list, object);
    }
    return list;
}

/* The operation of an explanation: the names of a distance's parts. */
static const char *const *part_names(const tri_explanation *e) {
    return tri_operation_find(e->problem)->distance_parts;
}

static json_t *parts_json(const char *const *names, const tri_distance *parts, double whole) {
    json_t *object = json_pack("{s:f}", "whole", whole);
    for (int i = 0; i < TRI_DISTANCE_PARTS; i++)
        if (names[i])
            json_object_set_new(object, names[i], json_real(parts->part[i]));
    return object;
}

/* names: of the parts of a donor's distance; NULL: no donors. */
static json_t *rivals_json(const tri_rivals *rivals, const char *const *names) {
    json_t *list = json_array();
    for (size_t i = 0; i < rivals->count; i++) {
        const tri_rival *r = &rivals->items[i];
        json_t *object = json_pack("{s:s, s:s, s:s, s:s, s:f, s:s, s:s}", "standing",
                                   tri_row_role_name(r->role), "layer", r->layer, "config", r->config,
                                   "stage", r->stage, "median_ns", r->median_ns, "id", r->id, "why", r->why);
        if (names) {
            json_object_set_new(object, "problem", json_string(r->problem));
            json_object_set_new(object, "distance", parts_json(names, &r->parts, r->distance));
        }
        json_array_append_new(list, object);
    }
    return list;
}

static const char *const sources[] = {[TRIAGE_SOURCE_EXACT] = "exact",
                                      [TRIAGE_SOURCE_NEAREST] = "nearest",
                                      [TRIAGE_SOURCE_DEFAULT] = "default",
                                      [TRIAGE_SOURCE_PREDICTED] = "predicted"};

/* The donor that is used; NULL unless nearest. */
static const tri_rival *used_donor(const tri_explanation *e) {
    for (size_t i = 0; i < e->donors.count; i++)
        if (e->donors.items[i].role == TRI_ROLE_USED)
            return &e->donors.items[i];
    return NULL;
}

static json_t *prediction_json(const tri_explanation *e) {
    const tri_prediction *p = &e->found.predicted;
    const char *const *names = tri_operation_find(e->problem)->cost_terms;
    if (e->found.source != TRIAGE_SOURCE_PREDICTED)
        return json_null();
    json_t *terms = json_object();
    for (int i = 0; i < TRI_COST_TERMS && names[i]; i++)
        json_object_set_new(terms, names[i], json_real(p->cost.term_ns[i]));
    return json_pack("{s:f, s:f, s:f, s:o}", "expected_ns", p->ns, "spread", p->spread, "guess_ns",
                     p->cost.guess_ns, "terms_ns", terms);
}

static json_t *next_likely_json(const tri_found *found) {
    json_t *list = json_array();
    for (size_t i = 0; i < TRI_RIVALS && found->rivals[i]; i++)
        json_array_append_new(
            list, json_pack("{s:s, s:f}", "config", found->rivals[i], "expected_ns", found->rival_ns[i]));
    return list;
}

static triage_status print_json(const tri_explanation *e, const tri_device_info *info) {
    json_t *document = tri_cli_json_new("explain");
    const tri_rival *donor = used_donor(e);
    json_object_set_new(document, "problem", json_string(e->problem));
    json_object_set_new(document, "device", json_pack("{s:s, s:s}", "key", e->device, "name", info->name));
    json_object_set_new(document, "source", json_string(sources[e->found.source]));
    json_object_set_new(document, "layer", json_string(e->layer));
    json_object_set_new(document, "config", json_string(e->found.candidate.config));
    json_object_set_new(document, "median_ns", json_real(e->found.median_ns));
    json_object_set_new(document, "prediction", prediction_json(e));
    json_object_set_new(document, "rivals", next_likely_json(&e->found));
    json_object_set_new(document, "donor", donor ? json_string(donor->problem) : json_null());
    json_object_set_new(document, "donor_device",
                        e->found.device
                            ? json_pack("{s:s, s:s}", "key", e->found.device, "name", e->found.device_name)
                            : json_null());
    json_object_set_new(document, "distance",
                        donor ? parts_json(part_names(e), &donor->parts, donor->distance) : json_null());
    const bool exact = e->found.source == TRIAGE_SOURCE_EXACT;
    const bool known = donor && !e->found.device && tri_losses_speak(&e->losses);
    json_object_set_new(document, "expected_loss",
                        exact                                        ? json_real(0)
                        : e->found.source == TRIAGE_SOURCE_PREDICTED ? json_real(e->found.expected_loss)
                        : known                                      ? json_real(e->losses.mean)
                                                                     : json_null());
    json_object_set_new(document, "leave_one_out",
                        donor && !e->found.device ? losses_json(&e->losses) : json_null());
    json_object_set_new(document, "candidates", rivals_json(&e->candidates, NULL));
    json_object_set_new(document, "candidates_cut", json_boolean(e->candidates_cut));
    json_object_set_new(document, "donors", rivals_json(&e->donors, part_names(e)));
    json_object_set_new(document, "donors_left_out", json_integer((json_int_t)e->donors_left_out));
    return tri_cli_json_print(document);
}

/* ---- text ---- */

static tri_cli_style style(const tri_rival *r) {
    if (r->role == TRI_ROLE_USED || r->role == TRI_ROLE_TIE)
        return TRI_STYLE_GOOD;
    return r->role >= TRI_ROLE_STALE ? TRI_STYLE_BAD : TRI_STYLE_NONE;
}

/* Is it among the first of its layer and standing? */
static bool is_shown(const tri_rivals *rivals, size_t at) {
    size_t before = 0;
    for (size_t i = 0; i < at; i++)
        before += rivals->items[i].layer == rivals->items[at].layer &&
                  rivals->items[i].role == rivals->items[at].role;
    return before < SHOWN;
}

static triage_status candidate_row(tri_cli_table *table, const tri_rival *r) {
    char time[TRI_CLI_NUMBER];
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_cli_table_row(table, style(r)));
    TRI_TRY(tri_cli_table_cell(table, "%s", tri_row_role_name(r->role)));
    TRI_TRY(tri_cli_table_cell(table, "%s", r->config));
    TRI_TRY(tri_cli_table_cell(table, "%s", tri_cli_time(time, r->median_ns)));
    TRI_TRY(tri_cli_table_cell(table, "%s, %s", r->layer, r->stage));
    TRI_TRY(tri_cli_table_cell(table, "%.8s", r->id));
    TRI_TRY(tri_cli_table_cell(table, "%s", r->why));
done:
    return status;
}

static triage_status donor_row(tri_cli_table *table, const tri_rival *r) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_cli_table_row(table, style(r)));
    TRI_TRY(tri_cli_table_cell(table, "%s", tri_row_role_name(r->role)));
    TRI_TRY(tri_cli_table_cell(table, "%.2f", r->distance));
    const char *const *names = tri_operation_find(r->problem)->distance_parts;
    for (int i = 0; i < TRI_DISTANCE_PARTS; i++)
        if (names[i])
            TRI_TRY(tri_cli_table_cell(table, "%.2f", r->parts.part[i]));
    TRI_TRY(tri_cli_table_cell(table, "%s", r->problem));
    TRI_TRY(tri_cli_table_cell(table, "%s", r->config[0] ? r->config : "-"));
    TRI_TRY(tri_cli_table_cell(table, "%s", r->layer));
    TRI_TRY(tri_cli_table_cell(table, "%s", r->why));
done:
    return status;
}

typedef triage_status (*rival_fn)(tri_cli_table *table, const tri_rival *rival);

static triage_status print_rivals(const tri_rivals *rivals, const char *title, const tri_cli_column *columns,
                                  size_t count, rival_fn fn, const tri_cli_explain_options *o) {
    tri_cli_table *table = NULL;
    size_t hidden = 0;
    triage_status status = TRIAGE_OK;
    if (rivals->count == 0)
        return TRIAGE_OK;
    TRI_TRY(tri_cli_table_new(&table, columns, count));
    for (size_t i = 0; i < rivals->count; i++) {
        if (is_shown(rivals, i))
            TRI_TRY(fn(table, &rivals->items[i]));
        else
            hidden++;
    }
    printf("\n%s\n", title);
    tri_cli_table_print_within(table, stdout, o->color, o->width);
    if (hidden)
        printf("(%zu more of these kinds: --json has all)\n", hidden);
done:
    tri_cli_table_free(table);
    return status;
}

static void print_loss(FILE *out, const tri_losses *l) {
    const size_t judged = l->counts[TRI_LOSS_JUDGED] + l->counts[TRI_LOSS_FAILED];
    if (!tri_losses_speak(l)) {
        fprintf(out,
                "loss      unknown: %zu of %zu tuned problems around it can be judged, and that is too few "
                "(triage_db "
                "explain --loss)\n",
                judged, l->count);
        return;
    }
    fprintf(
        out,
        "loss      %.1f %% expected: the mean over %zu tuned problems around it, each answered from others "
        "about as far away as this donor or farther\n"
        "          (median %.1f %%, 90th percentile %.1f %%; %zu more could not be judged)\n",
        100 * l->mean, judged, 100 * l->median, 100 * l->p90, l->count - judged);
}

static void print_distance(FILE *out, const tri_rival *donor, const char *const *names) {
    const char *before = ": ";
    fprintf(out, "distance  %.2f", donor->distance);
    for (int i = 0; i < TRI_DISTANCE_PARTS; i++) {
        if (!names[i])
            continue;
        fprintf(out, "%s%s %.2f", before, names[i], donor->parts.part[i]);
        before = ", ";
    }
    fprintf(out, " (1: a factor of two)\n");
}

/* What the guess is made of, and what evidence makes of it. */
static void print_prediction(FILE *out, const tri_explanation *e, const tri_operation *op) {
    char time[TRI_CLI_NUMBER], guess[TRI_CLI_NUMBER];
    const tri_prediction *p = &e->found.predicted;
    const char *before = "";
    fprintf(out, "time      %s expected, give or take %.0f %%\n", tri_cli_time(time, p->ns), 100 * p->spread);
    fprintf(out, "guess     %s: ", tri_cli_time(guess, p->cost.guess_ns));
    for (int i = 0; i < TRI_COST_TERMS && op->cost_terms[i]; i++) {
        fprintf(out, "%s%s %s", before, op->cost_terms[i], tri_cli_time(time, p->cost.term_ns[i]));
        before = ", ";
    }
    fprintf(out, "\n          (from the chip's rates; what is shorter may hide under what is longer)\n");
    fprintf(out, "evidence  makes it %.2f times that\n", p->ns / p->cost.guess_ns);
    fprintf(out, "loss      %.1f %% expected\n", 100 * p->expected_loss);
}

static void print_answer(FILE *out, const tri_explanation *e, const tri_device_info *info) {
    char time[TRI_CLI_NUMBER];
    const tri_rival *donor = used_donor(e);
    const char *from = strcmp(e->layer, "own") == 0       ? "own database"
                       : strcmp(e->layer, "shipped") == 0 ? "shipped evidence"
                       : e->found.predicted.is_of_others  ? "what was measured on other architectures"
                       : e->found.source == TRIAGE_SOURCE_PREDICTED ? "what was measured of other problems"
                       : e->found.device                            ? "another device of this architecture"
                                         : "no evidence serves: the space's default";
    fprintf(out, "problem   %s\ndevice    %s (%s)\n", e->problem, info->name, e->device);
    fprintf(out, "answer    %s: %s\n", sources[e->found.source], e->found.candidate.config);
    fprintf(out, "from      %s\n", from);
    if (e->found.device)
        fprintf(out, "there     %s (%s)\n", e->found.device_name, e->found.device);
    if (e->found.source == TRIAGE_SOURCE_EXACT)
        fprintf(out, "time      %s\n", tri_cli_time(time, e->found.median_ns));
    if (e->found.source == TRIAGE_SOURCE_PREDICTED)
        print_prediction(out, e, tri_operation_find(e->problem));
    if (!donor)
        return;
    fprintf(out, "donor     %s, where it took %s\n", donor->problem, tri_cli_time(time, donor->median_ns));
    print_distance(out, donor, part_names(e));
    if (e->found.device)
        fprintf(out, "loss      unknown: nothing that serves was measured on this device\n");
    else
        print_loss(out, &e->losses);
}

static size_t make_donor_columns(tri_cli_column *out, const char *const *names) {
    static const tri_cli_column first[] = {{"standing", false}, {"distance", true}},
                                last[] = {
                                    {"problem", false}, {"config", false}, {"from", false}, {"why", false}};
    size_t count = 0;
    for (size_t i = 0; i < 2; i++)
        out[count++] = first[i];
    for (int i = 0; i < TRI_DISTANCE_PARTS; i++)
        if (names[i])
            out[count++] = (tri_cli_column){names[i], true};
    for (size_t i = 0; i < 4; i++)
        out[count++] = last[i];
    return count;
}

static triage_status print_answer_within(const tri_explanation *e, const tri_device_info *info,
                                         size_t width) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return tri_fail(TRIAGE_E_MEMORY, "out of memory for an answer");
    print_answer(out, e, info);
    fclose(out);
    tri_cli_print_within(stdout, text, 10, width);
    free(text);
    return TRIAGE_OK;
}

static triage_status print_text(const tri_explanation *e, const tri_device_info *info,
                                const tri_cli_explain_options *o) {
    static const tri_cli_column candidate_columns[] = {{"standing", false}, {"config", false},
                                                       {"median", true},    {"from", false},
                                                       {"id", false},       {"why", false}};
    tri_cli_column donor_columns[6 + TRI_DISTANCE_PARTS];
    const size_t donor_count = make_donor_columns(donor_columns, part_names(e));
    triage_status status = TRIAGE_OK;
    TRI_TRY(print_answer_within(e, info, o->width));
    TRI_TRY(
        print_rivals(&e->candidates, "measured for this problem", candidate_columns, 6, candidate_row, o));
    if (e->candidates_cut)
        printf("(and more, which are not listed)\n");
    TRI_TRY(print_rivals(&e->donors, "nearest tuned problems", donor_columns, donor_count, donor_row, o));
    if (e->donors_left_out)
        printf("(%zu farther ones)\n", e->donors_left_out);
done:
    return status;
}

/* ---- one problem ---- */

/* A database that was named must be there; the default one need not. */
static triage_status open_own(tri_store **out, const tri_cli_explain_options *o) {
    char *path = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(o->db ? tri_strdup(&path, o->db) : tri_cli_default_db(&path));
    status = tri_store_open(out, path, TRI_STORE_READ);
    if (status == TRIAGE_E_NOT_FOUND && !o->db)
        status = TRIAGE_OK;
done:
    free(path);
    return status;
}

static triage_status explain_problem(tri_store *own, tri_space *space, const tri_cli_explain_options *o) {
    const tri_log log = {tri_cli_log, NULL};
    tri_device_info info;
    tri_store *shipped = NULL;
    tri_sisters *sisters = NULL;
    tri_predictor *predictor = NULL;
    tri_cli_problem problem = {0};
    tri_explanation explanation = {0};
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_cli_problem_make(&problem, &o->problem));
    TRI_TRY(is_local(o->device) ? describe_local(&info, o->device) : choose_known(&info, own, o));
    if (info.cc == 0)
        tri_cli_problem_for_host(&problem);
    TRI_TRY(tri_pretuned_open(&shipped, &info, o->data_dir, &log));
    const tri_setting setting = {space, &info, o->data_dir};
    TRI_TRY(tri_sisters_open(&sisters, own, &info, o->data_dir, &log));
    TRI_TRY(tri_predictor_open(&predictor, &(tri_teaching){.op = problem.problem.op,
                                                           .info = &info,
                                                           .own = own,
                                                           .shipped = shipped,
                                                           .data_dir = o->data_dir,
                                                           .log = &log}));
    TRI_TRY(tri_explain(&explanation, own, shipped, sisters, predictor, &setting, &problem.problem, SHOWN));
    TRI_TRY(o->json ? print_json(&explanation, &info) : print_text(&explanation, &info, o));
done:
    tri_explanation_free(&explanation);
    tri_cli_problem_free(&problem);
    tri_predictor_free(predictor);
    tri_sisters_close(sisters);
    tri_store_close(shipped);
    return status;
}

/* ---- the loss over all ---- */

typedef struct loss_report {
    tri_cli_table *table;
    json_t *list; /* NULL: the table */
    size_t rows;
    bool flatters; /* one of the rows does */
} loss_report;

static triage_status percent_cell(tri_cli_table *table, double share) {
    return share < 0 ? tri_cli_table_cell(table, "-") : tri_cli_table_cell(table, "%.1f %%", 100 * share);
}

static triage_status loss_row(loss_report *report, const tri_device_info *info, const char *layer,
                              const tri_losses *l) {
    triage_status status = TRIAGE_OK;
    report->rows++;
    report->flatters = report->flatters || (l->counts[TRI_LOSS_UNTIMED] && !tri_losses_speak(l));
    if (report->list) {
        json_t *object = losses_json(l);
        json_object_set_new(object, "device_name", json_string(info->name));
        json_object_set_new(object, "layer", json_string(layer));
        json_object_set_new(object, "flatters",
                            json_boolean(l->counts[TRI_LOSS_UNTIMED] && !tri_losses_speak(l)));
        json_object_set_new(object, "cases", cases_json(l));
        json_array_append_new(report->list, object);
        return TRIAGE_OK;
    }
    TRI_TRY(tri_cli_table_row(report->table, TRI_STYLE_NONE));
    TRI_TRY(tri_cli_table_cell(report->table, "%s", info->name));
    TRI_TRY(tri_cli_table_cell(report->table, "%s", layer));
    TRI_TRY(tri_cli_table_cell(report->table, "%zu", l->count));
    TRI_TRY(tri_cli_table_cell(report->table, "%zu", l->counts[TRI_LOSS_JUDGED]));
    TRI_TRY(percent_cell(report->table, l->mean));
    TRI_TRY(percent_cell(report->table, l->median));
    TRI_TRY(percent_cell(report->table, l->p90));
    TRI_TRY(percent_cell(report->table, l->most));
    for (size_t kind = TRI_LOSS_FAILED; kind <= TRI_LOSS_STALE; kind++)
        TRI_TRY(tri_cli_table_cell(report->table, "%zu", l->counts[kind]));
done:
    return status;
}

static triage_status loss_of_layer(loss_report *report, tri_store *store, const char *layer,
                                   const tri_setting *setting) {
    triage_status status = TRIAGE_OK;
    tri_losses losses = {0};
    if (!store)
        return TRIAGE_OK;
    TRI_TRY(tri_losses_find(&losses, &(tri_loss_question){.store = store, .setting = setting}));
    if (losses.count)
        TRI_TRY(loss_row(report, setting->info, layer, &losses));
done:
    tri_losses_free(&losses);
    return status;
}

static triage_status loss_of_device(loss_report *report, tri_store *own, tri_space *space, const char *key,
                                    const char *name, const tri_cli_explain_options *o) {
    const tri_log log = {tri_cli_log, NULL};
    tri_device_info info;
    tri_store *shipped = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(describe_known(&info, key, name));
    TRI_TRY(tri_pretuned_open(&shipped, &info, o->data_dir, &log));
    const tri_setting setting = {space, &info, o->data_dir};
    TRI_TRY(loss_of_layer(report, own, "own", &setting));
    TRI_TRY(loss_of_layer(report, shipped, "shipped", &setting));
done:
    tri_store_close(shipped);
    return status;
}

static triage_status print_losses(const loss_report *report, const tri_cli_explain_options *o) {
    if (report->list) {
        json_t *document = tri_cli_json_new("explain_loss");
        json_object_set(document, "devices", report->list);
        return tri_cli_json_print(document);
    }
    if (report->rows == 0) {
        printf("no tuned problem\n");
        return TRIAGE_OK;
    }
    tri_cli_table_print_within(report->table, stdout, o->color, o->width);
    tri_cli_print_within(
        stdout,
        "\nEach tuned problem answered from the others as a lookup would: the share of its time that tuning "
        "saved. failed counts as 100 %; not judged: untimed (that configuration was never timed there), no "
        "donor (the default would run), stale (nothing known of it speaks of today's kernels).\n",
        0, o->width ? o->width : 90);
    if (report->flatters)
        tri_cli_print_within(
            stdout,
            "Where more are untimed than judged, the figures flatter: what was never tried is rather "
            "bad.",
            0, o->width);
    return TRIAGE_OK;
}

static triage_status explain_loss(tri_store *own, tri_space *space, const tri_cli_explain_options *o) {
    static const tri_cli_column columns[] = {{"device", false}, {"from", false},     {"tuned", true},
                                             {"judged", true},  {"mean loss", true}, {"median", true},
                                             {"90 %", true},    {"most", true},      {"failed", true},
                                             {"untimed", true}, {"no donor", true},  {"stale", true}};
    tri_cli_devices list = {0};
    loss_report report = {.list = o->json ? json_array() : NULL};
    triage_status status = TRIAGE_OK;
    TRI_TRY(find_devices(&list, own, o));
    if (o->device && list.count == 0)
        TRI_TRY(tri_fail(TRIAGE_E_DATA,
                         "--device %.200s: no device with that in its name or key is in the database",
                         o->device));
    TRI_TRY(tri_cli_table_new(&report.table, columns, sizeof columns / sizeof columns[0]));
    for (size_t i = 0; i < list.count; i++)
        TRI_TRY(loss_of_device(&report, own, space, list.keys[i], list.names[i], o));
    TRI_TRY(print_losses(&report, o));
done:
    tri_cli_table_free(report.table);
    json_decref(report.list);
    tri_cli_devices_free(&list);
    return status;
}

triage_status tri_cli_explain(const tri_cli_explain_options *o) {
    tri_store *own = NULL;
    tri_space *space = NULL;
    triage_status status = TRIAGE_OK;
    if (o->loss && o->problem.given)
        TRI_TRY(tri_cli_usage("--loss is over all tuned problems: leave out --%s", o->problem.given));
    const tri_operation *op = o->problem.op ? tri_operation_find(o->problem.op) : tri_operations()[0];
    if (!op)
        TRI_TRY(tri_cli_usage("--op %.32s is not one of %s", o->problem.op, tri_operation_names()));
    TRI_TRY(tri_space_open(&space, op, &(tri_space_options){.data_dir = o->data_dir, .path = o->space}));
    TRI_TRY(open_own(&own, o));
    TRI_TRY((o->loss ? explain_loss : explain_problem)(own, space, o));
done:
    tri_store_close(own);
    tri_space_free(space);
    return status;
}
