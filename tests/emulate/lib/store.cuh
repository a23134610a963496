// Stands for templates/lib/store.cuh: to_float() is in cta.cpp.
