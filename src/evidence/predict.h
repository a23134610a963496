/* How long each configuration of a space would take, from what its kernel does and from what was measured of others.
 *
 * An operation says what a kernel does for a problem (tri_operation.cost): numbers, and a first guess from the chip's rates.
 * Evidence corrects the guess: for each kernel a Gaussian process over these numbers has the logarithm of time / guess, so
 * that a measured problem speaks for those like it, and the less the further they are. What it is unsure of counts
 * as slower than it says: an answer is the least of mean + deviation.
 *
 * The work is bounded: TRI_PREDICTOR_SAMPLES times are learnt from, and a kernel's process keeps TRI_PREDICTOR_PIVOTS of them. */
#ifndef TRIAGE_EVIDENCE_PREDICT_H
#define TRIAGE_EVIDENCE_PREDICT_H

#include "op/op.h"
#include "space/space.h"

#define TRI_PREDICTOR_SAMPLES 8192
#define TRI_PREDICTOR_PIVOTS 256
#define TRI_PREDICTOR_KERNELS 16 /* of more names the others are not learnt */
#define TRI_PREDICTIONS_MOST 8
#define TRI_RIVALS 2

typedef struct tri_predictor tri_predictor;

/* TRIAGE_E_UNSUPPORTED: the operation says nothing of its kernels. */
triage_status tri_predictor_new(tri_predictor **out, const tri_operation *op);
void tri_predictor_free(tri_predictor *predictor);

/* A time that was measured, of a problem's key and a configuration, on a device. What cannot be read, and what is too much, is
 * left out. The same again has no weight of its own: the first stays. */
triage_status tri_predictor_add(tri_predictor *predictor, const char *problem, const char *config,
                                double median_ns, const tri_device_info *info);
bool tri_predictor_is_full(const tri_predictor *predictor);

/* Learns. After it nothing is added. path: the file of an earlier fit; one of the same samples is read instead, and a new one
 * takes its place at once as a whole; a damaged one is none, and one that cannot be written is left out. NULL: no file. Touches
 * nothing but the predictor and the file. */
triage_status tri_predictor_fit(tri_predictor *predictor, const char *path);
/* It was taught by devices of other architectures: answers cost more. */
void tri_predictor_is_of_others(tri_predictor *predictor);

typedef struct tri_predictor_facts {
    size_t samples, problems, kernels, pivots;
    int64_t fit_work; /* multiply-adds of the fit, about; 0: it was read from a file */
} tri_predictor_facts;
void tri_predictor_describe(tri_predictor_facts *out, const tri_predictor *predictor);
/* Is that enough to answer from? */
bool tri_predictor_speaks(const tri_predictor *predictor);

/* Of one configuration. */
typedef struct tri_prediction {
    size_t point;         /* of the configurations asked */
    double ns, spread;    /* median, and the deviation of its logarithm */
    double expected_loss; /* the fraction of its time that tuning would save, 0 .. 1 */
    tri_cost cost;        /* what the guess is made of */
    bool is_of_others;    /* by the times of other architectures */
} tri_prediction;

typedef struct tri_predictions {
    tri_prediction items[TRI_PREDICTIONS_MOST]; /* the likely best first */
    size_t count;
    /* If asked for: what a race is to hold against the first: not the next likely ones, which mostly are its like and right or wrong with it, but
     * those by which the best of all gains most. */
    tri_prediction rivals[TRI_RIVALS];
    size_t rival_count;
    int64_t work; /* multiply-adds, about */
} tri_predictions;

/* What is expected of each configuration, without its spread: ns[configs->count], 0 where nothing can be told. */
triage_status tri_predict_all(double *ns, const tri_predictor *predictor, const tri_problem *problem,
                              const tri_device_info *info, const tri_configs *configs);

/* count 0: none can be told of. */
triage_status tri_predict(tri_predictions *out, const tri_predictor *predictor, const tri_problem *problem,
                          const tri_device_info *info, const tri_configs *configs, bool with_rivals);

#endif
