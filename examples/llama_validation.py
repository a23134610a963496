#!/usr/bin/env python3
"""A small Llama whose MLPs are block-sparse and whose attention is triage's, against the same model dense and masked.

    python examples/llama_validation.py [--device cuda] [--hidden 256] [--layers 2] [--dtype bfloat16]

Needs triage-kernels, torch and transformers; nothing is downloaded: the weights are random. Three models have the same
weights: the block-sparse one and the dense masked one (eager attention) in --dtype, and the dense one in float64, the judge.

    logits    The block-sparse model generates 64 tokens greedily; all three are led along these with their caches, a token at
              a time. At each step its logits may be FACTOR times as far from the judge's as the dense ones are at most.
    tokens    A random model has near ties, which the rounding of a 16-bit type settles one way or the other. So a step is
              decided where the judge's two largest logits are further apart than two logits can move within the above.
              There the token is the judge's, elsewhere one of those tied with it; most steps must be decided. Where all
              are (float32), the 64 tokens are those that the dense model generates by itself.
    training  The loss follows the masked dense model's within 1 %.

Prints tokens per second of both. Exit code 0: all holds; 1: something does not.
"""
import argparse
import copy
import sys
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM

import triage_kernels as tk

TOKENS = 64  # generated
FACTOR = 2


def make_models(args):
    """(judge, dense and masked, block-sparse): one function."""
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
    return copy.deepcopy(dense).double(), dense, sparse, names


def synchronize(device):
    if device.type == "cuda":
        torch.cuda.synchronize()


def generate(model, prompt):
    """(the tokens that follow, tokens a second)."""
    for _ in range(2):  # the first one compiles
        start = time.perf_counter()
        tokens = model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=TOKENS, min_new_tokens=TOKENS,
                                do_sample=False)
        synchronize(prompt.device)
        seconds = time.perf_counter() - start
    return tokens[:, prompt.shape[1]:], prompt.shape[0] * TOKENS / seconds


def led_along(model, prompt, tokens):
    """The logits before each of the tokens, [batch, tokens, vocabulary], by steps of one token with a cache."""
    out = model(prompt, use_cache=True)
    logits = [out.logits[:, -1]]
    for at in range(tokens.shape[1] - 1):
        out = model(tokens[:, at:at + 1], past_key_values=out.past_key_values, use_cache=True)
        logits.append(out.logits[:, -1])
    return torch.stack(logits, 1).double()


def compare(judge, dense, sparse, prompt, check):
    """What the block-sparse model generates, and the logits on the way. Tokens a second of both."""
    (tokens, rate), (others, other_rate) = generate(sparse, prompt), generate(dense, prompt)
    exact, theirs, ours = (led_along(model, prompt, tokens) for model in (judge, dense, sparse))
    limit = FACTOR * float((theirs - exact).abs().max())
    error = float((ours - exact).abs().max())
    check(f"logits of {TOKENS} steps are within {error:.1e} of the judge's; at most {FACTOR} times the dense ones' are "
          f"{limit:.1e} (the largest logit is {float(exact.abs().max()):.2f})", error <= limit)
    best = exact.topk(2, dim=-1).values
    decided = best[..., 0] - best[..., 1] > 2 * limit
    short = best[..., 0] - exact.gather(-1, tokens[..., None])[..., 0]  # of the judge's best
    right = bool((short[decided] == 0).all()) and float(short.max()) <= 2 * limit
    check(f"of {tokens.numel()} generated tokens the {int(decided.sum())} that are decided are the judge's, the others tied "
          "with it", right and 2 * int(decided.sum()) >= decided.numel())
    same = f"{int((tokens == others).sum())} of {tokens.numel()} tokens are those that the dense model generates"
    if bool(decided.all()):
        check(same, torch.equal(tokens, others))
    else:
        print(f"not asked: {same}")
    return rate, other_rate


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
    judge, dense, sparse, names = make_models(args)
    prompt = torch.randint(2, 512, (2, 32), generator=torch.Generator().manual_seed(1)).to(args.device)
    holds = True

    def check(what, good):
        nonlocal holds
        holds = holds and good
        print(f"{'ok' if good else 'DOES NOT HOLD'}: {what}", flush=True)

    with torch.inference_mode():
        rate, other_rate = compare(judge, dense, sparse, prompt, check)
    print(f"tokens a second: {rate:.0f} block-sparse, {other_rate:.0f} dense and masked")
    masks = {name: (dense.get_submodule(name).weight != 0).to(dense.dtype) for name in names}
    a, b = train(sparse, names, args.steps, args), train(dense, names, args.steps, args, masks)
    worst = max(abs(x - y) / y for x, y in zip(a, b))
    check(f"losses of {args.steps} steps differ by {100 * worst:.3f} %; at most 1 %", worst <= 0.01)
    check(f"the loss falls, {a[0]:.3f} to {a[-1]:.3f}", a[-1] < a[0])
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
