#include "measure/wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES 65536

void tri_wire_free(tri_wire *wire) {
    if (wire->fd >= 0)
        close(wire->fd);
    free(wire->data);
    *wire = (tri_wire){.fd = -1};
}

static triage_status send_all(int fd, const char *data, size_t size) {
    while (size > 0) {
        ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return tri_fail(TRIAGE_E_IO, "cannot write to the other process: %s", strerror(errno));
        data += sent;
        size -= (size_t)sent;
    }
    return TRIAGE_OK;
}

triage_status tri_wire_send(tri_wire *wire, json_t *message) {
    char *line = NULL;
    size_t size = 0;
    triage_status status = TRIAGE_OK;
    if (!message || !(line = json_dumps(message, JSON_COMPACT))) {
        status = tri_fail(TRIAGE_E_DATA, "a message for a worker is not valid UTF-8 text, or out of memory");
        goto done;
    }
    size = strlen(line);
    if (size >= TRI_WIRE_LINE_MAX) {
        status = tri_fail(TRIAGE_E_DATA, "a message of %zu bytes for a worker: at most %zu", size,
                          TRI_WIRE_LINE_MAX - 1);
        goto done;
    }
    line[size] = '\n'; /* in place of the NUL */
    status = send_all(wire->fd, line, size + 1);
done:
    free(line);
    json_decref(message);
    return status;
}

static triage_status parse(json_t **out, const char *line, size_t size) {
    json_error_t error;
    *out = json_loadb(line, size, JSON_REJECT_DUPLICATES, &error);
    if (json_is_object(*out))
        return TRIAGE_OK;
    json_decref(*out);
    *out = NULL;
    return tri_fail(TRIAGE_E_DATA, "a message between processes is not a JSON object: %s", error.text);
}

triage_status tri_wire_next(json_t **out, tri_wire *wire) {
    *out = NULL;
    char *end = wire->size > wire->scanned
                    ? memchr(wire->data + wire->scanned, '\n', wire->size - wire->scanned)
                    : NULL;
    wire->scanned = wire->size;
    if (!end)
        return wire->size < TRI_WIRE_LINE_MAX
                   ? TRIAGE_OK
                   : tri_fail(TRIAGE_E_DATA, "a message between processes is longer than %zu bytes",
                              TRI_WIRE_LINE_MAX);
    size_t line = (size_t)(end - wire->data);
    triage_status status = parse(out, wire->data, line);
    wire->size -= line + 1;
    wire->scanned = 0;
    memmove(wire->data, end + 1, wire->size);
    return status;
}

static triage_status make_room(tri_wire *wire) {
    if (wire->capacity - wire->size >= READ_BYTES)
        return TRIAGE_OK;
    size_t capacity = 2 * wire->capacity + READ_BYTES;
    char *data = realloc(wire->data, capacity);
    if (!data)
        return tri_fail(TRIAGE_E_MEMORY, "out of memory for a message of %zu bytes", wire->size);
    wire->data = data;
    wire->capacity = capacity;
    return TRIAGE_OK;
}

triage_status tri_wire_fill(bool *open, tri_wire *wire, bool wait) {
    *open = true;
    triage_status status = make_room(wire);
    if (status != TRIAGE_OK)
        return status;
    for (;;) {
        ssize_t got = recv(wire->fd, wire->data + wire->size, READ_BYTES, wait ? 0 : MSG_DONTWAIT);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return TRIAGE_OK;
        *open = got > 0;
        wire->size += got > 0 ? (size_t)got : 0;
        return TRIAGE_OK;
    }
}
