/* What words of a space file may be: everything of it that ends in a configuration, a path, a kernel's text or a
 * compiler's command line. No Lua: a process that answers for a file is held to the same. */
#ifndef TRIAGE_SPACE_WORDS_H
#define TRIAGE_SPACE_WORDS_H

#include "base/base.h"

#define TRI_WORD_SIZE 48 /* of kernels, axes and words, with the NUL: a configuration stays one short line */

/* a-z, 0-9 and _; a name begins with a letter. */
bool tri_is_word(const char *text, size_t size);
bool tri_is_name(const char *text, size_t size);

/* "sm_90a" or "sm_80+": the number, and what follows it. 0: not that. */
int tri_sm_of(const char *target, const char **suffix);
/* "host", "sm_90a" (exactly) or "sm_80+" (that or later). */
bool tri_is_target(const char *text);

/* "templates/" and plain names joined by '/'. */
bool tri_is_template(const char *text);

/* "folder/name.lua": words joined by '/'. */
bool tri_is_part(const char *text);

/* What may replace a placeholder of a template, at most 64 characters:
 *
 *     value  = name | number
 *     name   = [A-Za-z_][A-Za-z0-9_]*
 *     number = -?[0-9]+ | -?[0-9]+[uUlL]+ | -?[0-9]+.[0-9]+([eE][+-]?[0-9]+)?[fF]? | 0x[0-9a-fA-F]+[uUlL]* */
bool tri_is_value(const char *text);
#define TRI_VALUE_RULE "a name or a number of at most 64 characters"

/* Is it one of the compiler options that a space may ask for? For both backends -DNAME and -DNAME=value; the rest are
 * in words.c. */
bool tri_is_option(const char *backend, const char *text);
/* The list, for a message: "-DNAME, -DNAME=value, ...". */
const char *tri_option_rule(const char *backend);

#endif
