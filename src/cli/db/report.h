/* triage_db report: what is known of devices as one page of HTML, with its pictures in it and no script. */
#ifndef TRIAGE_CLI_DB_REPORT_H
#define TRIAGE_CLI_DB_REPORT_H

#include "cli/db/evidence.h"
#include "device/device.h"

/* ---- what the page is made of ---- */

/* The newest row of a candidate of a problem. */
typedef struct tri_report_row {
    char *config, *reason;
    tri_outcome outcome;
    double median_ns, low_ns, high_ns; /* 0: no time */
    bool raced;
    int64_t at_ms;
} tri_report_row;

typedef struct tri_report_problem {
    char *key;
    double flops, bytes;  /* useful ones; 0: a key that this version does not read */
    double dense_ns;      /* of the dense product that does the same; 0: not known */
    double winner_ns;     /* 0: none */
    char *winner;         /* its configuration */
    bool is_dense;        /* the dense product itself */
    tri_report_row *rows; /* the fastest first, failures last */
    size_t count, capacity;
} tri_report_problem;

typedef struct tri_report_drift {
    char *problem, *config;
    double was_ns, now_ns;
    int64_t at_ms;
} tri_report_drift;

typedef struct tri_device_report {
    tri_device_info info;
    char *key, *name;
    tri_report_problem *problems; /* by key */
    size_t count, capacity;
    tri_report_drift *drifts;
    size_t drift_count, drift_capacity;
    int64_t measurements, failures, first_ms, last_ms;
} tri_device_report;

/* ---- the page (report_page.c, report_tables.c, report_draw.c) ---- */

void tri_report_page(FILE *out, const tri_device_report *reports, size_t count);
void tri_report_text(FILE *out, const char *text); /* with what HTML would read as its own escaped */
/* A table of problems, shapes down and what else tells them apart across, each cell with what value says of it (0: empty)
 * and the darker the larger that is. */
typedef double (*tri_report_value_fn)(const tri_report_problem *problem);
void tri_report_table(FILE *out, const tri_device_report *report, tri_report_value_fn value);
void tri_report_heat(FILE *out, const tri_device_report *report);
void tri_report_axes(FILE *out, const tri_device_report *report);
void tri_report_failures(FILE *out, const tri_device_report *report);
void tri_report_roofline(FILE *out, const tri_device_report *report);
void tri_report_crossover(FILE *out, const tri_device_report *report);
/* Each time of a problem's candidates as a mark, from the fastest on. */
void tri_report_spread(FILE *out, const tri_report_problem *problem);

/* The key without the operation's words and the pattern's: "m=512 n=512 k=512 block=64x64". */
void tri_report_shape(char *out, size_t size, const char *key);
/* Of a key's " NAME=..." the number; -1: it has none. */
double tri_report_field(const char *key, const char *name);

/* ---- the command ---- */

/* html: the file. TRIAGE_E_DATA: nothing is known of such a device; TRIAGE_E_IO. */
triage_status tri_cli_report_page(const tri_cli_stores *stores, const char *html,
                                  const tri_cli_evidence_options *options);

#endif
