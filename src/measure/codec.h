/* What goes over the wire, to and from JSON. Private to this room. */
#ifndef TRIAGE_MEASURE_CODEC_H
#define TRIAGE_MEASURE_CODEC_H

#include <jansson.h>

#include "measure/bench.h"

/* Encoders give a new reference, NULL when out of memory or a text is not UTF-8; decoders fail with
 * TRIAGE_E_DATA and borrow the document's strings where they say so. */

/* Text from compilers and drivers, made safe for JSON: bytes outside ASCII become '?'. */
json_t *tri_json_text(const char *text);

/* A path is bytes, a message is UTF-8: %XX stands for what is no ASCII, and for %. NULL: none. */
json_t *tri_json_path(const char *path);
triage_status tri_path_from_json(char **out, const json_t *json);

json_t *tri_json_source(const tri_source *source);
/* out borrows the document; free with tri_borrowed_source_free. */
triage_status tri_source_from_json(tri_source *out, const json_t *json);
void tri_borrowed_source_free(tri_source *source);

json_t *tri_json_launch(const tri_launch *launch);
triage_status tri_launch_from_json(tri_launch *out, const json_t *json);

json_t *tri_json_problem(const tri_problem *problem);
triage_status tri_problem_from_json(tri_problem *out, const json_t *json);

json_t *tri_json_device(const tri_device_info *info);
triage_status tri_device_from_json(tri_device_info *out, const json_t *json);

json_t *tri_json_report(const tri_report *report);
triage_status tri_report_from_json(tri_report *out, const json_t *json);

/* json_unpack with the status idiom. */
triage_status tri_json_read(const json_t *json, const char *format, ...);

/* A pattern in a sealed memory file: *fd for any number of readers. pattern NULL: *fd is -1. */
triage_status tri_pattern_share(int *fd, const tri_pattern *pattern);
triage_status tri_pattern_from_fd(tri_pattern *out, int fd);

#endif
