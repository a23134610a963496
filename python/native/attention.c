#include "contexts.h"

void drop_attentions(void) {}
