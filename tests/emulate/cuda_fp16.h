// Stands for CUDA's header: what it declares is in cta.cpp.
#pragma once
