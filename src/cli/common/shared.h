/* The options that several programs have: how they are called and what --help says of them, written once, and what they
 * mean. A program's own struct of options begins with a tri_cli_shared, and its table (options.h) takes the lines that it
 * wants; what only that program means by one is added to the text. */
#ifndef TRIAGE_CLI_SHARED_H
#define TRIAGE_CLI_SHARED_H

#include "cli/common/options.h"
#include "measure/device_lock.h"

#define TRI_CLI_DEVICE(more)                                                                                 \
    TRI_CLI_TEXT("device", "DEVICE", tri_cli_shared, device,                                                 \
                 "auto (default: cuda if there is a GPU, else host), cuda, cuda:N, host" more)
#define TRI_CLI_WAIT                                                                                         \
    TRI_CLI_TEXT("wait", "S", tri_cli_shared, wait,                                                          \
                 "Wait at most S seconds, 0.001 to 1e9, for other runs that time on the device. After that " \
                 "a run of your own is an error; next to another user's this run times all the same "        \
                 "(default: no limit for your own, 600 for those of others)")
#define TRI_CLI_WARM                                                                                         \
    TRI_CLI_FLAG("warm", 0, tri_cli_shared, warm,                                                            \
                 "Time with a warm L2 cache (default: the cache is emptied before each sample)")
#define TRI_CLI_SEED(of) TRI_CLI_TEXT("seed", "N", tri_cli_shared, seed, of ", 0 to 2^63-1 (default 1)")
#define TRI_CLI_SPACE(text) TRI_CLI_TEXT("space", "FILE.lua", tri_cli_shared, space, text)
#define TRI_CLI_OWN_SPACE TRI_CLI_SPACE("Search this space of your own (default: the operation's)")
#define TRI_CLI_DATA_DIR(read)                                                                               \
    TRI_CLI_TEXT("data-dir", "DIR", tri_cli_shared, data_dir,                                                \
                 read " templates/ and tuner/ from here (default: those built in)")
#define TRI_CLI_CACHE_DIR                                                                                    \
    TRI_CLI_TEXT("cache-dir", "DIR|none", tri_cli_shared, cache_dir,                                         \
                 "Folder of compiled kernels (default $XDG_CACHE_HOME/triage, else ~/.cache/triage); none: " \
                 "keep none")
#define TRI_CLI_DB(more)                                                                                     \
    TRI_CLI_TEXT("db", "PATH|URL", tri_cli_shared, db,                                                       \
                 "The tuning database: a file (default $XDG_DATA_HOME/triage/triage.db, else "               \
                 "~/.local/share/...), or postgresql://USER@HOST/DATABASE" more)
#define TRI_CLI_SERVER(text) TRI_CLI_TEXT("server", "URL", tri_cli_shared, server, text)
#define TRI_CLI_JSON                                                                                         \
    TRI_CLI_FLAG("json", 0, tri_cli_shared, json, "JSON on stdout; times in nanoseconds, sizes in bytes")
#define TRI_CLI_QUIET                                                                                        \
    TRI_CLI_FLAG("quiet", 'q', tri_cli_shared, quiet, "No messages and no progress on stderr")
#define TRI_CLI_WIDE                                                                                         \
    TRI_CLI_FLAG("wide", 0, tri_cli_shared, wide,                                                            \
                 "Do not fold tables to the width of the terminal, or $COLUMNS")
#define TRI_CLI_NO_COLOR TRI_CLI_FLAG("no-color", 0, tri_cli_shared, no_color, "No colour (also: NO_COLOR)")

/* ---- what they mean ---- */

/* auto, cuda, cuda:N or host; with or_all also "all". NULL is auto. */
triage_status tri_cli_check_device(const char *device, bool or_all);
/* NULL: 1. */
triage_status tri_cli_parse_seed(uint64_t *out, const char *text);
/* NULL: the defaults of --wait. */
triage_status tri_cli_parse_wait(tri_device_patience *out, const char *text);
/* --cache-dir DIR|none; NULL: the default. *out NULL: none. */
triage_status tri_cli_choose_cache(char **out, const char *text);

#endif
