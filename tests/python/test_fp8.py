"""float8 through python/triage on the host device: both kinds of scale against float64, and bad scales refused.

Takes the build folder; exit code 77 (skipped) where there is no PyTorch.
"""
import os
import pathlib
import sys

os.environ["TRIAGE_LIBRARY"] = str(pathlib.Path(sys.argv[1]) / "lib" / "libtriage.so")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "python"))
try:
    import torch
except ImportError:
    print("skipped: no PyTorch")
    sys.exit(77)
import triage  # noqa: E402

BLOCK, ROWS, COLS, TOKENS = 32, 4, 6, 40
KEPT = [(r, c) for r in range(ROWS) for c in range(COLS) if (r * 5 + c * 3) % 2 == 0]


def expected(values, x, scale_a, scale_b):
    dense = torch.zeros(ROWS * BLOCK, COLS * BLOCK, dtype=torch.float64)
    for i, (r, c) in enumerate(KEPT):
        scale = scale_a[i if scale_a.numel() > 1 else 0].double()
        dense[r * BLOCK:(r + 1) * BLOCK, c * BLOCK:(c + 1) * BLOCK] = scale * values[i].double()
    return x.double() @ dense.T * scale_b.double()


def error(got, want):
    """The largest, in relation to the element and the mean size of all."""
    return ((got.double() - want).abs() / (want.abs() + want.square().mean().sqrt())).max().item()


def refused(text, call, **arguments):
    try:
        call(**arguments)
    except triage.TriageError as problem:
        assert text in str(problem), problem
        return
    raise AssertionError(f"{arguments} was not refused")


def main():
    torch.manual_seed(0)
    context = triage.Context(device="host")
    row_ptr = torch.tensor([sum(r < row for r, _ in KEPT) for row in range(ROWS + 1)])
    values = torch.randn(len(KEPT), BLOCK, BLOCK).to(torch.float8_e4m3fn)
    w = triage.BsrMatrix(context, row_ptr, torch.tensor([c for _, c in KEPT]), values, COLS * BLOCK)
    x = torch.randn(TOKENS, COLS * BLOCK).to(torch.float8_e4m3fn)
    per_block, scale_b = torch.rand(len(KEPT)) + 0.3, torch.rand(1) + 1.3
    for scale_a in (per_block, per_block[:1].clone()):
        want = expected(values, x, scale_a, scale_b)
        for dtype, limit in ((None, 2**-8), (torch.float16, 2**-11), (torch.float32, 2**-20)):
            y = triage.linear(context, w, x, scale_a=scale_a, scale_b=scale_b, out_dtype=dtype)
            c = triage.bsr_gemm(context, w, x.T, scale_a=scale_a, scale_b=scale_b, out_dtype=dtype)
            assert y.dtype == c.dtype == (dtype or torch.bfloat16)
            assert error(y, want) <= limit and error(c.T, want) <= limit
        assert error(triage.linear(context, w, x, scale_b=scale_b), want) > 0.05  # the check can fail

    def linear(**arguments):
        return triage.linear(context, w, x, **arguments)

    refused("2 numbers; must be 1 or 12", linear, scale_a=per_block[:2].clone())
    refused("torch.float64", linear, scale_a=per_block.double())
    refused("must be 1", linear, scale_b=torch.ones(2))
    refused("contiguous", linear, scale_a=torch.ones(24)[::2])


main()
