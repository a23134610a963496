/* How fast a device can be at most: a time below that was not measured. */
#ifndef TRIAGE_EVIDENCE_ROOFLINE_H
#define TRIAGE_EVIDENCE_ROOFLINE_H

#include "op/op.h"

typedef struct tri_roofline {
    double least_ns;   /* no true time is below it */
    const char *limit; /* which limit that is: "arithmetic", "memory" or "L2" */
    double flops;      /* of the least work that the key stands for */
    double bytes;      /* that must come from or go to what limit names; arithmetic: 0 */
} tri_roofline;

/* Errs towards zero: a limit that the device's description does not give is none, and 1.5 times what the vendor
 * states is still believed (clocks above the stated ones). cold_l2: the operands came from memory. */
void tri_roofline_of(tri_roofline *out, const tri_least_work *work, const tri_device_info *info,
                     bool cold_l2);

/* What the vendor states of a device, for pictures: operations and bytes of memory a nanosecond; 0: not stated. */
void tri_roofline_rates(double *flops_per_ns, double *bytes_per_ns, triage_dtype dtype,
                        const tri_device_info *info);

#endif
