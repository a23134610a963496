#include "cli/common/progress.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BAR 24
#define COLUMNS 80 /* of a terminal that does not say */
#define REDRAW_NS 100000000

static tri_cli_progress *drawn; /* the one on the terminal */

void tri_cli_progress_start(tri_cli_progress *progress, bool quiet) {
    *progress = (tri_cli_progress){.shown = !quiet && isatty(STDERR_FILENO), .start_ns = tri_now_ns()};
}

static size_t columns(void) {
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : COLUMNS;
}

/* How long still: at the pace so far, within the limit; before there is a pace, what the limit says. */
static void say_left(char *out, size_t size, const tri_cli_progress *progress,
                     const tri_cli_progress_view *view) {
    const double spent = (double)(tri_now_ns() - progress->start_ns) / 1e9, limit = view->limit_s;
    const double paced =
        view->done > 0 ? spent * (double)(view->total - view->done) / (double)view->done : -1;
    if (view->total > 0 && view->done >= view->total)
        return;
    if (paced >= 0)
        snprintf(out, size, "  %.0f s left", limit >= 0 && limit < paced ? limit : paced);
    else if (limit >= 0)
        snprintf(out, size, "  at most %.0f s left", limit);
}

static void draw_bar(char *out, size_t size, const tri_cli_progress *progress,
                     const tri_cli_progress_view *view) {
    char bar[BAR + 1], left[32] = "";
    const size_t filled = view->total == 0            ? 0
                          : view->done >= view->total ? BAR
                                                      : BAR * view->done / view->total;
    memset(bar, '#', filled);
    memset(bar + filled, '.', BAR - filled);
    bar[BAR] = '\0';
    say_left(left, sizeof left, progress, view);
    if (view->total)
        snprintf(out, size, "[%s] %zu/%zu%s%s%s", bar, view->done, view->total, left, *view->note ? "  " : "",
                 view->note);
    else
        snprintf(out, size, "[%s]%s", bar, left);
}

void tri_cli_progress_draw(tri_cli_progress *progress, const tri_cli_progress_view *view) {
    char line[256];
    const int64_t now = tri_now_ns();
    size_t word = strcspn(view->now, ":0123456789"); /* what is done, without the candidate */
    word = word < sizeof progress->doing ? word : sizeof progress->doing - 1;
    const bool news = strncmp(progress->doing, view->now, word) != 0 || progress->doing[word] != '\0' ||
                      progress->done != view->done;
    if (!progress->shown || (!news && now - progress->drawn_ns < REDRAW_NS))
        return;
    progress->drawn_ns = now;
    progress->done = view->done;
    snprintf(progress->doing, sizeof progress->doing, "%.*s", (int)word, view->now);
    drawn = progress;
    const int width = (int)columns() - 1; /* a full line may wrap */
    draw_bar(line, sizeof line, progress, view);
    fprintf(stderr, "\r\033[K%.*s\n\033[K%.*s\r\033[A", width, line, width, view->now);
    fflush(stderr);
}

void tri_cli_progress_clear(tri_cli_progress *progress) {
    if (drawn == progress)
        tri_cli_progress_hide();
}

void tri_cli_progress_hide(void) {
    if (drawn)
        fputs("\r\033[J", stderr);
    fflush(stderr);
    drawn = NULL;
}
