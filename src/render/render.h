/* Candidate + template -> source text. Pure: the same input gives the same text on every machine. */
#ifndef TRIAGE_RENDER_RENDER_H
#define TRIAGE_RENDER_RENDER_H

#include "space/space.h"

/* Replaces {{name}}, keeps or leaves out what is between {{#name}} or {{^name}} and {{/name}} (a kernel with that parameter, other
 * than 0, or without), and gathers the headers reached by #include "..." (below templates/, nothing else).
 * TRIAGE_E_DATA names file and line of a placeholder without a parameter, a parameter without a placeholder,
 * a missing header, or unbalanced braces. out is freed with tri_source_free. */
triage_status tri_render(tri_source *out, const tri_candidate *candidate, const char *data_dir);

/* The kernel's name in all evidence: a hash of what the compiler sees, that is the tokens of the text and of every
 * header that it reaches, options and target. Comments and white space do not count; where a macro makes a
 * string of tokens (#x), whether there is white space between two does, and where a source can name its lines (__LINE__)
 * its whole text does. "" where memory is short. */
void tri_source_hash(char out[TRI_HASH_SIZE], const tri_source *source, const char *target);

/* Everything in one text of #line-marked sections, those headers first that are included at the top, for --emit: what it
 * prints compiles by itself with nvcc or cc. */
triage_status tri_source_flatten(char **out, const tri_source *source);

#endif
