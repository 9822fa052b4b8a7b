"""Writes tests/ops/pytorch_table.safetensors: the inputs of the table in atlas/ops/pytorch.md, and what PyTorch gives
for each of its rows, by the text of the row.

Usage: python3 tools/reference/make_pytorch_table.py    (in the root of the repository; needs torch, torchvision and numpy)

Pictures, sequences and weights of convolutions are stored channels-last, as atlas reads them, and so are rows' results
of four axes; queries are stored [B, L, heads, D].
"""
import os
import re
import sys
import tempfile

import torch
import torch.nn.functional as F
import torchvision.ops as tv

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tensorfile

torch.manual_seed(1)
nan, inf = float("nan"), float("inf")


def rand(*shape):
    return torch.randn(*shape, dtype=torch.float64)


inputs = {
    "x": rand(2, 3), "y": rand(2, 3), "p": rand(2, 3).abs() + 0.1, "v": rand(3),
    "z": torch.tensor([[nan, 0.0, inf], [-inf, -2.0, nan]], dtype=torch.float64),
    "k": torch.tensor([[2, 0, 2], [-1, 3, -1]]), "i": torch.tensor([2, 0, 2, 1]), "labels": torch.tensor([1, 2]),
    "a": torch.tensor([[True, False, True], [True, True, True]]),
    "b": torch.tensor([[True, True, False], [False, True, False]]),
    "image": rand(2, 3, 4, 5), "filters": rand(4, 3, 3, 3), "up": rand(3, 2, 3, 3),
}
corners = rand(2, 5, 4).abs() * 3
corners[..., 2:] += corners[..., :2] + 0.5
inputs |= {"boxes": corners[0], "goals": corners[1] * 0.5 + corners[0] * 0.5, "scores": rand(5), "groups": torch.tensor([0, 1, 0, 1, 0]),
           "rois": torch.tensor([[0, 0.5, 1, 4.5, 6], [1, -1, 2, 9, 7], [1, 3, 3, 4, 5]], dtype=torch.float64)}
inputs |= {"q": rand(2, 2, 4, 3), "sequence": rand(2, 3, 5), "taps": rand(4, 3, 3)}


def last(t):
    return t.permute(0, 2, 3, 1).contiguous() if t.dim() == 4 else t


def result(row, path):
    """Of the last of the statements of a row."""
    *steps, value = row.split("; ")
    names = {"torch": torch, "F": F, "tv": tv, "path": path, **inputs}
    for step in steps:
        exec(step, names)
    return eval(value, names)


out = {name: last(t) for name, t in inputs.items()}
out["q"] = inputs["q"].transpose(1, 2)
for name in ("sequence", "taps"):
    out[name] = inputs[name].transpose(1, 2)
with tempfile.TemporaryDirectory() as folder:
    for line in open("atlas/ops/pytorch.md"):
        row = re.match(r"\| `(.*?)` \| `(.*?)` \|$", line)
        if row:
            out["= " + row[1]] = last(result(row[1], os.path.join(folder, "file")))
tensorfile.save("tests/ops/pytorch_table.safetensors", out)
print(len(out) - len(inputs), "rows")
