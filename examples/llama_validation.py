#!/usr/bin/env python3
"""A small Llama whose MLPs are block-sparse and whose attention is triage's, against the same model dense and masked.

    python examples/llama_validation.py [--device cuda] [--hidden 256] [--layers 2] [--dtype bfloat16]

Needs triage-kernels, torch and transformers; nothing is downloaded: the weights are random. Checks that the logits agree with
the dense-masked model's (eager attention), that 64 greedily generated tokens are the same, and that the loss of a training
loop follows the masked dense one within 1 %; prints tokens per second of both. Exit code 0: all holds; 1: something does not.
"""
import argparse
import copy
import sys
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM

import triage_kernels as tk


def make_models(args):
    """(dense and masked, block-sparse): one function."""
    torch.manual_seed(args.seed)
    config = LlamaConfig(hidden_size=args.hidden, intermediate_size=4 * args.hidden, num_hidden_layers=args.layers,
                         num_attention_heads=4, num_key_value_heads=2, vocab_size=512, max_position_embeddings=512,
                         attn_implementation="eager", use_cache=True, pad_token_id=0, bos_token_id=1, eos_token_id=None)
    dense = LlamaForCausalLM(config).to(device=args.device, dtype=getattr(torch, args.dtype)).eval()
    sparse = copy.deepcopy(dense)
    names = tk.sparsify_(sparse, lambda name, _: ".mlp." in name, args.block, args.sparsity)
    for name in names:
        dense.get_submodule(name).weight.data.copy_(sparse.get_submodule(name).matrix.to_dense())
    tk.register_with_transformers("triage")
    sparse.set_attn_implementation("triage")
    print(f"{len(names)} layers block-sparse at {args.sparsity}, blocks of {args.block}, on {tk.device_name(args.device)}")
    return dense, sparse, names


def synchronize(args):
    if args.device.startswith("cuda"):
        torch.cuda.synchronize()


def generate(model, prompt, args):
    """(64 more tokens, tokens a second)."""
    for _ in range(2):  # the first one compiles
        start = time.perf_counter()
        tokens = model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=64, min_new_tokens=64,
                                do_sample=False)
        synchronize(args)
        seconds = time.perf_counter() - start
    return tokens, prompt.shape[0] * 64 / seconds


def train(model, names, steps, args, masks=None):
    """The loss of each step, on one batch of random tokens."""
    generator = torch.Generator().manual_seed(args.seed)
    batch = torch.randint(2, 512, (4, 64), generator=generator).to(args.device)
    model.train()
    model.set_attn_implementation("eager")  # attention by triage has no gradient
    optimizer, losses = torch.optim.SGD(model.parameters(), 0.5), []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = model(batch, labels=batch).loss
        loss.backward()
        for name in masks or ():
            model.get_submodule(name).weight.grad *= masks[name]
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--dtype", default="float32", choices=("float32", "float16", "bfloat16"))
    parser.add_argument("--hidden", type=int, default=128, help="elements, a multiple of 4 blocks (default 128)")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--block", type=int, default=32)
    parser.add_argument("--sparsity", type=float, default=0.9)
    parser.add_argument("--steps", type=int, default=20, help="of training")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    dense, sparse, names = make_models(args)
    prompt = torch.randint(2, 512, (2, 32), generator=torch.Generator().manual_seed(1)).to(args.device)
    holds = True

    def check(what, good):
        nonlocal holds
        holds = holds and good
        print(f"{'ok' if good else 'DOES NOT HOLD'}: {what}", flush=True)

    with torch.inference_mode():
        ours, theirs = sparse(prompt).logits.float(), dense(prompt).logits.float()
        error = float((ours - theirs).abs().max() / theirs.abs().max())
        limit = {"float32": 1e-5, "float16": 1e-2, "bfloat16": 5e-2}[args.dtype]
        check(f"logits differ by {error:.1e} of the largest; at most {limit:.0e}", error <= limit)
        (tokens, rate), (others, other_rate) = generate(sparse, prompt, args), generate(dense, prompt, args)
        check("64 generated tokens are the same", torch.equal(tokens, others))
    print(f"tokens a second: {rate:.0f} block-sparse, {other_rate:.0f} dense and masked")
    masks = {name: (dense.get_submodule(name).weight != 0).to(dense.dtype) for name in names}
    a, b = train(sparse, names, args.steps, args), train(dense, names, args.steps, args, masks)
    worst = max(abs(x - y) / y for x, y in zip(a, b))
    check(f"losses of {args.steps} steps differ by {100 * worst:.3f} %; at most 1 %", worst <= 0.01)
    check(f"the loss falls, {a[0]:.3f} to {a[-1]:.3f}", a[-1] < a[0])
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
