/* What stands in a tensor map's place where there is no copy engine. C and C++. */
#ifndef TRIAGE_EMULATE_MAP_H
#define TRIAGE_EMULATE_MAP_H

typedef struct emulated_map {
    const void *base;
    long long strides[4]; /* bytes */
    int dims[4], box[4], element;
    int swizzle; /* 64, else 128 */
} emulated_map;

#endif
