"""Times the reference programs in PyTorch on a GPU, the same way as tools/bench/models.cpp does ours.

Usage: torch_models.py MODEL IMAGE_SIZE BATCH [--mode forward|train|both] [--precision float32|bf16|both]
                       [--how eager|compile] [--layout as-shipped|channels-last|both] [--device cpu] [--scan none]

MODEL as in our presets. Prints a line for each way, as soon as it is timed:
    MODE PRECISION VARIANT MILLISECONDS PEAK_MIB
or `MODE PRECISION VARIANT failed ERROR`.
For MambaVision the reference's Python loop over tokens is no fair peer: mamba_ssm's compiled scan takes its place where it
can be imported; else the scan is left out (y = u), which the line says with "no-scan". --scan none leaves it out anyway.
"""
import argparse
import os
import statistics
import sys
import time
from dataclasses import replace

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "reference"))
try:
    import torch
    import torch.nn.functional as F
except ImportError:
    sys.exit("torch_models: this Python has no PyTorch")

import atlas
import mambavision


def build(name, side):
    if name == "mambavision-toy":
        cfg = mambavision.Config(24, 16, (1, 1, 2, 2), (1, 2, 4, 8), (8, 8, side // 16, side // 32), num_classes=100)
        return mambavision.MambaVision(replace(cfg, drop_path_rate=0.0))
    if name.startswith("mambavision-"):
        return mambavision.MambaVision(replace(mambavision.VARIANTS[name[12:].upper()], num_classes=100, drop_path_rate=0.0))
    if name == "atlas-toy":
        return atlas.Atlas(atlas.Config(side, 64, 2, (1, 1), 2, 2, mlp_ratio=2, num_classes=100, stem_dim=32, patch=8, drop_path_rate=0.0))
    width = {"s": atlas.SMALL, "b": atlas.BASE, "l": atlas.LARGE}[name[6:]]
    depths = (12,) if side <= 256 else (2, 10) if side <= 1024 else (2, 2, 8)
    return atlas.Atlas(atlas.Config(side, **width, depths=depths, drop_path_rate=0.0))


def choose_scan(wanted):
    """Puts a scan into the reference that a GPU can be measured with; returns its name."""
    if wanted != "none":
        try:
            from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

            def scan(u, delta, A, B, C, D, bias):
                return selective_scan_fn(u, delta, A, B, C, D.float(), delta_bias=bias.float(), delta_softplus=True)

            mambavision.selective_scan = scan
            return "mamba_ssm"
        except ImportError:
            pass
    mambavision.selective_scan = lambda u, delta, A, B, C, D, bias: u * (delta + B.sum(1, keepdim=True) + C.sum(1, keepdim=True))
    return "no-scan"


def time_way(a, net, x, y, mode, precision):
    """Median milliseconds of a step, and MiB at its peak."""
    cuda = a.device == "cuda"
    wait = torch.cuda.synchronize if cuda else lambda: None
    net.train(mode == "train")
    call = torch.compile(net) if a.how == "compile" else net
    autocast = torch.autocast(a.device, torch.bfloat16, enabled=precision == "bf16")
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4, fused=cuda)

    def step():
        if mode == "forward":
            with torch.no_grad(), autocast:
                call(x)
            return
        with autocast:
            loss = F.cross_entropy(call(x), y, label_smoothing=0.1)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    for _ in range(3):
        step()
    wait()
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    times = []
    while len(times) < 3 or sum(times) < a.seconds:
        start = time.perf_counter()
        step()
        wait()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3, torch.cuda.max_memory_allocated() / 2**20 if cuda else 0


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model")
    p.add_argument("side", type=int)
    p.add_argument("batch", type=int)
    p.add_argument("--mode", default="both", choices=["forward", "train", "both"])
    p.add_argument("--precision", default="both", choices=["float32", "bf16", "both"])
    p.add_argument("--how", default="eager", choices=["eager", "compile"])
    p.add_argument("--layout", default="both", choices=["as-shipped", "channels-last", "both"])
    p.add_argument("--device", default="cuda")
    p.add_argument("--scan", default="auto", choices=["auto", "none"])
    p.add_argument("--seconds", type=float, default=1)
    a = p.parse_args()
    if a.device == "cuda" and not torch.cuda.is_available():
        sys.exit("torch_models: PyTorch sees no CUDA device (--device cpu tries everything but the times)")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False  # as ours: TF32 only when asked for
    torch.backends.cudnn.benchmark = True
    scan = choose_scan(a.scan) if a.model.startswith("mambavision") else ""
    y = (torch.arange(a.batch) % 100).to(a.device)
    torch.manual_seed(0)
    with torch.device(a.device):
        net = build(a.model, a.side)
        images = torch.randn(a.batch, 3, a.side, a.side)
    for mode in ["forward", "train"] if a.mode == "both" else [a.mode]:
        for precision in ["float32", "bf16"] if a.precision == "both" else [a.precision]:
            for layout in ["as-shipped", "channels-last"] if a.layout == "both" else [a.layout]:
                name = "/".join(filter(None, [a.how, layout, scan]))
                order = torch.channels_last if layout == "channels-last" else torch.contiguous_format
                try:
                    found = "%.3f %.0f" % time_way(a, net.to(memory_format=order), images.to(memory_format=order), y, mode, precision)
                except Exception as e:  # too little memory, or what the compiler cannot do
                    found = "failed " + " ".join(str(e).split())[:200]
                print(mode, precision, name, found, flush=True)
                net.zero_grad(set_to_none=True)
                torch.compiler.reset()
                if a.device == "cuda":
                    torch.cuda.empty_cache()


main()
