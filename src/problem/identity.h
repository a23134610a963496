/* What the files about a problem's identity share. Private to src/problem. */
#ifndef TRIAGE_PROBLEM_IDENTITY_H
#define TRIAGE_PROBLEM_IDENTITY_H

#include "problem/problem.h"

/* tri_problem_check without the leading dimensions and nnzb, which the key does not hold. */
triage_status tri_problem_check_identity(const tri_problem *problem);

int64_t tri_problem_packed_ldb(const tri_problem *problem);
int64_t tri_problem_packed_ldc(const tri_problem *problem);
int64_t tri_problem_blocks(const tri_problem *problem); /* stored or not */

/* Could tri_fingerprint_of have made it? */
bool tri_fingerprint_is_quantised(const tri_fingerprint *fingerprint);

#endif
