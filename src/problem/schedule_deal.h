/* Dealing out the units of a launch to its workers. Private to the schedule. */
#ifndef TRIAGE_PROBLEM_SCHEDULE_DEAL_H
#define TRIAGE_PROBLEM_SCHEDULE_DEAL_H

#include "problem/problem.h"

/* Fills deal and deal_count from finished rows and panels. The same input gives the same deal. */
triage_status tri_deal_units(tri_schedule *schedule, const tri_pattern *pattern,
                             const tri_panel_shape *shape);

#endif
