#!/usr/bin/env python3
"""What a call costs the host: products and attention by triage_kernels and by torch, on tiny tensors. A report, no check.

    python python/bench/host.py [--device cuda|cpu] [--calls 50] [--batches 201]

Microseconds of this thread's own time a call, medians and the least of batches; a GPU is waited for between them. Rows of "no tokens"
end before the C call: Python, the arguments, the checks and the result. "torch's dispatcher" is the same operator, called past
autograd as torch has it: what an empty operator of as many arguments costs at least.
"""
import argparse
import statistics
import time

import torch
import torch.nn.functional as F

import triage_kernels as tk
from triage_kernels import _operators


def cases(device):
    dtype = torch.float16 if device == "cuda" else torch.float32

    def draw(*sizes):
        return torch.randn(*sizes, device=device, dtype=dtype)
    w = tk.BsrMatrix.from_dense(draw(64, 64), (16, 16))
    x, none, q, out = draw(8, 64), draw(0, 64), draw(1, 2, 4, 64), torch.empty(8, 64, device=device, dtype=dtype)
    cache, used = draw(1, 2, 64, 64), torch.tensor([60], dtype=torch.int32, device=device)
    layer = tk.BlockSparseLinear(w, draw(64))
    dense = torch.nn.Linear(64, 64, device=device, dtype=dtype)
    given = (none, w.row_ptr, w.col_idx, w.values, 64, None, "none", None, None, None)

    def dispatched():
        with torch._C._AutoDispatchBelowAutograd():
            return _operators.LINEAR.op(*given)
    yield "an empty tensor", lambda: torch.empty_like(x)
    yield "linear", lambda: tk.linear(x, w)
    yield "linear, no tokens", lambda: tk.linear(none, w)
    yield "linear, no tokens, torch's dispatcher", dispatched
    yield "a layer", lambda: layer(x)
    yield "bsr_mm into out", lambda: tk.bsr_mm(w, x.t(), out=out.t())
    yield "attention", lambda: tk.attention(q, q, q)
    yield "attention_kvcache", lambda: tk.attention_kvcache(q, cache, cache, used)
    yield "torch's linear layer", lambda: dense(x)
    yield "torch's attention", lambda: F.scaled_dot_product_attention(q, q, q)


def times(call, device, calls, batches):
    found = []
    for _ in range(batches):
        begin = time.thread_time_ns()
        for _ in range(calls):
            call()
        found.append((time.thread_time_ns() - begin) / calls / 1000)
        if device == "cuda":
            torch.cuda.synchronize()
    return statistics.median(found), min(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--calls", type=int, default=50)
    parser.add_argument("--batches", type=int, default=201)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {tk.device_name(options.device)}\n{'':42}median, us   least")
    with torch.no_grad():
        for name, call in cases(options.device):
            call()
            print("%-42s%10.2f%8.2f" % (name, *times(call, options.device, options.calls, options.batches)), flush=True)


if __name__ == "__main__":
    main()
