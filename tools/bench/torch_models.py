"""Times the reference programs in PyTorch, the same way as tools/bench/models.cpp does ours.

Usage: torch_models.py MODEL IMAGE_SIZE BATCH forward|train [THREADS]       (MODEL as in our presets)
"""
import os
import statistics
import sys
import time
from dataclasses import replace

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "reference"))
import torch
import torch.nn.functional as F

import atlas
import mambavision


def build(name, side):
    if name.startswith("mambavision-"):
        return mambavision.MambaVision(replace(mambavision.VARIANTS[name[12:].upper()], num_classes=100, drop_path_rate=0.0))
    width = {"s": atlas.SMALL, "b": atlas.BASE, "l": atlas.LARGE}[name[6:]]
    depths = (12,) if side <= 256 else (2, 10) if side <= 1024 else (2, 2, 8)
    return atlas.Atlas(atlas.Config(side, **width, depths=depths, drop_path_rate=0.0))


def main():
    name, side, batch, mode = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    torch.set_num_threads(int(sys.argv[5]) if len(sys.argv) > 5 else os.cpu_count())
    model, x, y = build(name, side), torch.randn(batch, 3, side, side), torch.arange(batch) % 100
    best = {}
    for layout in (torch.contiguous_format, torch.channels_last):
        model, x = model.to(memory_format=layout), x.to(memory_format=layout)
        if mode == "forward":
            model.eval()

            def step():
                with torch.no_grad():
                    model(x)
        else:
            model.train()
            optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

            def step():
                F.cross_entropy(model(x), y, label_smoothing=0.1).backward()
                optimizer.step()
                optimizer.zero_grad()
        step()
        times = []
        while len(times) < 3 or sum(times) < 1:
            start = time.perf_counter()
            step()
            times.append(time.perf_counter() - start)
        best[str(layout)] = statistics.median(times)
    layout = min(best, key=best.get)
    print(f"torch {torch.__version__}  {name} {side} px batch {batch} {mode}: {best[layout] * 1e3:.1f} ms median, "
          f"{batch / best[layout]:.2f} images/s ({layout})")


main()
