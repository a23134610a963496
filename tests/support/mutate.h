/* Breaks a kernel's text in one place, to show that the gate sees it. */
#ifndef TRIAGE_TESTS_SUPPORT_MUTATE_H
#define TRIAGE_TESTS_SUPPORT_MUTATE_H

typedef struct mutation {
    const char *name;
    const char *find; /* every occurrence is replaced; NULL: the text stays as it is */
    const char *replace;
} mutation;

/* A copy of text with the mutation in it (free); NULL when there is nothing to find: then the template has
 * changed and the mutation no longer tests anything. */
char *mutate(const char *text, const mutation *how);

#endif
