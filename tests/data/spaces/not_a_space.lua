return { op = "bsr_gemm" }
