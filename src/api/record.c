#include "api/record.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_LIMIT ((size_t)16 << 20) /* what triage_tune --from reads */

static triage_status append_numbers(tri_text *text, const int32_t *numbers, int64_t count) {
    triage_status status = TRIAGE_OK;
    for (int64_t i = 0; i < count && status == TRIAGE_OK; i++)
        status = tri_text_format(text, "%s%d", i ? " " : "", numbers[i]);
    return status == TRIAGE_OK ? tri_text_append(text, "\n", 1) : status;
}

/* As .smtx, beside the record, under a name made of what it holds: a file that is there holds the same. *name: without the
 * folder, the caller's. */
static triage_status write_pattern(char **name, const char *record_path, const tri_pattern *pattern) {
    const char *slash = strrchr(record_path, '/'), *base = slash ? slash + 1 : record_path;
    tri_text text = TRI_TEXT_INIT;
    char hash[TRI_HASH_SIZE], *path = NULL;
    triage_status status;
    TRI_TRY(tri_text_format(&text, "%lld, %lld, %lld\n", (long long)pattern->block_rows,
                            (long long)pattern->block_cols, (long long)pattern->nnzb));
    TRI_TRY(append_numbers(&text, pattern->row_ptr, pattern->block_rows + 1));
    TRI_TRY(append_numbers(&text, pattern->col_idx, pattern->nnzb));
    tri_hash(hash, text.data, text.size);
    TRI_TRY(tri_format(&path, "%s.%.16s.smtx", record_path, hash));
    if (access(path, F_OK) != 0)
        TRI_TRY(tri_file_write_atomic(path, text.data, text.size, 0644));
    TRI_TRY(tri_format(name, "%s.%.16s.smtx", base, hash));
done:
    tri_text_free(&text);
    free(path);
    return status;
}

/* {"pattern":"app.jsonl.0123456789abcdef.smtx","problem":"the key"} */
static triage_status make_line(char **out, const char *key, const char *pattern) {
    json_t *line = json_pack("{s:s, s:s*}", "problem", key, "pattern", pattern);
    char *text = line ? json_dumps(line, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(line);
    triage_status status =
        text ? tri_format(out, "%s\n", text)
             : tri_fail(TRIAGE_E_DATA, "no memory for a line of the record, or its name is not UTF-8");
    free(text);
    return status;
}

/* One write, so that lines of several processes do not mix. A part of a line is taken back: who reads the record would refuse
 * all of it. */
static triage_status append(const char *path, const char *line) {
    const ssize_t size = (ssize_t)strlen(line);
    const int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0644);
    const ssize_t written = fd >= 0 ? write(fd, line, (size_t)size) : -1;
    if (written >= 0 && written < size)
        errno = ftruncate(fd, lseek(fd, 0, SEEK_CUR) - written) == 0 ? ENOSPC : EIO;
    const triage_status status =
        written == size ? TRIAGE_OK : tri_fail(TRIAGE_E_IO, "%s: cannot write: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return status;
}

static triage_status has_line(bool *out, const char *path, const char *line) {
    char *text = NULL;
    *out = false;
    if (access(path, F_OK) != 0)
        return TRIAGE_OK;
    triage_status status = tri_file_read(&text, NULL, path, FILE_LIMIT);
    *out = text && strstr(text, line);
    free(text);
    return status;
}

static triage_status record(const char *path, const tri_problem *problem, const tri_pattern *pattern) {
    char *key = NULL, *name = NULL, *line = NULL;
    bool known = false;
    triage_status status;
    TRI_TRY(tri_problem_key(&key, problem));
    if (pattern && pattern->row_ptr)
        TRI_TRY(write_pattern(&name, path, pattern));
    TRI_TRY(make_line(&line, key, name));
    TRI_TRY(has_line(&known, path, line));
    if (!known)
        TRI_TRY(append(path, line));
done:
    free(key);
    free(name);
    free(line);
    return status;
}

void tri_record(const triage_context *context, const tri_problem *problem, const tri_pattern *pattern) {
    if (context->record_path && record(context->record_path, problem, pattern) != TRIAGE_OK)
        tri_log_line(&context->log, TRIAGE_LOG_WARNING, "%s: not recorded", triage_last_error());
}
