#include "base/inflate.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* zlib's z_stream, as its manual has it: the layout is the same in every 1.x. */
typedef struct zlib_stream {
    const unsigned char *next_in;
    unsigned avail_in;
    unsigned long total_in;
    unsigned char *next_out;
    unsigned avail_out;
    unsigned long total_out;
    const char *message;
    void *state;
    void *(*allocate)(void *user, unsigned items, unsigned size);
    void (*release)(void *user, void *address);
    void *user;
    int data_type;
    unsigned long adler, reserved;
} zlib_stream;

enum { kNoFlush = 0, kOk = 0, kEnd = 1, kBufferError = -5 };
enum { kWindow = 15, kAsGzip = 16 };

typedef struct zlib {
    int (*init)(zlib_stream *stream, int window_bits, const char *version, int stream_size);
    int (*inflate)(zlib_stream *stream, int flush);
    int (*end)(zlib_stream *stream);
} zlib;

static triage_status find(zlib *out, const char *what) {
    void *library = dlopen("libz.so.1", RTLD_NOW | RTLD_LOCAL); /* stays open */
    if (library) {
        *(void **)&out->init = dlsym(library, "inflateInit2_");
        *(void **)&out->inflate = dlsym(library, "inflate");
        *(void **)&out->end = dlsym(library, "inflateEnd");
    }
    if (!library || !out->init || !out->inflate || !out->end)
        return tri_fail(TRIAGE_E_UNSUPPORTED, "%s is compressed, and there is no libz.so.1 to read it with",
                        what);
    return TRIAGE_OK;
}

/* Piece by piece, until the stream ends. */
static triage_status run(tri_text *text, const zlib *z, zlib_stream *stream, size_t limit, const char *what) {
    char piece[1 << 16];
    for (int code = kOk; code != kEnd;) {
        stream->next_out = (unsigned char *)piece;
        stream->avail_out = sizeof piece;
        code = z->inflate(stream, kNoFlush);
        const size_t got = sizeof piece - stream->avail_out;
        if (code != kOk && code != kEnd)
            return tri_fail(TRIAGE_E_DATA, "%s: %s", what,
                            code == kBufferError ? "the compressed data end early"
                                                 : "the compressed data are damaged");
        if (got > limit - text->size)
            return tri_fail(TRIAGE_E_DATA, "%s: more than the %zu bytes allowed, uncompressed", what, limit);
        const triage_status status = tri_text_append(text, piece, got);
        if (status != TRIAGE_OK)
            return status;
    }
    return TRIAGE_OK;
}

triage_status tri_inflate(char **out, size_t *out_size, const char *data, size_t size, tri_inflate_kind kind,
                          size_t limit, const char *what) {
    zlib z = {0};
    tri_text text = TRI_TEXT_INIT;
    zlib_stream stream = {.next_in = (const unsigned char *)data, .avail_in = (unsigned)size};
    triage_status status = find(&z, what);
    *out = NULL;
    if (status != TRIAGE_OK)
        return status;
    if (size > UINT_MAX)
        return tri_fail(TRIAGE_E_DATA, "%s: %zu compressed bytes are too many", what, size);
    if (z.init(&stream, kind == TRI_INFLATE_GZIP ? kWindow + kAsGzip : -kWindow, "1.2.11", sizeof stream) !=
        kOk)
        return tri_fail(TRIAGE_E_MEMORY, "%s: zlib does not start", what);
    status = run(&text, &z, &stream, limit, what);
    z.end(&stream);
    if (status == TRIAGE_OK)
        status = tri_text_append(&text, "", 0); /* never NULL */
    if (status != TRIAGE_OK) {
        tri_text_free(&text);
        return status;
    }
    *out = text.data;
    *out_size = text.size;
    return TRIAGE_OK;
}
