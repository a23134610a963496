#include "cli/common/progress.h"

#include <string.h>
#include <unistd.h>

#define WIDTH 24
#define REDRAW_NS 100000000

void tri_cli_progress_start(tri_cli_progress *progress, bool quiet) {
    *progress = (tri_cli_progress){.shown = !quiet && isatty(STDERR_FILENO), .start_ns = tri_now_ns()};
}

void tri_cli_progress_draw(tri_cli_progress *progress, size_t done, size_t total, const char *note) {
    char bar[WIDTH + 1], left[32] = "";
    int64_t now = tri_now_ns();
    if (!progress->shown || total == 0 || (done < total && now - progress->drawn_ns < REDRAW_NS))
        return;
    progress->drawn_ns = now;
    size_t filled = done >= total ? WIDTH : WIDTH * done / total;
    memset(bar, '#', filled);
    memset(bar + filled, '.', WIDTH - filled);
    bar[WIDTH] = '\0';
    double spent = (double)(now - progress->start_ns) / 1e9;
    if (done > 0 && done < total)
        snprintf(left, sizeof left, "  %.0f s left", spent * (double)(total - done) / (double)done);
    fprintf(stderr, "\r\033[K[%s] %zu/%zu%s%s%s", bar, done, total, left, *note ? "  " : "", note);
    fflush(stderr);
}

void tri_cli_progress_clear(tri_cli_progress *progress) {
    if (progress->shown)
        fputs("\r\033[K", stderr);
    fflush(stderr);
}
