#include "op/dense.h"
