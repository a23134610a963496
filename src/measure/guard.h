/* The compiler of a candidate's text runs behind this. */
#ifndef TRIAGE_MEASURE_GUARD_H
#define TRIAGE_MEASURE_GUARD_H

/* argv: a folder, an absolute path of a program and its arguments, NULL. Becomes that program, which can write nothing
 * but the folder, leave no process behind in another group, and take no more than it may of memory, time and disk. Returns only
 * when it cannot: the exit code. */
int tri_guard_run(char *const *argv);

#endif
