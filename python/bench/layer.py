#!/usr/bin/env python3
"""A decoder layer, and a training step of one linear layer: block-sparse by triage against dense by cuBLAS and cuDNN.

    python python/bench/layer.py --out layer.json [--tokens 65536] [--blocks 128,64] [--only layers|training] [--db FILE]
                                 [--tune SECONDS] [--commit HASH]

The layer has the sizes of Qwen2.5-7B (hidden 3584, 28 heads, 4 KV heads of 128, MLP 18944), random weights, one sequence,
causal. Projections, MLP and attention are 90 % block-sparse: random blocks of the weights stay, and of the blocks before the
diagonal, which stays whole. Both sides have the same norms, rotations and sums, in torch. Each piece of the sparse layer is
checked against its masked dense one on rows drawn at random, in float64, before anything is timed.

Times are medians of whole passes, back to back, between CUDA events; rates count what is computed. Exit code 1: wrong.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

import triage_kernels as tk
from triage_kernels import _native

HIDDEN, HEADS, KV_HEADS, HEAD, MLP = 3584, 28, 4, 128, 18944
SIZES = {"q": (HEADS * HEAD, HIDDEN), "k": (KV_HEADS * HEAD, HIDDEN), "v": (KV_HEADS * HEAD, HIDDEN),
         "o": (HIDDEN, HEADS * HEAD), "gate": (MLP, HIDDEN), "up": (MLP, HIDDEN), "down": (HIDDEN, MLP)}
BIASED = "qkv"


class Weights:
    """Dense ones, and of each the blocks that stay."""

    def __init__(self, block, sparsity):
        self.dense, self.sparse, self.bias = {}, {}, {}
        for seed, (name, (rows, cols)) in enumerate(SIZES.items()):
            generator = torch.Generator("cuda").manual_seed(seed)
            self.dense[name] = torch.randn(rows, cols, device="cuda", dtype=torch.bfloat16, generator=generator) * cols**-0.5
            kept = torch.rand(rows // block, cols // block, device="cuda", generator=generator) >= sparsity
            self.sparse[name] = tk.BsrMatrix.from_dense(self.dense[name], (block, block), kept)
            self.bias[name] = torch.randn(rows, device="cuda", dtype=torch.bfloat16, generator=generator) if name in BIASED else None


def causal_blocks(tokens, block, sparsity):
    """The diagonal, and a share of the blocks before it: one list for all heads. (mask, blocks)."""
    rows = -(-tokens // block)
    keep = torch.rand(rows, rows, generator=torch.Generator().manual_seed(7)) >= sparsity
    keep = (keep & torch.ones(rows, rows, dtype=torch.bool).tril(-1)) | torch.eye(rows, dtype=torch.bool)
    count = keep.sum(1, dtype=torch.int32)
    cols = torch.zeros(rows, int(count.max()), dtype=torch.int32)
    for row in range(rows):
        cols[row, :count[row]] = keep[row].nonzero()[:, 0]
    mask = tk.BlockMask((block, block), count[None, None].cuda(), cols[None, None].cuda(), density=1 - sparsity)
    return mask, keep


def rotate(x, angles):
    half = x.shape[-1] // 2
    turned = torch.cat((-x[..., half:], x[..., :half]), -1)
    return x * angles.cos().to(x.dtype)[:, None] + turned * angles.sin().to(x.dtype)[:, None]


def layer(x, linear, attend, angles):
    """x [tokens, hidden]; linear(name, x), attend(q, k, v) of [tokens, heads, d]."""
    y = F.rms_norm(x, (HIDDEN,))
    q, k, v = (linear(name, y).unflatten(-1, (-1, HEAD)) for name in "qkv")
    x = x + linear("o", attend(rotate(q, angles), rotate(k, angles), v).flatten(1))
    y = F.rms_norm(x, (HIDDEN,))
    return x + linear("down", F.silu(linear("gate", y)) * linear("up", y))


def sparse_side(weights, mask):
    def linear(name, x):
        return tk.linear(x, weights.sparse[name], weights.bias[name])

    def attend(q, k, v):
        return tk.attention(q[None], k[None], v[None], layout="bshd", causal=True, block_mask=mask)[0]
    return linear, attend


def dense_side(weights):
    def linear(name, x):
        return F.linear(x, weights.dense[name], weights.bias[name])

    def attend(q, k, v):
        q, k, v = (t.transpose(0, 1)[None] for t in (q, k, v))
        with sdpa_kernel([SDPBackend.CUDNN_ATTENTION]):
            return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)[0].transpose(0, 1)
    return linear, attend


# ---- checks ----

def worst(got, want):
    """Largest error of an element, of its size and the rows' root mean square."""
    scale = want.square().mean().sqrt()
    return float(((got.double() - want).abs() / (want.abs() + scale)).max())


def check_linear(weights, name, x, generator):
    rows = torch.randint(0, x.shape[0], (64,), device="cuda", generator=generator)
    want = x[rows].double() @ weights.sparse[name].to_dense().double().T
    if weights.bias[name] is not None:
        want = want + weights.bias[name].double()
    return worst(tk.linear(x, weights.sparse[name], weights.bias[name])[rows], want)


def check_attention(attend, q, k, v, keep, block, generator):
    o, errors = attend(q, k, v), []
    for row in torch.randint(0, q.shape[0], (32,), device="cuda", generator=generator).tolist():
        seen = keep[row // block].cuda().repeat_interleave(block)[:row + 1]
        keys, values = (t[:row + 1][seen].double().repeat_interleave(HEADS // KV_HEADS, 1) for t in (k, v))
        weight = (torch.einsum("hd,nhd->hn", q[row].double(), keys) * HEAD**-0.5).softmax(-1)
        errors.append(worst(o[row], torch.einsum("hn,nhd->hd", weight, values)))
    return max(errors)


def check(weights, mask, keep, block, x, angles):
    """{piece: error}; bounds are those of bf16's roundings, of P's too."""
    generator, errors, linear_, attend = torch.Generator("cuda").manual_seed(5), {}, *sparse_side(weights, mask)

    def linear(name, x):
        errors[name] = check_linear(weights, name, x, generator)
        return linear_(name, x)

    def attention(q, k, v):
        errors["attention"] = check_attention(attend, q, k, v, keep, block, generator)
        return attend(q, k, v)
    layer(x, linear, attention, angles)
    wrong = [name for name, error in errors.items() if not error <= (2.0**-6 if name == "attention" else 2.0**-7)]
    if wrong:
        sys.exit(f"layer.py: wrong: {wrong} of {errors}")
    return errors


# ---- times ----

def time_of(call, samples=7):
    for _ in range(2):
        call()
    events = [torch.cuda.Event(enable_timing=True) for _ in range(samples + 1)]
    events[0].record()
    for event in events[1:]:
        call()
        event.record()
    torch.cuda.synchronize()
    return statistics.median(before.elapsed_time(after) for before, after in zip(events, events[1:]))


def pieces_of(side, x, angles):
    """{piece: ms} of the products and attention."""
    linear, attend = side
    with torch.inference_mode():
        inputs = {"down": torch.randn(x.shape[0], MLP, device="cuda", dtype=x.dtype)}
        q, k, v = (linear(name, x).unflatten(-1, (-1, HEAD)) for name in "qkv")
        ms = {name: time_of(lambda: linear(name, inputs.get(name, x))) for name in SIZES}
        ms["attention"] = time_of(lambda: attend(q, k, v))
    return ms


def tune(block, tokens, seconds, db):
    """By triage_tune: the products as linear layers, and attention with a mask of the same density."""
    program = _native.folder.parent / "bin" / "triage_tune"
    shapes = [("--shape", f"{m},{tokens},{k}", "--sparsity", "0.9", "--block", str(block), "--layout", "col")
              for m, k in dict.fromkeys(SIZES.values())]
    shapes.append(("--op", "attention", "--shape", f"1,{HEADS},{KV_HEADS},{tokens},{tokens},{HEAD}", "--mask",
                   "causal+random-blocks:0.9", "--mask-block", str(block)))
    for options in shapes:
        done = subprocess.run([program, *options, "--dtype", "bf16", "--device", "cuda", "--db", str(db), "--quiet",
                               "--time-limit", str(seconds / len(shapes))], capture_output=True, text=True)
        print(" ".join(options), done.stdout.strip().splitlines()[-3:], done.stderr.strip()[-200:], flush=True)


def decoder_layer(args, block):
    if args.tune:
        tune(block, args.tokens, args.tune, args.db)
    tk.configure(db_path=args.db)
    weights = Weights(block, 0.9)
    mask, keep = causal_blocks(args.tokens, block, 0.9)
    x = torch.randn(args.tokens, HIDDEN, device="cuda", dtype=torch.bfloat16, generator=torch.Generator("cuda").manual_seed(1))
    angles = torch.outer(torch.arange(args.tokens, device="cuda"),
                         1e6 ** (-torch.arange(0, HEAD, 2, device="cuda") / HEAD)).repeat(1, 2)
    ours, theirs = sparse_side(weights, mask), dense_side(weights)
    with torch.inference_mode():
        errors = check(weights, mask, keep, block, x, angles)
        whole = [time_of(lambda: layer(x, *side, angles)) for side in (ours, theirs)]
    pieces = [pieces_of(side, x, angles) for side in (ours, theirs)]
    sums = [sum(ms.values()) for ms in pieces]
    print(f"block {block}: layer {whole[0]:.1f} ms, dense {whole[1]:.1f} ms: {whole[1] / whole[0]:.2f} times as fast; products and "
          f"attention {sums[1] / sums[0]:.2f} times", flush=True)
    return {"block": block, "tokens": args.tokens, "errors": errors, "ms": whole[0], "dense_ms": whole[1],
            "ratio": whole[1] / whole[0], "pieces_ms": pieces[0], "dense_pieces_ms": pieces[1], "pieces_ratio": sums[1] / sums[0]}


def training_step(size=8192, block=64, tokens=4096):
    """Forward and backward of one layer, gradients of x, values and bias; against nn.Linear of the same size."""
    dense = torch.nn.Linear(size, size, device="cuda", dtype=torch.bfloat16)
    sparse = tk.BlockSparseLinear.from_linear(dense, block, 0.9, "random", generator=torch.Generator().manual_seed(3))
    x = torch.randn(tokens, size, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    out = torch.randn(tokens, size, device="cuda", dtype=torch.bfloat16)

    def step(module):
        x.grad = None
        module.zero_grad()
        module(x).backward(out)
    step(sparse)
    want = out.double() @ sparse.matrix.to_dense().double()
    rows = sparse.matrix.block_rows()
    by_block = torch.stack([out[:, r * block:(r + 1) * block].double().T @ x.detach()[:, c * block:(c + 1) * block].double()
                            for r, c in zip(rows[:50].tolist(), sparse.col_idx[:50].tolist())])
    errors = {"dx": worst(x.grad, want), "dw": worst(sparse.values.grad[:50], by_block)}
    if not max(errors.values()) <= 2.0**-6:
        sys.exit(f"layer.py: wrong gradients: {errors}")
    ms = [time_of(lambda: step(module)) for module in (sparse, dense)]
    print(f"training step: {ms[0]:.2f} ms, dense {ms[1]:.2f} ms: {ms[1] / ms[0]:.2f} times as fast", flush=True)
    return {"size": size, "block": block, "tokens": tokens, "errors": errors, "ms": ms[0], "dense_ms": ms[1], "ratio": ms[1] / ms[0]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--tokens", type=int, default=65536)
    parser.add_argument("--blocks", default="128,64")
    parser.add_argument("--db", type=pathlib.Path, default=pathlib.Path("layer.db"))
    parser.add_argument("--tune", type=float, default=0, help="seconds of tuning for each size of blocks (default 0)")
    parser.add_argument("--only", choices=("layers", "training"), help="one of the two (default both)")
    parser.add_argument("--commit", default="unknown")
    args = parser.parse_args()
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = True  # cuBLAS's fastest
    record = {"commit": args.commit, "device": torch.cuda.get_device_name(), "torch": torch.__version__,
              "cuda": torch.version.cuda, "driver": subprocess.run(
                  ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"], capture_output=True, text=True).stdout.strip()}
    if args.only != "layers":
        tk.configure(db_path=args.db)
        record["training"] = training_step()
    if args.only != "training":
        record["layers"] = []
        for block in args.blocks.split(","):
            record["layers"].append(decoder_layer(args, int(block)))
            args.out.write_text(json.dumps(record, indent=1) + "\n")  # so far: a time limit may come
    args.out.write_text(json.dumps(record, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
