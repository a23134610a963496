/* The programs on attention, from outside: every bad option is one clear line and its exit code, with nothing left behind;
 * tunes of small shapes on the host device, and what triage_db says of them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/program.h"

static outcome last;

/* What it returns stays until the next. */
static const outcome *run(const char *program, const char *arguments) {
    drop(&last);
    last = run_program(program, arguments);
    return &last;
}

static json_t *said(const char *program, const char *arguments) {
    const outcome *o = run(program, arguments);
    json_t *document = json_loads(o->out, 0, NULL);
    if (o->code != 0 || !document)
        fail_msg("%s %s: exit %d: %s", program, arguments, o->code, o->err);
    return document;
}

static const char *text_of(const json_t *document, const char *member) {
    return json_string_value(json_object_get(document, member));
}

#define ATTENTION "--op attention --device host --db t.db --budget 1 --quiet "
#define SHAPE "--shape 1,4,2,40,40,32 "

/* One line with these words. */
static void refuse(int code, const char *options, const char *words) {
    char arguments[1024];
    snprintf(arguments, sizeof arguments, ATTENTION "%s", options);
    const outcome *o = run("triage_tune", arguments);
    if (o->code != code || !strstr(o->err, words) || strchr(o->err, '\n') != o->err + strlen(o->err) - 1 ||
        o->out[0])
        fail_msg("%s: exit %d: %s%s", options, o->code, o->err, o->out);
    assert_int_not_equal(access(scratch_path(folder, "t.db"), F_OK), 0);
}

/* ---- what is refused ---- */

static void shapes_and_types(void **state) {
    (void)state;
    refuse(64, "", "--shape B,HQ,HKV,SQ,SK,D[,DV]");
    refuse(64, "--shape 1,2,1,40,40", "has 5 numbers");
    refuse(64, "--shape 1,2,1,40,40,32,32,5", "has 8 numbers");
    refuse(64, "--shape 0,2,1,40,40,32", "--shape's B: 0 is out of range; allowed 1 .. 2147483647");
    refuse(64, "--shape 1,x,1,40,40,32", "--shape's HQ: 'x' is not a whole number");
    refuse(64, "--shape 1,5,2,40,40,32", "5 heads of Q; allowed multiples of those of K and V, 2");
    refuse(64, "--shape 1,2,1,40,40,300", "head dimension of Q and K is 300; allowed 1 .. 256");
    refuse(64, "--shape 1,2,1,40,40,32,257", "head dimension of V is 257; allowed 1 .. 256");
    refuse(64, "--shape 1,9000,9000,2000000,2000000,256", "this machine has");
    refuse(64, SHAPE "--dtype f64", "--dtype f64 is not one of f16, bf16, f32, e4m3");
    refuse(64, SHAPE "--dtype f32 --out-dtype f16", "types f32 in, f16 out; allowed");
    refuse(64, SHAPE "--dtype e4m3 --out-dtype e4m3", "--out-dtype e4m3 is not one of f32, f16, bf16");
    refuse(64, SHAPE "--out-dtype f16", "needs --dtype");
    refuse(64, SHAPE "--block 64", "--block does not apply to attention");
}

static void masks(void **state) {
    (void)state;
    refuse(64, SHAPE "--mask diagonal", "--mask diagonal is not one of full, causal");
    refuse(64, SHAPE "--mask window:3", "window:L,R is expected");
    refuse(64, SHAPE "--mask window:-1,3", "--mask window's L: -1 is out of range; allowed 0 .. 2147483647");
    refuse(64, SHAPE "--mask window:-,0", "that is the mask causal");
    refuse(64, SHAPE "--mask causal+window:3,0", "--mask has window:3,0 beside another");
    refuse(64, SHAPE "--mask random-blocks:2", "--mask random-blocks: 2 is out of range; allowed 0 .. 1");
    refuse(64, SHAPE "--mask random-blocks:0.5 --mask-block 48",
           "mask blocks of 48 x 48; allowed 16, 32, 64 and 128");
    refuse(64, SHAPE "--mask random-blocks:0.5 --mask-lists some",
           "--mask-lists some is not one of all, kv, q");
    refuse(64, SHAPE "--mask random-blocks:0.5 --mask-bits 1", "--mask-bits 1 is not one of yes, no");
    refuse(64, SHAPE "--mask causal --mask-bits yes", "--mask-bits goes with --mask blocks:FILE");
    refuse(64, SHAPE "--mask-block 64", "--mask-block goes with --mask blocks:FILE");
}

static void files_of_blocks(void **state) {
    (void)state;
    scratch_write(folder, "three.smtx", "3,3,4\n0 1 2 4\n0 1 0 2\n", 0600);
    scratch_write(folder, "far.smtx", "3,3,1\n0 1 1 1\n7\n", 0600);
    refuse(64, SHAPE "--mask blocks:", "has no file");
    refuse(65, SHAPE "--mask blocks:nothere.smtx", "nothere.smtx: cannot read");
    refuse(65, SHAPE "--mask blocks:far.smtx --mask-block 16",
           "far.smtx:3: a column index: 7 is out of range");
    refuse(65, SHAPE "--mask blocks:three.smtx --mask-block 64",
           "3 x 3 blocks; allowed 1 x 1, for blocks of 64 x 64");
    refuse(64, SHAPE "--mask blocks:three.smtx --mask-block 16 --mask-lists q", "--mask-lists must be all");
}

static void lengths_and_caps(void **state) {
    (void)state;
    refuse(64, SHAPE "--softcap 0", "--softcap: 0 is out of range");
    refuse(64, SHAPE "--softcap inf", "--softcap: 'inf' is not a number");
    refuse(64, SHAPE "--paged 0", "--paged: 0 is out of range; allowed 1 .. 2147483647");
    refuse(64, SHAPE "--paged 16 --lengths varlen", "--paged goes with --lengths cache");
    refuse(64, SHAPE "--lengths ragged", "--lengths ragged is not one of dense, varlen, cache");
    refuse(64, SHAPE "--splits 257", "--splits: 257 is out of range; allowed 1 .. 256");
    refuse(64, "--shape 2,4,2,1,40,32 --splits 4",
           "--splits: its kernel is that of one sequence, whatever the batch: B of --shape is 2; must be 1");
    refuse(64, SHAPE "--lse maybe", "--lse maybe is not one of yes, no");
}

/* ---- what is done ---- */

static void tune_one(const char *options, const char *problem) {
    char arguments[1024];
    snprintf(arguments, sizeof arguments, ATTENTION "--json %s", options);
    json_t *run_of = said("triage_tune", arguments);
    assert_string_equal(text_of(run_of, "problem"), problem);
    assert_non_null(text_of(run_of, "winner"));
    json_decref(run_of);
}

#define CAUSAL "attention f32 f32 causal m=40 n=40 k=32 v=32 heads=4/2 batch=1"

static void tunes_of_small_shapes(void **state) {
    (void)state;
    tune_one(SHAPE "--mask causal", CAUSAL);
    tune_one(
        SHAPE "--mask causal+blocks:three.smtx --mask-block 16 --mask-bits yes",
        "attention f32 f32 causal blocks=16x16 m=40 n=40 k=32 v=32 heads=4/2 batch=1 lists=all density=4400 "
        "imbalance=14 overlap=4 bits");
    tune_one("--shape 3,4,2,1,64,32 --paged 16 --softcap 20 --lse yes",
             "attention f32 f32 full softcap paged m=1 n=64 k=32 v=32 heads=4/2 batch=3 page=16 lse");
}

static void what_triage_db_says(void **state) {
    (void)state;
    json_t *listed = said("triage_db", "list --db t.db --op attention --json"),
           *shown = said("triage_db", "show '" CAUSAL "' --db t.db --json");
    assert_int_equal(json_array_size(json_object_get(listed, "winners")), 3);
    assert_string_equal(text_of(shown, "problem"), CAUSAL);
    json_t *exact = said("triage_db",
                         "explain --op attention " SHAPE "--mask causal --device host --db t.db --json"),
           *near =
               said("triage_db", "explain --op attention --shape 1,4,2,80,80,32 --mask causal --device host "
                                 "--db t.db --json"),
           *none =
               said("triage_db", "explain --op attention --shape 2,4,2,1,70,32 --lengths cache --device host "
                                 "--db t.db --json"); /* a step is no prompt */
    assert_string_equal(text_of(exact, "source"), "exact");
    assert_string_equal(text_of(near, "source"), "nearest");
    assert_string_equal(text_of(near, "donor"), CAUSAL);
    assert_string_equal(text_of(none, "source"), "default");
    assert_int_equal(run("triage_db", "explain --op attention --shape 1,2 --device host --db t.db")->code,
                     64);
    json_t *const all[] = {listed, shown, exact, near, none};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        json_decref(all[i]);
}

/* Lists of blocks in a file: of this machine's own list, never of a server's job. */
static void a_list_may_name_files_and_a_job_may_not(void **state) {
    (void)state;
    scratch_write(folder, "three.smtx", "3,3,4\n0 1 2 4\n0 1 0 2\n", 0600);
    scratch_write(folder, "list.csv",
                  "op,shape,mask,mask-block\n"
                  "attention,\"1,2,2,48,48,16\",causal+blocks:three.smtx,16\n",
                  0600);
    json_t *run_of =
        said("triage_tune", "--from list.csv --device host --db list.db --budget 1 --quiet --json");
    assert_non_null(strstr(text_of(run_of, "problem"), " causal blocks=16x16 "));
    json_decref(run_of);
    const outcome *o = run("triage_db", "enqueue --shapes list.csv --server postgresql://localhost/none");
    assert_int_equal(o->code, 65);
    assert_non_null(strstr(o->err, "list.csv: a worker elsewhere has not the file of a pattern"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_and_types),
        cmocka_unit_test(masks),
        cmocka_unit_test(files_of_blocks),
        cmocka_unit_test(lengths_and_caps),
        cmocka_unit_test(tunes_of_small_shapes),
        cmocka_unit_test(what_triage_db_says),
        cmocka_unit_test(a_list_may_name_files_and_a_job_may_not),
    };
    return cmocka_run_group_tests(tests, make_home, remove_scratch);
}
