/* The page: its frame and what is text. Tables of figures are in report_tables.c, pictures in report_draw.c. */
#include <string.h>

#include "cli/common/common.h"
#include "cli/db/report.h"

enum { PROBLEMS_SHOWN = 400, RANKS_SHOWN = 12 };

/* A wide table scrolls in a box of its own on a phone. Paper has no folds: what is folded is left out there but for its
 * first line. */
static const char head[] =
    "<!doctype html>\n"
    "<html lang=\"en\">\n"
    "<head>\n"
    "<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<title>triage report</title>\n"
    "<style>\n"
    ":root{--ink:#1b1f24;--dim:#59636e;--ground:#fff;--line:#d1d9e0;--mark:#0072b2;--bad:#b3261e}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0 auto;padding:1rem;max-width:72rem;font:1rem/1.5 system-ui,sans-serif}\n"
    "body{color:var(--ink);background:var(--ground)}\n"
    "h1{font-size:1.6rem;line-height:1.2;margin:.5rem 0}\n"
    "h2{font-size:1.35rem;line-height:1.25;margin:2.5rem 0 .5rem}\n"
    "h2{border-top:2px solid var(--ink);padding-top:.5rem}\n"
    "h3{font-size:1.1rem;line-height:1.3;margin:1.75rem 0 .4rem}\n"
    "h4{font-size:.95rem;margin:1rem 0 .3rem;overflow-wrap:anywhere}\n"
    "p{margin:.4rem 0;max-width:46rem}\n"
    ".dim{color:var(--dim);font-size:.9rem}\n"
    "code{font:.85rem/1.4 ui-monospace,monospace;overflow-wrap:anywhere}\n"
    ".box{overflow-x:auto;margin:.4rem 0}\n"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.85rem}\n"
    "th,td{padding:.2rem .5rem;text-align:left;vertical-align:top}\n"
    "th,td{border-bottom:1px solid var(--line)}\n"
    "td.n,th.n{text-align:right;white-space:nowrap}\n"
    "td.h,th.h{text-align:center;min-width:3.2rem;white-space:nowrap}\n"
    "td.s,td.l{white-space:nowrap}\n"
    "td.w{min-width:13rem}\n"
    "svg{display:block;width:100%;max-width:40rem;height:auto;margin:.4rem 0}\n"
    "svg.wide{max-width:30rem}\n"
    "details{border-bottom:1px solid var(--line);padding:.3rem 0}\n"
    "summary{cursor:pointer;overflow-wrap:anywhere}\n"
    ".bar{display:block;height:.6rem;background:var(--mark)}\n"
    ".bad{color:var(--bad)}\n"
    "nav a{margin-right:1rem;overflow-wrap:anywhere}\n"
    "@media screen and (max-width:40rem){\n"
    ".grid tr{display:flex;flex-wrap:wrap;border-bottom:1px solid var(--line);padding:.2rem 0}\n"
    ".grid thead,.grid td:empty{display:none}\n"
    ".grid td{border:0}\n"
    ".grid td.l{flex:1 0 100%;white-space:normal}\n"
    ".grid td.h::before{content:attr(data-column);display:block;font-size:.7rem}\n"
    "}\n"
    "@media print{\n"
    "body{max-width:none;padding:0;font-size:9.5pt}\n"
    "h2{break-before:page}\n"
    "h2:first-of-type{break-before:auto}\n"
    "h3,h4,p,summary{break-after:avoid}\n"
    "tr,svg,details{break-inside:avoid}\n"
    "svg{max-width:13cm}\n"
    "table{font-size:7.5pt}\n"
    "th,td{padding:.1rem .25rem}\n"
    ".box{overflow:visible}\n"
    "nav{display:none}\n"
    "*{print-color-adjust:exact;-webkit-print-color-adjust:exact}\n"
    "}\n"
    "</style>\n"
    "</head>\n"
    "<body>\n";

void tri_report_text(FILE *out, const char *text) {
    for (size_t size; *text; text += size > 1 ? size : 1) {
        size = tri_control_size(text);
        switch (*text) {
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        case '&':
            fputs("&amp;", out);
            break;
        case '"':
            fputs("&quot;", out);
            break;
        default:
            fputc(size > 0 ? ' ' : *text, out);
        }
    }
}

/* ---- keys ---- */

static bool is_of_pattern(const char *word) {
    return strncmp(word, "density=", 8) == 0 || strncmp(word, "imbalance=", 10) == 0 ||
           strncmp(word, "overlap=", 8) == 0;
}

void tri_report_shape(char *out, size_t size, const char *key) {
    const char *at = strstr(key, " m=");
    out[0] = '\0';
    for (at = at ? at + 1 : key; *at; at += strcspn(at, " "), at += *at == ' ') {
        const size_t word = strcspn(at, " "), used = strlen(out);
        if (!is_of_pattern(at) && used + word + 2 < size)
            snprintf(out + used, size - used, "%s%.*s", used ? " " : "", (int)word, at);
    }
}

double tri_report_field(const char *key, const char *name) {
    char pattern[32];
    double value = -1;
    snprintf(pattern, sizeof pattern, " %s=", name);
    const char *at = strstr(key, pattern);
    return at && sscanf(at + strlen(pattern), "%lf", &value) == 1 ? value : -1;
}

/* ---- a device ---- */

static void print_device(FILE *out, const tri_device_report *r) {
    char first[TRI_CLI_NUMBER], last[TRI_CLI_NUMBER], memory[TRI_CLI_NUMBER];
    size_t tuned = 0;
    for (size_t i = 0; i < r->count; i++)
        tuned += r->problems[i].winner_ns > 0 && !r->problems[i].is_dense;
    fprintf(out, "<p>%zu problems with a winner, %lld measurements (%lld of them failures), %s to %s.</p>\n",
            tuned, (long long)r->measurements, (long long)r->failures, tri_cli_when(first, r->first_ms),
            tri_cli_when(last, r->last_ms));
    fputs("<p class=\"dim\">", out);
    if (r->info.sm_count)
        fprintf(out, "%s, %d %s, last-level cache %s", r->info.target, r->info.sm_count,
                r->info.cc ? "multiprocessors" : "cores", tri_cli_bytes(memory, r->info.l2_bytes));
    if (r->info.clock_khz)
        fprintf(out, ", %.2f GHz at most", r->info.clock_khz * 1e-6);
    fputs(". <code>", out);
    tri_report_text(out, r->key);
    fputs("</code></p>\n", out);
}

/* ---- rankings ---- */

static void print_ranks(FILE *out, const tri_report_problem *p) {
    fputs("<div class=\"box\"><table><tr><th class=\"n\">rank</th><th class=\"n\">median</th><th "
          "class=\"n\">&plusmn;"
          "</th><th class=\"n\">of the best</th><th>configuration</th></tr>\n",
          out);
    for (size_t i = 0; i < p->count && i < RANKS_SHOWN && p->rows[i].median_ns > 0; i++) {
        const tri_report_row *row = &p->rows[i];
        char time[TRI_CLI_NUMBER];
        fprintf(
            out,
            "<tr><td class=\"n\">%zu</td><td class=\"n\">%s</td><td class=\"n\">%.1f %%</td><td class=\"n\">"
            "%.2f</td><td class=\"w\"><code>",
            i + 1, tri_cli_time(time, row->median_ns), 50 * (row->high_ns - row->low_ns) / row->median_ns,
            row->median_ns / p->rows[0].median_ns);
        tri_report_text(out, row->config);
        fprintf(out, "</code>%s</td></tr>\n",
                p->winner && strcmp(p->winner, row->config) == 0 ? " (winner)" : "");
    }
    fputs("</table></div>\n", out);
}

static void print_ranking(FILE *out, const tri_report_problem *p, bool open) {
    char time[TRI_CLI_NUMBER];
    size_t timed = 0;
    while (timed < p->count && p->rows[timed].median_ns > 0)
        timed++;
    if (timed == 0)
        return;
    fprintf(out, "<details%s><summary><code>", open ? " open" : "");
    tri_report_text(out, p->key);
    fprintf(out, "</code> &ndash; %s, %zu timed, %zu failed</summary>\n",
            tri_cli_time(time, p->winner_ns > 0 ? p->winner_ns : p->rows[0].median_ns), timed,
            p->count - timed);
    if (timed > 1)
        tri_report_spread(out, p);
    print_ranks(out, p);
    fputs("</details>\n", out);
}

static void print_rankings(FILE *out, const tri_device_report *r) {
    size_t shown = 0;
    for (size_t i = 0; i < r->count && shown < PROBLEMS_SHOWN; i++) {
        if (r->problems[i].is_dense || r->problems[i].count == 0)
            continue;
        if (shown == 0)
            fputs("<h3>Ranking and spread of each problem</h3>\n<p class=\"dim\">Each mark is a candidate "
                  "that was "
                  "right; the first problem is unfolded.</p>\n",
                  out);
        print_ranking(out, &r->problems[i], shown == 0);
        shown++;
    }
    if (shown == PROBLEMS_SHOWN)
        fprintf(
            out,
            "<p class=\"dim\">The first %d problems; --shape, --block, --dtype, --op choose others.</p>\n",
            PROBLEMS_SHOWN);
}

/* ---- drift ---- */

static void print_drifts(FILE *out, const tri_device_report *r) {
    fputs("<h3>Drift</h3>\n", out);
    if (r->drift_count == 0) {
        fputs("<p>No candidate was slower, beyond noise, than it had been.</p>\n", out);
        return;
    }
    fputs("<p>Slower beyond noise than they had been, and fast enough before to win:</p>\n<div "
          "class=\"box\"><table>"
          "<tr><th>problem</th><th>configuration</th><th class=\"n\">was</th><th class=\"n\">is</th><th "
          "class=\"n\">"
          "change</th><th>on</th></tr>\n",
          out);
    for (size_t i = 0; i < r->drift_count; i++) {
        const tri_report_drift *d = &r->drifts[i];
        char was[TRI_CLI_NUMBER], now[TRI_CLI_NUMBER], when[TRI_CLI_NUMBER];
        fputs("<tr><td class=\"w\"><code>", out);
        tri_report_text(out, d->problem);
        fputs("</code></td><td class=\"w\"><code>", out);
        tri_report_text(out, d->config);
        fprintf(out,
                "</code></td><td class=\"n\">%s</td><td class=\"n\">%s</td><td class=\"n\">%+.1f %%</td>"
                "<td class=\"s\">%s</td></tr>\n",
                tri_cli_time(was, d->was_ns), tri_cli_time(now, d->now_ns), 100 * (d->now_ns / d->was_ns - 1),
                tri_cli_when(when, d->at_ms));
    }
    fputs("</table></div>\n", out);
}

/* ---- all ---- */

static void print_report(FILE *out, const tri_device_report *r, size_t number) {
    fprintf(out, "<h2 id=\"device%zu\">", number);
    tri_report_text(out, r->name);
    fputs("</h2>\n", out);
    print_device(out, r);
    tri_report_heat(out, r);
    tri_report_roofline(out, r);
    tri_report_crossover(out, r);
    tri_report_axes(out, r);
    tri_report_failures(out, r);
    print_drifts(out, r);
    print_rankings(out, r);
}

void tri_report_page(FILE *out, const tri_device_report *reports, size_t count) {
    fputs(head, out);
    fputs("<h1>What triage knows</h1>\n<p>Every time here is that of a result that was verified against "
          "float64. "
          "TFLOP/s are useful ones: what is executed on stored blocks, or on pairs of a query and a key that "
          "the mask "
          "allows.</p>\n<nav>",
          out);
    for (size_t i = 0; i < count; i++) {
        fprintf(out, "<a href=\"#device%zu\">", i);
        tri_report_text(out, reports[i].name);
        fputs("</a>", out);
    }
    fputs("</nav>\n", out);
    for (size_t i = 0; i < count; i++)
        print_report(out, &reports[i], i);
    fprintf(out, "<p class=\"dim\">Made by triage %s, triage_db report.</p>\n</body>\n</html>\n",
            TRIAGE_VERSION);
}
