/* The anonymous name of this machine. */
#include "base/base.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void tri_machine_hash(char out[TRI_HASH_SIZE]) {
    char *id = NULL, host[256] = "";
    size_t size = 0;
    if (tri_file_read(&id, &size, "/etc/machine-id", 4096) != TRIAGE_OK || size == 0) {
        free(id);
        id = NULL;
        gethostname(host, sizeof host - 1);
    }
    const char *text = id ? id : host;
    tri_piece pieces[] = {{"triage machine", 14}, {text, strlen(text)}};
    tri_hash_pieces(out, pieces, 2);
    free(id);
}
