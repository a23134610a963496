#include "support/mutate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *mutate(const char *text, const mutation *how) {
    char *out = NULL;
    size_t size = 0;
    if (!how->find)
        return strdup(text);
    FILE *stream = strstr(text, how->find) ? open_memstream(&out, &size) : NULL;
    if (!stream)
        return NULL;
    for (const char *hit; (hit = strstr(text, how->find)); text = hit + strlen(how->find)) {
        fwrite(text, 1, (size_t)(hit - text), stream);
        fputs(how->replace, stream);
    }
    fputs(text, stream);
    fclose(stream);
    return out;
}
