/* What stands in a tensor map's place where there is no copy engine. C and C++. */
#ifndef TRIAGE_EMULATE_MAP_H
#define TRIAGE_EMULATE_MAP_H

typedef struct emulated_map {
    const void *base;
    long long strides[5]; /* bytes; [0] is not used */
    unsigned dims[5];
    unsigned short box[5];
    unsigned char element, swizzle, rank; /* bytes; 0, 32, 64, 128 */
} emulated_map;

#endif
