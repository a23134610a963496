/* scipy.sparse.save_npz: a zip file of numpy arrays. */
#ifndef TRIAGE_PATTERN_NPZ_H
#define TRIAGE_PATTERN_NPZ_H

#include "pattern/pattern.h"

/* The file's bytes. Of CSR each stored element is one block of the pattern, of BSR each block. TRIAGE_E_DATA. */
triage_status tri_npz_read(tri_pattern *out, const char *path, const char *data, size_t size);

#endif
