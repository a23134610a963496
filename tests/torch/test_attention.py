"""Attention of triage_kernels on the CPU, against torch in float64.

    python tests/torch/test_attention.py
"""
import unittest
from unittest import mock

import torch
import torch.nn.functional as F
from torch.nn.attention.flex_attention import create_block_mask

import triage_kernels as tk

ops = torch.ops.triage


def draw(*sizes, dtype=torch.float32, seed=0):
    return torch.randn(*sizes, generator=torch.Generator().manual_seed(seed)).to(dtype)


def exact(q, k, v, seen=None, scale=None, softcap=None):
    """[.., queries, d] and the log-sum-exp, in float64; seen: which keys, or all."""
    group = q.shape[-3] // k.shape[-3]
    q, k, v = q.double(), *(t.double().repeat_interleave(group, -3) for t in (k, v))
    scores = q @ k.transpose(-1, -2) * (scale or q.shape[-1] ** -0.5)
    if softcap:
        scores = softcap * torch.tanh(scores / softcap)
    if seen is not None:
        scores = scores.masked_fill(~seen, -torch.inf)
    return torch.nan_to_num(scores.softmax(-1)) @ v, scores.logsumexp(-1)


def causal(queries, keys, shift=None):
    shift = keys - queries if shift is None else shift
    return torch.arange(keys)[None] <= torch.arange(queries)[:, None] + shift


class Case(unittest.TestCase):
    def near(self, got, want):
        unit = {torch.float32: 2.0**-18, torch.float16: 2.0**-9, torch.bfloat16: 2.0**-6}[got.dtype]
        self.assertEqual(got.shape, want.shape)
        finite = torch.isfinite(want)
        self.assertTrue(torch.equal(torch.isfinite(got), finite))
        got, want = got.double()[finite], want.double()[finite]
        scale = want.square().mean().sqrt().clamp_min(1e-30)
        self.assertLessEqual(float(((got - want).abs() / (want.abs() + scale)).max()), unit)

    def refused(self, words, call, *arguments, **options):
        with self.assertRaises(tk.TriageError) as caught:
            call(*arguments, **options)
        for word in words if isinstance(words, tuple) else (words,):
            self.assertIn(word, str(caught.exception))


class Results(Case):
    def test_masks(self):
        q, k, v = draw(2, 4, 17, 64), draw(2, 2, 40, 64, seed=1), draw(2, 2, 40, 32, seed=2)
        at, keys = torch.arange(17)[:, None] + 23, torch.arange(40)[None]
        for options, seen in (({}, None), ({"causal": True}, causal(17, 40)), ({"causal": "top_left"}, causal(17, 40, 0)),
                              ({"window": (5, 2)}, (keys >= at - 5) & (keys <= at + 2)),
                              ({"window": (5, None), "causal": True}, (keys >= at - 5) & (keys <= at))):
            o, lse = tk.attention(q, k, v, return_lse=True, scale=0.3, **options)
            want = exact(q, k, v, seen, 0.3)
            self.near(o, want[0])
            self.near(lse, want[1])
        self.near(tk.attention(q, k, v, softcap=2.0), exact(q, k, v, softcap=2.0)[0])

    def test_types_layouts_and_empty(self):
        for dtype in (torch.float16, torch.bfloat16):
            q, k, v = draw(1, 20, 2, 64, dtype=dtype), draw(1, 20, 2, 64, dtype=dtype, seed=1), draw(1, 20, 2, 64, dtype=dtype)
            o = tk.attention(q, k, v, layout="bshd", causal=True)
            self.assertTrue(o.is_contiguous())
            self.near(o.transpose(1, 2), exact(*(t.transpose(1, 2) for t in (q, k, v)), causal(20, 20))[0])
        q, k = draw(2, 2, 0, 32), draw(2, 2, 5, 32)
        self.assertEqual(tk.attention(q, k, k).shape, (2, 2, 0, 32))
        o, lse = tk.attention(k, k[:, :, :0], k[:, :, :0], return_lse=True)
        self.assertEqual((float(o.abs().max()), float(lse.max())), (0, -torch.inf))
        shared = draw(1, 1, 5, 32).expand(2, 2, 5, 32)  # only read: may be expanded
        self.near(tk.attention(k, shared, shared), exact(k, shared, shared)[0])

    def test_varlen(self):
        ends = torch.tensor([0, 5, 5, 30], dtype=torch.int32)
        q, k, v = draw(30, 4, 32), draw(30, 2, 32, seed=1), draw(30, 2, 32, seed=2)
        o, lse = tk.attention_varlen(q, k, v, ends, ends, 25, 25, causal=True, return_lse=True)
        for a, b in ((0, 5), (5, 30)):
            want = exact(*(t[a:b].transpose(0, 1) for t in (q, k, v)), causal(b - a, b - a))
            self.near(o[a:b].transpose(0, 1), want[0])
            self.near(lse[:, a:b], want[1])

    def test_cache(self):
        q, k, v = draw(2, 4, 3, 32), draw(2, 2, 48, 32, seed=1), draw(2, 2, 48, 32, seed=2)
        used = torch.tensor([9, 40], dtype=torch.int32)
        o = tk.attention_kvcache(q, k, v, used, causal=True)
        table = torch.tensor([[2, 0, 5], [1, 4, 3]], dtype=torch.int32)
        pages = [torch.empty(6, 2, 16, 32) for _ in range(2)]
        for sequence in range(2):
            for at in range(3):
                for page, cache in zip(pages, (k, v)):
                    page[table[sequence, at]] = cache[sequence, :, 16 * at:16 * at + 16]
        paged = tk.attention_kvcache(q, *pages, used, table, causal=True, splits=4)
        for i, keys in enumerate(used.tolist()):
            want = exact(q[i], k[i, :, :keys], v[i, :, :keys], causal(3, keys))[0]
            self.near(o[i], want)
            self.near(paged[i], want)

    def test_block_masks(self):
        q, k, v = draw(2, 2, 100, 32), draw(2, 2, 130, 32, seed=1), draw(2, 2, 130, 32, seed=2)
        documents = torch.randint(0, 3, (130,), generator=torch.Generator().manual_seed(3)).sort().values

        def mod(b, h, i, j):
            return (documents[i] == documents[j]) & (i >= j - 20) & ((h + b) % 2 * 7 <= j)
        flex = create_block_mask(mod, 2, 2, 100, 130, device="cpu", BLOCK_SIZE=(32, 16))
        seen = mod(*(torch.arange(n).view([-1 if i == axis else 1 for i in range(4)])
                     for axis, n in enumerate((2, 2, 100, 130))))
        mask = tk.from_block_mask(flex)
        self.near(tk.attention(q, k, v, block_mask=mask), exact(q, k, v, seen)[0])
        self.near(tk.attention(q, k, v, block_mask=flex, causal=True), exact(q, k, v, seen & causal(100, 130))[0])

    def test_float8(self):
        q, k, v = (draw(2, heads, 20, 32, seed=i).to(torch.float8_e4m3fn) for i, heads in enumerate((4, 2, 2)))
        scales = [torch.rand(2, 2, generator=torch.Generator().manual_seed(i)) + 0.5 for i in range(3)]
        scaled = [t.double() * s[:, :, None, None].repeat_interleave(t.shape[1] // 2, 1) for t, s in zip((q, k, v), scales)]
        given = dict(q_scale=scales[0], k_scale=scales[1], v_scale=scales[2])
        want = exact(*scaled, causal(20, 20))[0]
        self.near8(tk.attention(q, k, v, causal=True, **given), want)
        used = torch.full((2,), 20, dtype=torch.int32)
        self.near8(tk.attention_kvcache(q, k, v, used, causal=True, **given), want)
        rows = [t.transpose(1, 2).flatten(0, 1) for t in (q, k, v)]
        ends = torch.tensor([0, 20, 40], dtype=torch.int32)
        self.near8(tk.attention_varlen(*rows, ends, ends, 20, 20, causal=True, **given).unflatten(0, (2, 20)).transpose(1, 2), want)
        mask = tk.select_blocks(q, k, 2, 16)  # all there are
        self.near8(tk.attention(q, k, v, causal=True, block_mask=mask, **given), want)
        twice = tk.attention(q, k, v, v_scale=torch.full((1,), 2.0))
        self.near8(twice, 2 * exact(q, k, v)[0])

    def near8(self, got, want):
        """The weights are rounded to e4m3, too."""
        self.assertEqual(got.dtype, torch.bfloat16)
        self.assertLess(float((got.double() - want).abs().max()), 0.03 * float(want.abs().max()))

    def test_the_best_blocks(self):
        q, k, v = draw(2, 4, 100, 32), draw(2, 2, 130, 32, seed=1), draw(2, 2, 130, 32, seed=2)

        def means(t, block):
            return torch.stack([part.double().mean(2) for part in t.split(block, 2)], 2)
        for per_kv_head in (False, True):
            queries = q.unflatten(1, (2, 2)).mean(2) if per_kv_head else q
            scores = means(queries, 32) @ means(k, 16).repeat_interleave(queries.shape[1] // 2, 1).transpose(2, 3)
            mask = tk.select_blocks(q, k, 3, (32, 16), per_kv_head=per_kv_head)
            self.assertEqual(mask.full_count.unique().tolist(), [3])
            self.assertTrue(torch.equal(mask.full_cols.long(), scores.topk(3).indices.sort().values))
            seen = torch.zeros(scores.shape, dtype=torch.bool).scatter_(-1, mask.full_cols.long(), True)
            seen = seen.repeat_interleave(4 // seen.shape[1], 1).repeat_interleave(32, 2).repeat_interleave(16, 3)
            self.near(tk.attention(q, k, v, block_mask=mask), exact(q, k, v, seen[:, :, :100, :130])[0])
        mask = tk.select_blocks(q, k[:, :, :100], 2, 32, causal=True)
        own = torch.arange(4).view(1, 1, 4, 1)
        used = torch.arange(2) < mask.full_count[..., None]
        self.assertTrue(bool(((mask.full_cols == own) & used).any(-1).all()))
        self.assertTrue(bool((mask.full_cols <= own)[used].all()))

    def test_autocast(self):
        q = draw(1, 2, 8, 32)
        with torch.autocast("cpu", torch.bfloat16):
            self.assertEqual(tk.attention(q, q, q).dtype, torch.bfloat16)
            self.assertEqual(tk.scaled_dot_product_attention(q, q, q).dtype, torch.bfloat16)

    def test_scaled_dot_product_attention(self):
        q, k, v = draw(2, 4, 20, 64), draw(2, 2, 24, 64, seed=1), draw(2, 2, 24, 64, seed=2)
        with mock.patch("torch.nn.functional.scaled_dot_product_attention", side_effect=AssertionError("by torch")):
            ours = tk.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        self.near(ours, F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True))
        for q_, k_, options in ((q, k[:1], {"enable_gqa": True}), (q[0], q[0], {}), (q, q, {"scale": -1.0})):  # torch takes these
            self.near(tk.scaled_dot_product_attention(q_, k_, k_, **options),
                      F.scaled_dot_product_attention(q_, k_, k_, **options))
        bias = draw(20, 24)
        with self.assertLogs("triage_kernels", "INFO") as said:
            theirs = tk.scaled_dot_product_attention(q, k, v, bias, enable_gqa=True)
        self.assertIn("attn_mask", said.output[0])
        self.near(theirs, F.scaled_dot_product_attention(q, k, v, bias, enable_gqa=True))


class Tracing(Case):
    def test_opcheck(self):
        q, k = draw(1, 2, 8, 32), draw(1, 2, 12, 32)
        turned = draw(1, 8, 2, 32).transpose(1, 2)
        ends = torch.tensor([0, 3, 8], dtype=torch.int32)
        rows = draw(8, 2, 32)
        torch.library.opcheck(ops.attention.default, (turned, k, k, "causal", -1, -1, 0.0, 0.0, True))
        torch.library.opcheck(ops.attention_varlen.default, (rows, rows, rows, ends, ends, 5, 5))
        torch.library.opcheck(ops.attention_kvcache.default, (q, k, k, torch.tensor([7], dtype=torch.int32)))
        count, cols = torch.ones(1, 1, 1, dtype=torch.int32), torch.zeros(1, 1, 1, 1, dtype=torch.int32)
        torch.library.opcheck(ops.sparse_attention.default, (q, k, k, count, cols, None, None, None, 16, 16))
        torch.library.opcheck(ops.select_blocks.default, (q, k, 16, 16, 1, True))  # all there are: no place is left unwritten
        eighth, scale = k.to(torch.float8_e4m3fn), torch.ones(1, 2)
        torch.library.opcheck(ops.attention.default, (eighth, eighth, eighth, "full", -1, -1, 0.0, 0.0, False, scale, None, scale),
                              test_utils="test_faketensor")  # torch compares no float8 with itself

    def test_compile(self):
        def step(q):
            return tk.attention(q * 2, q, q, causal=True) + 1
        compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
        with torch.no_grad():
            for rows in (8, 13):
                q = draw(1, 2, rows, 32)
                self.near(compiled(q), step(q))


class Refusals(Case):
    def test_by_name(self):
        q, k, v = draw(2, 4, 8, 32), draw(2, 2, 8, 32), draw(2, 2, 8, 32)
        self.refused("a gradient is asked", tk.attention, q.clone().requires_grad_(), k, v)
        self.refused(("k has 3 heads", "4"), tk.attention, q, draw(2, 3, 8, 32), draw(2, 3, 8, 32))
        self.refused(("k ", "32"), tk.attention, q, k[..., :16].contiguous(), v)
        self.refused(("v ", "as in k"), tk.attention, q, k, v[:, :, :7])
        self.refused(("k is float16", "float32"), tk.attention, q, k.half(), v)
        self.refused(("q is float64", "float32"), tk.attention, q.double(), k, v)
        self.refused(("q ", "4 dimensions"), tk.attention, q[0], k, v)
        self.refused(("v ", "stride 2"), tk.attention, q, k, draw(2, 2, 8, 64)[..., ::2])
        self.refused(("causal is 'left'", "top_left"), tk.attention, q, k, v, causal="left")
        self.refused(("scale is -1", "above 0"), tk.attention, q, k, v, scale=-1)
        self.refused(("layout is 'hbsd'", "bshd"), tk.attention, q, k, v, layout="hbsd")
        self.refused("q is a list; must be of type Tensor", tk.attention, [1], k, v)
        self.refused("k is a NoneType", tk.attention, q, None, v)
        self.refused(("window is 3", "(left, right)"), tk.attention, q, k, v, window=3)
        self.refused(("softcap is -1", "above 0"), tk.attention, q, k, v, softcap=-1)
        self.refused(("block_mask is a list", "BlockMask"), tk.attention, q, k, v, block_mask=[1])
        self.refused(("q_scale is given and q is float32", "float8_e4m3fn"), tk.attention, q, k, v, q_scale=torch.ones(2, 2))
        eighth = [t.to(torch.float8_e4m3fn) for t in (q, k, v)]
        self.refused(("k_scale ", "(2, 3)", "the heads of k"), tk.attention, *eighth, k_scale=torch.ones(2, 3))
        self.refused(("v_scale is float64", "float32"), tk.attention, *eighth, v_scale=torch.ones(2, 2).double())
        self.refused(("q_scale ", "2 dimensions"), tk.attention, *eighth, q_scale=torch.ones(3))
        self.refused(("top is 2", "1 to 1"), tk.select_blocks, q, k, 2, 16)
        self.refused(("top is a str", "int"), tk.select_blocks, q, k, "2", 16)
        self.refused("33 x 33", tk.select_blocks, q, k, 1, 33)
        self.refused("k has no rows", tk.select_blocks, q, k[:, :, :0], 1, 16)
        ends = torch.tensor([0, 8], dtype=torch.int32)
        rows = draw(8, 2, 32)
        self.refused(("cu_q is int64", "int32"), tk.attention_varlen, rows, rows, rows, ends.long(), ends, 8, 8)
        self.refused(("cu_k ", "as in cu_q"), tk.attention_varlen, rows, rows, rows, ends, ends[:1], 8, 8)
        self.refused(("len_k ", "batch"), tk.attention_kvcache, q, k, v, torch.ones(3, dtype=torch.int32))
        count, cols = torch.ones(1, 1, 1, dtype=torch.int32), torch.full((1, 1, 1, 1), 5, dtype=torch.int32)
        self.refused(("full_count", "capacity"), tk.BlockMask, (16, 16), count * 2, cols)
        self.refused(("full_cols names blocks 5", "0 to 0"), tk.BlockMask((16, 16), count, cols).check, 8)
        self.refused(("full_count ", "the blocks of queries"), tk.attention, draw(2, 4, 40, 32), k, v,
                     block_mask=tk.BlockMask((16, 16), count, cols * 0))


if __name__ == "__main__":
    unittest.main()
