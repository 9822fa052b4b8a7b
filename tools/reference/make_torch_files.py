"""Writes small PyTorch files with every kind of tensor and neighbor that readers meet.

Usage: python3 make_torch_files.py OUT_DIR       (needs PyTorch >= 2.3 and numpy)
"""
import argparse
import collections
import os
import sys
import zipfile

import numpy
import torch

OUT = sys.argv[1]

base = torch.arange(24, dtype=torch.float32).reshape(4, 6)  # every view below shows parts of 0..23
dtypes = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
          torch.uint8]
everything = {"type." + str(t).split(".")[1]: torch.tensor([[0, 1, 2], [3, 4, 100]], dtype=t) for t in dtypes}
everything |= {
    "type.bool": torch.tensor([True, False, True]),
    "type.complex64": torch.tensor([1 + 2j, 3 - 4j], dtype=torch.complex64),
    "type.complex128": torch.tensor([[0.5j]], dtype=torch.complex128),
    "negative.int32": torch.tensor([-1, -2**31], dtype=torch.int32),
    "negative.int8": torch.tensor([-1, -128], dtype=torch.int8),
    "view.transposed": base.t(),
    "view.slice": base[1:3, 2:5],
    "view.step": base[::2, ::3],
    "view.expanded": base[0, :1].expand(5, 3),
    "view.whole": base,
    "shape.scalar": torch.tensor(7.5),
    "shape.empty": torch.zeros(0, 3),
    "shape.five": torch.arange(12.).reshape(1, 2, 1, 3, 2),
    "parameter": torch.nn.Parameter(torch.tensor([1., 2.])),
    "frozen": torch.nn.Parameter(torch.tensor([3.]), requires_grad=False),
}
module = torch.nn.BatchNorm1d(2)
neighbors = {
    "epoch": 3, "big": 2**70, "negative": -5, "best": 82.3, "nothing": None, "flag": True, "name": "größe",
    "args": argparse.Namespace(lr=1e-3, betas=(0.9, 0.999), tags=["a", "b"], data={"x": 1}),
    "scalar": numpy.float64(0.25), "array": numpy.arange(3), "size": torch.Size([1, 2]), "device": torch.device("cpu"),
    "dtype": torch.float16, "set": {1, 2}, "frozen": frozenset([3]), "bytes": b"\x00\xff", "array of bytes": bytearray(b"ab"),
    "complex": 1 + 2j, "long": list(range(1500)), "counts": collections.Counter("abca"),
    "defaults": collections.defaultdict(list, a=[1]), "pair": collections.OrderedDict([("a", 1)]), "same": [base, base],
    "optimizer": {"state": {0: {"exp_avg": torch.ones(2), "step": torch.tensor(3.)}}, "param_groups": [{"lr": 1e-3}]},
}
for protocol in (2, 3, 4, 5):
    torch.save({"state_dict": everything, **neighbors}, f"{OUT}/zip_protocol{protocol}.pth", pickle_protocol=protocol)
    torch.save({"state_dict": everything, **neighbors}, f"{OUT}/legacy_protocol{protocol}.pth", pickle_protocol=protocol,
               _use_new_zipfile_serialization=False)
torch.save({"type.uint16": torch.tensor([65535], dtype=torch.uint16), "type.uint32": torch.tensor([2**32 - 1], dtype=torch.uint32),
            "type.uint64": torch.tensor([2**63 - 1], dtype=torch.uint64),
            "type.float8_e4m3fn": torch.tensor([1.5, -448], dtype=torch.float8_e4m3fn),
            "type.float8_e5m2": torch.tensor([1.5, -57344], dtype=torch.float8_e5m2)}, f"{OUT}/new_types.pth")
torch.save(module.state_dict(), f"{OUT}/module.pth")  # an OrderedDict with metadata
torch.save({"state_dict": {"w": torch.tensor([1.])}, "state_dict_ema": {"module.w": torch.tensor([2.])}}, f"{OUT}/averaged.pth")
torch.save({"ema": {"state_dict": {"w": torch.tensor([3.])}}, "trunk": {"w": torch.tensor([4.])}}, f"{OUT}/nested.pth")
torch.save({"type.float64": torch.tensor([1e6, -1e300, 3.], dtype=torch.float64)}, f"{OUT}/large.pth")
torch.save(module, f"{OUT}/whole_module.pth")  # names a class: refused
torch.save({"weight": torch.zeros(2), "system": os.system}, f"{OUT}/system.pth")  # refused
torch.jit.save(torch.jit.script(module), f"{OUT}/script.pt")  # a program: refused
with zipfile.ZipFile(f"{OUT}/module.pth") as stored, zipfile.ZipFile(f"{OUT}/deflated.pth", "w", zipfile.ZIP_DEFLATED) as packed:
    for name in stored.namelist():
        packed.writestr(name, stored.read(name))
with zipfile.ZipFile(f"{OUT}/module.pth") as stored, zipfile.ZipFile(f"{OUT}/big_endian.pth", "w") as packed:
    for name in stored.namelist():
        packed.writestr(name, b"big" if name.endswith("byteorder") else stored.read(name))
