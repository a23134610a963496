#include "evidence/teach.h"

#include <stdlib.h>
#include <string.h>

#define PREFIX "db/pretuned/"
#define SUFFIX ".times"
#define FIRST_LINE "triage times 1"

/* Who speaks. */
typedef enum whose { OF_THIS, OF_SISTERS, OF_OTHERS } whose;

typedef struct teacher {
    const tri_teaching *of;
    tri_predictor *predictor;
    const char *here; /* key of the device */
    whose speaking;
    int64_t read;
} teacher;

/* Do times of that device count now? Fills in what it has. */
static bool speaks(tri_device_info *info, const teacher *t, const char *device) {
    if ((strcmp(device, t->here) == 0) != (t->speaking == OF_THIS) ||
        tri_device_parse(info, device) != TRIAGE_OK)
        return false;
    const bool same = strcmp(info->target, t->of->info->target) == 0;
    return t->speaking == OF_OTHERS ? !same && info->cc > 0 && t->of->info->cc > 0 : same;
}

/* ---- a database ---- */

static triage_status is_trusted(bool *yes, const tri_store *store, const char *id) {
    tri_tier tier;
    char name[128];
    const triage_status status = tri_store_origin(&tier, name, (tri_store *)store, id);
    *yes = status == TRIAGE_OK && tier != TRI_TIER_UNKNOWN;
    return status;
}

typedef struct pupil_rows {
    teacher *teacher;
    tri_store *store;
} pupil_rows;

/* A tri_row_fn. */
static triage_status teach_row(void *user, const tri_measurement *row) {
    const pupil_rows *rows = user;
    teacher *t = rows->teacher;
    tri_device_info info;
    bool trusted = false;
    triage_status status = TRIAGE_OK;
    if (++t->read > TRI_TAUGHT_ROWS || tri_predictor_is_full(t->predictor))
        return TRIAGE_E_INTERRUPTED;
    if ((row->outcome != TRI_RIGHT && row->outcome != TRI_SLOW) || !row->cold_l2 ||
        tri_operation_find(row->problem) != t->of->op || !speaks(&info, t, row->device))
        return TRIAGE_OK;
    TRI_TRY(is_trusted(&trusted, rows->store, row->id));
    if (trusted)
        TRI_TRY(tri_predictor_add(t->predictor, row->problem, row->config, row->median_ns, &info));
done:
    return status;
}

static triage_status teach_store(teacher *t, tri_store *store) {
    t->read = 0;
    if (!store)
        return TRIAGE_OK;
    const triage_status status = tri_store_each(store, teach_row, &(pupil_rows){t, store});
    return status == TRIAGE_E_INTERRUPTED ? TRIAGE_OK : status;
}

/* ---- a file of times: docs/times.py writes it ---- */

typedef struct times_file {
    const char *name;
    int line;
    char **configs; /* into the text */
    size_t count, capacity;
    const char *problem; /* of the lines to come; NULL: none yet */
    bool wanted;         /* the device speaks */
    tri_device_info info;
} times_file;

static triage_status refuse(const times_file *file, const char *what) {
    return tri_fail(TRIAGE_E_DATA, "%s: line %d: %s", file->name, file->line, what);
}

static triage_status read_config(times_file *file, char *text) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_grow(&file->configs, &file->capacity, file->count, sizeof *file->configs, "configurations"));
    file->configs[file->count++] = text;
done:
    return status;
}

/* "CONFIG NANOSECONDS" */
static triage_status read_time(teacher *t, times_file *file, const char *line) {
    char *end = NULL;
    const unsigned long long config = strtoull(line, &end, 10);
    if (end == line || *end != ' ' || config >= file->count)
        return refuse(file, "not the number of a configuration above");
    const double ns = strtod(end + 1, &end);
    if (*end != '\0' || !(ns > 0))
        return refuse(file, "not a time");
    if (!file->problem)
        return refuse(file, "a time before any problem");
    return file->wanted
               ? tri_predictor_add(t->predictor, file->problem, file->configs[config], ns, &file->info)
               : TRIAGE_OK;
}

static triage_status read_line(teacher *t, times_file *file, char *line) {
    if (strncmp(line, "config ", 7) == 0)
        return read_config(file, line + 7);
    if (strncmp(line, "device ", 7) == 0) {
        file->wanted = speaks(&file->info, t, line + 7);
        return TRIAGE_OK;
    }
    if (strncmp(line, "problem ", 8) == 0) {
        file->problem = line + 8;
        return TRIAGE_OK;
    }
    return read_time(t, file, line);
}

static triage_status read_times(teacher *t, times_file *file, char *text) {
    char *rest = NULL, *line = strtok_r(text, "\n", &rest);
    triage_status status = TRIAGE_OK;
    file->line = 1;
    if (!line || strcmp(line, FIRST_LINE) != 0)
        return refuse(file, "not \"" FIRST_LINE "\"");
    while ((line = strtok_r(NULL, "\n", &rest))) {
        file->line++;
        TRI_TRY(read_line(t, file, line));
    }
done:
    return status;
}

static triage_status teach_file(teacher *t, const char *name) {
    char *text = NULL;
    times_file file = {.name = name};
    triage_status status = tri_resource_read(&text, NULL, t->of->data_dir, name);
    if (status == TRIAGE_E_NOT_FOUND)
        status = tri_resource_read(&text, NULL, NULL, name);
    if (status == TRIAGE_OK)
        status = read_times(t, &file, text);
    if (status == TRIAGE_E_DATA) {
        if (t->of->log)
            tri_log_line(t->of->log, TRIAGE_LOG_WARNING, "%s: its rest is left out", triage_last_error());
        status = TRIAGE_OK;
    }
    free(file.configs);
    free(text);
    return status;
}

static bool is_times(const char *name) {
    const size_t size = strlen(name);
    return strncmp(name, PREFIX, strlen(PREFIX)) == 0 && size > strlen(SUFFIX) &&
           strcmp(name + size - strlen(SUFFIX), SUFFIX) == 0;
}

static triage_status teach_files(teacher *t) {
    triage_status status = TRIAGE_OK;
    for (size_t i = 0; tri_resource_name(i); i++)
        if (is_times(tri_resource_name(i)))
            TRI_TRY(teach_file(t, tri_resource_name(i)));
done:
    return status;
}

/* ---- all ---- */

/* One's own first: of the same problem and configuration the first stays. */
static triage_status teach_all(teacher *t) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(teach_store(t, t->of->own));
    TRI_TRY(teach_files(t));
    TRI_TRY(teach_store(t, t->of->shipped));
done:
    return status;
}

triage_status tri_predictor_gather(tri_predictor **out, const tri_teaching *teaching) {
    triage_status status = TRIAGE_OK;
    char *here = NULL;
    teacher t = {.of = teaching};
    *out = NULL;
    if (!teaching->op->cost || teaching->info->cc == 0) /* of a CPU nothing is said */
        return TRIAGE_OK;
    TRI_TRY(tri_device_key(&here, teaching->info));
    t.here = here;
    TRI_TRY(tri_predictor_new(&t.predictor, teaching->op));
    for (t.speaking = OF_THIS; t.speaking <= OF_OTHERS && !tri_predictor_speaks(t.predictor); t.speaking++)
        TRI_TRY(teach_all(&t));
    if (!tri_predictor_speaks(t.predictor))
        goto done;
    if (t.speaking > OF_OTHERS)
        tri_predictor_is_of_others(t.predictor);
    *out = t.predictor;
    t.predictor = NULL;
done:
    tri_predictor_free(t.predictor);
    free(here);
    return status;
}

/* One file for each device and operation. */
static triage_status path_of(char **out, const tri_teaching *teaching) {
    triage_status status = TRIAGE_OK;
    char *here = NULL, *name = NULL, hash[TRI_HASH_SIZE];
    TRI_TRY(tri_device_key(&here, teaching->info));
    tri_hash_pieces(hash,
                    (tri_piece[]){{teaching->op->name, strlen(teaching->op->name)}, {here, strlen(here)}}, 2);
    TRI_TRY(tri_format(&name, "fits/%s.fit", hash));
    TRI_TRY(tri_path_join(out, teaching->cache_dir, name));
done:
    free(name);
    free(here);
    return status;
}

triage_status tri_predictor_learn(tri_predictor *predictor, const tri_teaching *teaching) {
    triage_status status = TRIAGE_OK;
    char *path = NULL;
    if (!predictor)
        return TRIAGE_OK;
    if (teaching->cache_dir)
        TRI_TRY(path_of(&path, teaching));
    status = tri_predictor_fit(predictor, path);
done:
    free(path);
    return status;
}

triage_status tri_predictor_open(tri_predictor **out, const tri_teaching *teaching) {
    tri_predictor *made = NULL;
    triage_status status = tri_predictor_gather(&made, teaching);
    if (status == TRIAGE_OK)
        status = tri_predictor_learn(made, teaching);
    if (status == TRIAGE_OK)
        *out = made;
    else
        tri_predictor_free(made);
    return status;
}
