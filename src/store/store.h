/* The evidence: append-only measurements in a SQLite file or on a PostgreSQL server, and the winners as a view
 * over them. All SQL is in db/. */
#ifndef TRIAGE_STORE_STORE_H
#define TRIAGE_STORE_STORE_H

#include "base/sign.h"

typedef enum tri_outcome {
    TRI_RIGHT = 0, /* verified and timed */
    TRI_SLOW,      /* verified, timing stopped early: clearly slower than the best */
    TRI_NOT_COMPILED,
    TRI_SPILLED,   /* over the space's limit */
    TRI_TOO_LARGE, /* shared memory or registers do not fit the device */
    TRI_WRONG,
    TRI_CRASHED, /* the worker died or the device context was lost */
    TRI_TIMED_OUT,
    TRI_LAUNCH_FAILED
} tri_outcome;
const char *tri_outcome_name(tri_outcome outcome); /* "right" "slow" "not_compiled" ... */
triage_status tri_outcome_parse(tri_outcome *out, const char *name);

/* One row of evidence. Strings are never NULL. */
typedef struct tri_measurement {
    char id[TRI_HASH_SIZE]; /* of everything below; filled by the store */
    char *problem;          /* tri_problem_key */
    char *device;           /* tri_device_key */
    char *device_name;      /* for people */
    char *kernel;           /* "wgmma" */
    char *config;
    char *source_hash; /* tri_source_hash */
    char *compiler;    /* "nvrtc 13.0" */
    char *stage;       /* "search" or "race" (interleaved finals: preferred by the view) */
    tri_outcome outcome;
    char *reason;                      /* one line; "" when right */
    double median_ns, low_ns, high_ns; /* median and its 95 % interval; 0 when not timed */
    double min_ns;
    int64_t samples;
    bool cold_l2;
    double row_error, row_error_limit; /* against float64; 0 when not verified */
    int64_t registers, spill_bytes, smem_bytes;
    int64_t seed;
    int64_t measured_at_ms; /* Unix time */
    char *host;             /* hash of the machine's id, not its name */
    char *version;          /* of triage */
    char *circumstances;    /* JSON object */
} tri_measurement;
void tri_measurement_clear(tri_measurement *measurement); /* frees the strings */

/* How far a row is believed, by where it came from: a fact that the database keeps beside it (docs/trust.md). */
typedef enum tri_tier {
    TRI_TIER_OWN, /* measured here: added with tri_store_add */
    TRI_TIER_PEER, /* signed by a key that the importer named, or from the server that this file is in step with */
    TRI_TIER_UNKNOWN /* a claim */
} tri_tier;

/* May be shared between threads; not across a fork. */
typedef struct tri_store tri_store;
typedef enum tri_store_mode { TRI_STORE_READ, TRI_STORE_WRITE /* creates and migrates */ } tri_store_mode;

/* A path, or a postgresql:// URL. Errors: not a database and written by a newer version are
 * TRIAGE_E_DATA; read-only file or folder opened for writing TRIAGE_E_IO; absent file opened for reading
 * TRIAGE_E_NOT_FOUND. A file from elsewhere is treated as hostile (defensive, trusted_schema off).
 *
 * A server: TLS with its certificate verified, unless it is on this machine or the URL has an sslmode. No call
 * waits longer than TRI_SERVER_MS; one that cannot be reached is TRIAGE_E_IO, and is tried again by the next
 * call. A server of a newer version is read if that version says that it can be, never written. No message
 * has the URL's password. */
#define TRI_CONNECT_MS 5000
#define TRI_SERVER_MS 20000
triage_status tri_store_open(tri_store **out, const char *url, tri_store_mode mode);
/* An empty store in memory, gone when it is closed. */
triage_status tri_store_open_memory(tri_store **out);
void tri_store_close(tri_store *store);
/* Is the file, or the folder that it would be made in, on a network file system (NFS, SMB, FUSE, ...)? There the
 * journal is no write-ahead log, and locks may not hold between machines: whoever opens it should say
 * TRI_NETWORK_ADVICE, with the path for its %s. */
bool tri_store_is_on_network(const char *path);
#define TRI_NETWORK_ADVICE                                                                                   \
    "%s is on a network file system: no write-ahead log there, and machines that use it at once may damage " \
    "it. "                                                                                                   \
    "Keep the database on a local disk, and share it through a server (triage_db sync) or files (triage_db " \
    "export "                                                                                                \
    "and import, or merge)"
bool tri_store_is_url(const char *url); /* postgresql:// or postgres:// */
/* Could that be the URL of a server? Nobody is asked. TRIAGE_E_INVALID; TRIAGE_E_UNSUPPORTED without libpq. */
triage_status tri_store_check_url(const char *url);
bool tri_store_is_server(const tri_store *store);
/* Is there a password in the URL? On a command line everyone could read it. */
bool tri_store_url_has_password(const char *url);
/* Makes the roles of db/postgres/roles.sql on a server, and what they may do; as often as one likes. */
triage_status tri_store_make_roles(tri_store *server);
/* For messages: the path, or the URL without its password. */
const char *tri_store_name(const tri_store *store);

/* Adds one row in its own transaction: durable when it returns. A row already there is no error. What came
 * from compilers and drivers (reason, device_name, circumstances) is made one line of UTF-8 in place, and a
 * row whose result was not right loses its times. TRIAGE_E_DATA names a field out of its range. */
triage_status tri_store_add(tri_store *store, tri_measurement *measurement);

/* Calls fn for each row; a status other than TRIAGE_OK stops and is returned. Borrowed row. */
typedef triage_status (*tri_row_fn)(void *user, const tri_measurement *row);

/* Verified candidates of a problem on a device, the winner first, then its tie set, then the others by
 * median: one row a candidate (source_hash and config), its newest race row if it has one and no newer search
 * is slower beyond noise, else its newest search row; quiet rows before busy ones. What failed when run since, and warm
 * times where there are cold ones, do not count. Who has raced comes first, slow rows last. "ranking" in db/queries.sql
 * says all of it. */
triage_status tri_store_ranking(tri_store *store, const char *problem, const char *device, tri_row_fn fn,
                                void *user);

/* Its first rows, at most count. */
triage_status tri_store_best(tri_store *store, const char *problem, const char *device, int64_t count,
                             tri_row_fn fn, void *user);

/* Evidence for one kernel (any outcome), the most trusted first, then the newest; compiler NULL: any.
 * TRIAGE_E_NOT_FOUND if none. */
triage_status tri_store_measured(tri_measurement *out, tri_store *store, const char *problem,
                                 const char *device, const char *source_hash, const char *compiler);

/* Is row within noise of best: do their intervals overlap? The rows of a ranking for which it holds with the
 * first are its tie set. */
bool tri_measurement_ties(const tri_measurement *best, const tri_measurement *row);

/* Were other programs on the device when these circumstances were noted: more processes than ours, by the count of all
 * or of those behind MPS? The statements of db/queries.sql ask the same. */
bool tri_circumstances_are_busy(const char *circumstances);

/* All evidence of a problem, failures too, newest first. device NULL: any, one after the other. */
triage_status tri_store_evidence(tri_store *store, const char *problem, const char *device, tri_row_fn fn,
                                 void *user);

/* Where the row with that id came from; name: 128 bytes, "" or "key ..." or "server ...". All rows of a server are its
 * contributors': peers'. TRIAGE_E_NOT_FOUND. */
triage_status tri_store_origin(tri_tier *out, char name[128], tri_store *store, const char *id);

/* The row whose id begins with these 4 to 32 hex digits. TRIAGE_E_NOT_FOUND, TRIAGE_E_INVALID if several do. */
triage_status tri_store_find(tri_measurement *out, tri_store *store, const char *id);

/* The winners of all problems on a device whose key starts with the words of the given family text (op, types,
 * layouts, ...: those before "m="): donors for the nearest lookup. device NULL: all devices; family "": all. */
triage_status tri_store_winners(tri_store *store, const char *device, const char *family, tri_row_fn fn,
                                void *user);

/* The keys of those problems and devices, without ranking any: cheap where there are thousands. */
typedef triage_status (*tri_key_fn)(void *user, const char *problem, const char *device);
triage_status tri_store_problems(tri_store *store, const char *device, const char *family, tri_key_fn fn,
                                 void *user);
/* The winner of one of them; fn is not called where a failure since has disqualified all. */
triage_status tri_store_winner(tri_store *store, const char *problem, const char *device, tri_row_fn fn,
                               void *user);

/* The keys of all devices with evidence, and one name of each for people. */
typedef triage_status (*tri_device_fn)(void *user, const char *device, const char *name);
triage_status tri_store_devices(tri_store *store, tri_device_fn fn, void *user);
/* ---- what lookups need of many problems at once (src/store/standing.c) ---- */

/* A tuned problem and its winner. config is NULL where the winner is not known without ranking, or there is none;
 * then is_known tells which. Borrowed for the call. */
typedef struct tri_stored_donor {
    const char *problem, *config, *source_hash;
    double median_ns;
    bool is_known;
} tri_stored_donor;
typedef triage_status (*tri_donor_fn)(void *user, const tri_stored_donor *donor);

/* The surroundings of sizes, as a problem's key has them. */
typedef struct tri_vicinity {
    int64_t m, n, k; /* 1 .. 2^31-1 */
    double octaves;  /* that each of the sizes may be apart; beyond 2048 one counts a quarter */
    int64_t most;    /* problems, about the nearest first */
} tri_vicinity;

/* The tuned problems there on a device, whose key has exactly the given words before " m=". *reach: every problem
 * whose sizes are fewer octaves than this apart (the root of the squares' sum) was among them; infinite if these
 * were all of the family: a database of an older version does not know the sizes. */
triage_status tri_store_near(double *reach, tri_store *store, const char *device, const char *family,
                             const tri_vicinity *vicinity, tri_donor_fn fn, void *user);

/* How long a problem's winner takes, and another configuration there. */
typedef struct tri_times {
    const char *problem, *config; /* asked */
    double winner_ns, config_ns;  /* 0: that configuration was not timed there */
} tri_times;
triage_status tri_store_times(tri_times *times, size_t count, tri_store *store, const char *device);

/* Of a problem on a device: a candidate that is slower beyond noise than it was, and with the older time would
 * win ("ranking" in db/queries.sql). Borrowed for the call. */
typedef struct tri_drift {
    const tri_measurement *older, *newer;
    const tri_measurement *winner; /* NULL: none; newer itself if it still wins */
} tri_drift;
typedef triage_status (*tri_drift_fn)(void *user, const tri_drift *drift);
/* *unknown: standings of a server that are not filled in, and were not looked at; -1: the server has none yet. */
triage_status tri_store_drifts(int64_t *unknown, tri_store *store, tri_drift_fn fn, void *user);

/* The winners that were timed while other programs were on their device, as far as standings are filled in. */
triage_status tri_store_busy(tri_store *store, tri_row_fn fn, void *user);

/* Fills in the standings that rows have made unknown since. Nothing depends on it but speed. */
typedef struct tri_refresh_options {
    int64_t most;                    /* standings; 0: all */
    volatile const int *interrupted; /* looked at between batches; may be NULL, as may be the next */
    int64_t deadline_ns;             /* of tri_now_ns; 0: none */
} tri_refresh_options;
triage_status tri_store_refresh(tri_store *store, const tri_refresh_options *options);

/* All rows, by id. */
triage_status tri_store_each(tri_store *store, tri_row_fn fn, void *user);

typedef struct tri_merge_result {
    int64_t read, added, present, refused;
    int64_t trusted; /* of those that were let in: signed by the key that was named */
} tri_merge_result;
/* check: called for each foreign row before it is added (NULL: only the types, ranges and the id are
 * checked); a refusal is logged with its line and skipped. */
typedef triage_status (*tri_check_fn)(void *user, const tri_measurement *row);
triage_status tri_store_merge(tri_merge_result *out, tri_store *into, const char *from_path,
                              tri_check_fn check, void *user, const tri_log *log);
triage_status tri_store_export(int64_t *rows, tri_store *store, const char *jsonl_path);
/* And its signature beside it, in jsonl_path.sig. */
triage_status tri_store_export_signed(int64_t *rows, tri_store *store, const char *jsonl_path,
                                      const tri_signing_key *key);
triage_status tri_store_import(tri_merge_result *out, tri_store *into, const char *jsonl_path,
                               tri_check_fn check, void *user, const tri_log *log);
/* The rows that the key has signed (jsonl_path.sig) are of a peer from now on, the others claims. TRIAGE_E_DATA, and
 * nothing is read: the signature is damaged, or of another key; TRIAGE_E_INVALID: that is no key. */
triage_status tri_store_import_trusted(tri_merge_result *out, tri_store *into, const char *jsonl_path,
                                       const char *public_key, tri_check_fn check, void *user,
                                       const tri_log *log);

/* ---- two databases as one ---- */

typedef struct tri_sync_result {
    int64_t sent, received; /* rows that were new there, and here */
    int64_t refused;        /* rows of the server that failed a check: named in the log, skipped */
    bool read_only;         /* the server lets us read, but not add */
} tri_sync_result;

typedef struct tri_sync_options {
    tri_check_fn check; /* as for a merge */
    void *user;
    const tri_log *log;
    volatile const int *interrupted; /* looked at between batches */
    double time_limit_s;             /* of the whole, looked at between batches; 0: none */
} tri_sync_options;

/* Moves evidence both ways until each has what the other has. Incremental: the local file remembers how far it
 * has read the server, and what it has sent. What was moved before a failure stays moved, and nothing arrives
 * twice. TRIAGE_E_IO: the server cannot be reached; TRIAGE_E_TIMEOUT, TRIAGE_E_INTERRUPTED. local is a file. */
triage_status tri_store_sync(tri_sync_result *out, tri_store *local, tri_store *server,
                             const tri_sync_options *options);

/* Brings what another store knows of one problem on one device; *added may be NULL. Rows that fail a check are left
 * out. What was brought before a failure stays. */
triage_status tri_store_fetch(int64_t *added, tri_store *into, tri_store *from, const char *problem,
                              const char *device, tri_check_fn check, void *user);

/* Over the sorted ids: equal sets of evidence, equal hash. */
triage_status tri_store_hash(char out[TRI_HASH_SIZE], tri_store *store);
/* Integrity of the file, every id recomputed, every standing ranked anew. TRIAGE_E_DATA names the first bad one. */
triage_status tri_store_verify(int64_t *rows, tri_store *store);

/* One row as a JSON object on one line (schema version inside), and back with every check; what fails one leaves
 * *out empty but for the id that the line claims, for messages. */
triage_status tri_measurement_to_json(char **out, const tri_measurement *row);
triage_status tri_measurement_from_json(tri_measurement *out, const char *line);

#endif
