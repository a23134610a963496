/* JSON documents over a socket, one a line. Private to this room. */
#ifndef TRIAGE_MEASURE_WIRE_H
#define TRIAGE_MEASURE_WIRE_H

#include <jansson.h>

#include "base/base.h"

#define TRI_WIRE_LINE_MAX ((size_t)32 << 20)

typedef struct tri_wire {
    int fd;
    char *data; /* received and not yet handed out */
    size_t size, capacity;
    size_t scanned; /* bytes of data known to hold no newline */
} tri_wire;

void tri_wire_free(tri_wire *wire); /* closes fd */

/* Takes the reference to message (NULL: out of memory or text that is not UTF-8). */
triage_status tri_wire_send(tri_wire *wire, json_t *message);

/* The next whole document; *out NULL when there is none yet. A line that is no JSON object, or longer than
 * the limit, is TRIAGE_E_DATA. */
triage_status tri_wire_next(json_t **out, tri_wire *wire);

/* Reads what has come; with wait, until something has. *open false: the other side is gone. */
triage_status tri_wire_fill(bool *open, tri_wire *wire, bool wait);

#endif
