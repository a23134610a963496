/* Until the tests have moved. */
#include "base/dtype.h"
#include "check/fill.h"
#include "check/verdict.h"
#include "op/bsr_gemm/bsr_gemm.h"
#include "op/op.h"
#include "pattern/pattern.h"
