"""Times the reference programs in PyTorch on a GPU, the same way as tools/bench/models.cpp does ours.

Usage: torch_models.py MODEL IMAGE_SIZE BATCH forward|train float32|bf16 [eager|compile] [--device cpu] [--scan none]

MODEL as in our presets. Tries the model as shipped and channels-last and prints a line for each:
    VARIANT MILLISECONDS PEAK_MIB
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


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model")
    p.add_argument("side", type=int)
    p.add_argument("batch", type=int)
    p.add_argument("mode", choices=["forward", "train"])
    p.add_argument("precision", choices=["float32", "bf16"])
    p.add_argument("how", nargs="?", default="eager", choices=["eager", "compile"])
    p.add_argument("--device", default="cuda")
    p.add_argument("--scan", default="auto", choices=["auto", "none"])
    a = p.parse_args()
    if a.device == "cuda" and not torch.cuda.is_available():
        sys.exit("torch_models: PyTorch sees no CUDA device (--device cpu tries everything but the times)")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False  # as ours: TF32 only when asked for
    torch.backends.cudnn.benchmark = True
    wait = torch.cuda.synchronize if a.device == "cuda" else lambda: None
    scan = choose_scan(a.scan) if a.model.startswith("mambavision") else ""
    y = (torch.arange(a.batch) % 100).to(a.device)
    for layout in (torch.contiguous_format, torch.channels_last):
        torch.manual_seed(0)
        net = build(a.model, a.side).to(a.device).to(memory_format=layout).train(a.mode == "train")
        x = torch.randn(a.batch, 3, a.side, a.side, device=a.device).to(memory_format=layout)
        call = torch.compile(net) if a.how == "compile" else net
        autocast = torch.autocast(a.device, torch.bfloat16, enabled=a.precision == "bf16")
        if a.mode == "train":
            optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4, fused=a.device == "cuda")

        def step():
            if a.mode == "forward":
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
        if a.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        times = []
        while len(times) < 3 or sum(times) < 1:
            start = time.perf_counter()
            step()
            wait()
            times.append(time.perf_counter() - start)
        peak = torch.cuda.max_memory_allocated() / 2**20 if a.device == "cuda" else 0
        name = "/".join(filter(None, [a.how, "channels-last" if layout == torch.channels_last else "as-shipped", scan]))
        print(f"{name} {statistics.median(times) * 1e3:.3f} {peak:.0f}", flush=True)
        del net, call, x
        torch.compiler.reset()


main()
