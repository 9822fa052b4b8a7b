"""PyTorch's side of the benchmark: a process that is told over a pipe what to build and when to run a step of it.

tools/bench/peer.h starts it. One command a line on the standard input, one line answers each ("error TEXT" when it fails):
    open WORK       builds "model atlas-b 1024 1 forward", "conv 192 256 forward", "linear 4096 768 3072 forward" or
                    what dense_work.h names, with the formula's numbers            -> ok RESIDENT_BYTES_BEFORE
    use VARIANT     eager or compile, contiguous or channels_last: "eager/contiguous"; runs it once -> ok SECONDS
    answer          the numbers of the first step that both sides must agree on     -> values V...
    step N          runs N steps                                                    -> time SECONDS
    memory          the largest resident set since `use` was done                   -> memory BYTES
"""
import os
import sys
import time
from dataclasses import replace

out = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what libraries print goes to the standard error stream
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "reference"))

import numpy as np
import torch
import torch._inductor.config
import torch.nn.functional as F

import atlas
import formula
import mambavision

BF16 = os.environ.get("ATLAS_BENCH_PRECISION") == "bf16"
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def preset(name, side):
    """The reference model that our preset of that name is (models/presets.h)."""
    if name == "mambavision-toy":
        cfg = mambavision.Config(24, 16, (1, 1, 2, 2), (1, 2, 4, 8), (8, 8, side // 16, side // 32), num_classes=10)
    elif name.startswith("mambavision-"):
        cfg = mambavision.VARIANTS[name[12:].upper()]
    elif name == "atlas-toy":
        cfg = atlas.Config(side, 64, 2, (1, 1), 2, 2, mlp_ratio=2, num_classes=10, stem_dim=32, patch=8)
    else:
        width = {"s": atlas.SMALL, "b": atlas.BASE, "l": atlas.LARGE}[name[6:]]
        window = next(w for w in (16, 15, 17, 14, 18) if side // 16 % w == 0 or side // 16 <= w)
        depths = (12,) if side // 16 <= 16 else (2, 10) if side <= 1024 else (2, 2, 8)
        cfg = atlas.Config(side, **width, depths=depths, window=window)
    cfg = replace(cfg, drop_path_rate=0.0)
    return mambavision.MambaVision(cfg) if name.startswith("mambavision") else atlas.Atlas(cfg)


def tensor(name, *shape):
    return torch.from_numpy(formula.uniform(name, int(np.prod(shape))).reshape(shape)).float()


def sample(t):
    flat = t.detach().flatten()
    return flat[::max(1, flat.numel() // 1009)].tolist()


class Model:
    def __init__(self, name, side, batch, mode):
        self.train = mode == "train"
        self.net = formula.fill(preset(name, int(side))).train(self.train)
        self.x = torch.from_numpy(formula.image(int(batch), int(side), int(side))).float()
        head = self.net.head if name.startswith("mambavision") else self.net.fc
        self.y = torch.arange(int(batch)) % head.out_features

    def prepare(self, compiled, layout):
        self.net, self.x = self.net.to(memory_format=layout), self.x.contiguous(memory_format=layout)
        self.call = torch.compile(self.net) if compiled else self.net
        if self.train:
            decay = [p for p in self.net.parameters() if p.ndim > 1]
            plain = [p for p in self.net.parameters() if p.ndim <= 1]
            self.optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}],
                                               lr=1e-4, fused=True)

    def loss_and_gradients(self):
        loss = F.cross_entropy(self.call(self.x), self.y, label_smoothing=0.1)
        loss.backward()
        return loss

    def step(self):
        if self.train:
            self.loss_and_gradients()
            self.optimizer.step()
            self.optimizer.zero_grad()
        else:
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=BF16):
                return self.call(self.x)

    def warm(self):
        """Everything that a step runs, without moving the weights, so that the answer can be asked for later."""
        if self.train:
            self.loss_and_gradients()
            self.optimizer.zero_grad()
        else:
            self.step()

    def answer(self):
        if not self.train:
            return self.step().float().flatten().tolist()
        loss = self.loss_and_gradients().item()
        norms = [p.grad.double().norm().item() for _, p in sorted(self.net.named_parameters())]
        self.optimizer.zero_grad()
        return [loss] + norms


class Conv:
    def __init__(self, channels, side, mode):
        c, s, self.train = int(channels), int(side), mode == "train"
        self.x, self.w, self.b = tensor("x", 1, c, s, s), tensor("w", c, c, 3, 3) * (3 / (9 * c)) ** 0.5, tensor("b", c)

    def prepare(self, compiled, layout):
        self.x, self.w = self.x.contiguous(memory_format=layout), self.w.contiguous(memory_format=layout)
        if self.train:
            for t in (self.x, self.w, self.b):
                t.requires_grad_()
        conv = torch.nn.Conv2d(self.w.shape[1], self.w.shape[0], 3, 1, 1).to(memory_format=layout)
        conv.weight.data, conv.bias.data = self.w, self.b
        if self.train:
            self.w, self.b = conv.weight, conv.bias
        self.call = torch.compile(conv) if compiled else conv

    def step(self):
        if not self.train:
            with torch.no_grad():
                return self.call(self.x)
        y = self.call(self.x)
        return torch.autograd.grad(y, (self.x, self.w, self.b), y.detach())

    warm = step

    def answer(self):
        return [g.double().norm().item() for g in self.step()] if self.train else sample(self.step())


class Linear:
    def __init__(self, rows, n_in, n_out, kind):
        rows, n_in, n_out = int(rows), int(n_in), int(n_out)
        self.x, self.w, self.b = tensor("x", rows, n_in), tensor("w", n_out, n_in), tensor("b", n_out)
        self.dy, self.kind = tensor("dy", rows, n_out), kind

    def prepare(self, compiled, layout):
        pass

    def step(self):
        with torch.no_grad():
            if self.kind == "forward":
                return F.linear(self.x, self.w, self.b)
            return self.dy @ self.w if self.kind == "dx" else self.dy.t() @ self.x

    warm = step

    def answer(self):
        return sample(self.step())


def dense_config(name):
    """The reference configuration that our preset of that name is (models/heads), without chance."""
    import cascade_mask_rcnn
    import upernet
    family = upernet if name.startswith("upernet") else cascade_mask_rcnn
    cfg = family.published(name.rsplit("-", 1)[1].upper())
    cfg = replace(cfg, backbone=replace(cfg.backbone, drop_path_rate=0.0))
    return family, replace(cfg, dropout=0.0) if family is upernet else cfg


class Dense:
    """A model whose loss has parts. `parts()` gives them in order."""

    def prepare(self, compiled, layout):
        self.net, self.x = self.net.to(memory_format=layout), self.x.contiguous(memory_format=layout)
        if self.train:
            decay = [p for p in self.net.parameters() if p.ndim > 1]
            plain = [p for p in self.net.parameters() if p.ndim <= 1]
            self.optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}],
                                               lr=1e-4, fused=True)

    def backward(self):
        parts = self.parts()
        total = sum(parts)
        total.backward()
        return [p.item() for p in parts] + [total.item()]

    def step(self):
        if not self.train:
            with torch.no_grad():
                return self.forward()
        self.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def warm(self):
        if self.train:
            self.backward()
            self.optimizer.zero_grad()
        else:
            self.step()

    def answer(self):
        if not self.train:
            with torch.no_grad():
                return self.numbers()
        all = self.backward()
        all.append(sum(p.grad.double().norm().item() ** 2 for p in self.net.parameters() if p.grad is not None) ** 0.5)
        self.optimizer.zero_grad()
        return all


class Segment(Dense):
    def __init__(self, name, height, width, mode):
        self.train, self.size = mode == "train", (int(height), int(width))
        family, cfg = dense_config(name)
        self.net = formula.fill(family.UPerNet(cfg)).train(self.train)
        self.x = torch.from_numpy(formula.image(2 if self.train else 1, *self.size)).float()
        y, x = torch.arange(self.size[0])[:, None] // 16, torch.arange(self.size[1])[None] // 16
        self.y = ((y + x) % cfg.num_classes)[None].expand(len(self.x), -1, -1)

    def forward(self):
        return self.net.predict(self.x, self.size)

    def numbers(self):
        return sample(self.net.decode_head(self.net.backbone(self.x)).contiguous())

    def parts(self):
        losses = self.net.loss(self.x, self.y)
        return [losses["decode.loss_ce"], losses["aux.loss_ce"]]


class Detect(Dense):
    def __init__(self, name, height, width, mode):
        import torchvision.ops as tv
        self.train, (h, w) = mode == "train", (int(height), int(width))
        family, cfg = dense_config(name)
        # The reference is written to be read; PyTorch's users have these two compiled.
        family.nms = lambda boxes, scores, threshold: tv.nms(boxes, scores, threshold)
        family.roi_align = lambda fmap, rois, bins, scale: tv.roi_align(fmap, rois, bins, scale, 0, True)
        self.family, self.cfg, self.size = family, cfg, (h, w)
        self.net = formula.fill(family.CascadeMaskRCNN(cfg)).train(self.train)
        self.x = torch.from_numpy(formula.image(1, h, w)).float()
        boxes, masks = torch.empty(8, 4), torch.zeros(8, h, w)
        for i in range(8):
            left, top = i * w // 10, i * h // 12
            right, bottom = left + w // 8 + 4 * i, top + h // 6 + 8 * i
            boxes[i] = torch.tensor([left, top, right, bottom])
            masks[i, top:bottom, left:right] = 1
        self.truth = family.Truth(boxes, torch.arange(8), masks)

    def forward(self):
        return self.net.predict(self.x, [self.size], [self.size])

    def numbers(self):
        logits, deltas, _ = self.net.rpn_head(self.net.neck(self.net.backbone(self.x)))
        return [t.double().norm().item() for level in zip(logits, deltas) for t in level]

    def parts(self):
        losses = self.net.loss(self.x, [self.truth], [self.size])
        return [v for k, v in losses.items() if k != "loss"]


def formula_boxes(count, side):
    at, size = tensor("at", count, 2).double(), tensor("size", count, 2).double()
    low = (at + 1) / 2 * side * 0.7
    return torch.cat([low, low + 8 + (size + 1) / 2 * side * 0.25], 1).float()


class RoiAlign:
    def __init__(self, channels, side, rois, mode):
        import torchvision.ops as tv
        self.align, self.train, side = tv.roi_align, mode == "train", int(side)
        self.x = tensor("map", 1, int(channels), side, side)
        boxes = formula_boxes(int(rois), 4.0 * side)
        self.rois = torch.cat([torch.zeros(len(boxes), 1), boxes], 1)

    def prepare(self, compiled, layout):
        self.x.requires_grad_(self.train)

    def step(self):
        if not self.train:
            with torch.no_grad():
                return self.align(self.x, self.rois, 7, 0.25, 0, True)
        y = self.align(self.x, self.rois, 7, 0.25, 0, True)
        return torch.autograd.grad(y, self.x, y.detach())[0]

    warm = step

    def answer(self):
        return [self.step().double().norm().item()] if self.train else sample(self.step())


class Nms:
    def __init__(self, count):
        import torchvision.ops as tv
        self.nms, self.boxes, self.scores = tv.nms, formula_boxes(int(count), 1000.0), tensor("score", int(count))

    def prepare(self, compiled, layout):
        pass

    def step(self):
        return self.nms(self.boxes, self.scores, 0.5)

    warm = step

    def answer(self):
        return self.step().tolist()


WORKS = {"model": Model, "conv": Conv, "linear": Linear, "segment": Segment, "detect": Detect, "roi_align": RoiAlign, "nms": Nms}


def status(field):
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith(field))


def main():
    torch.set_num_threads(int(sys.argv[1]))
    torch.set_flush_denormal(True)
    work = None
    for line in sys.stdin:
        command, *rest = line.split()
        try:
            if command == "open":
                before = status("VmRSS")
                work = WORKS[rest[0]](*rest[1:])
                reply = f"ok {before}"
            elif command == "use":
                how, layout = rest[0].split("/")
                if how == "compile" and not getattr(work, "train", False):
                    torch._inductor.config.freezing = True  # weights are constants: batch norms fold, filters are packed
                start = time.perf_counter()
                work.prepare(how == "compile", LAYOUTS[layout])
                work.warm()
                reply = f"ok {time.perf_counter() - start}"
                with open("/proc/self/clear_refs", "w") as f:
                    f.write("5")
            elif command == "answer":
                reply = "values " + " ".join(f"{v:.9g}" for v in work.answer())
            elif command == "step":
                start = time.perf_counter()
                for _ in range(int(rest[0])):
                    work.step()
                reply = f"time {time.perf_counter() - start}"
            elif command == "memory":
                reply = f"memory {status('VmHWM')}"
            else:
                reply = "error unknown command"
        except Exception as e:  # the other side decides what to do
            reply = "error " + " ".join(f"{type(e).__name__}: {e}".split())[:500]
        print(reply, file=out, flush=True)


print(f"torch {torch.__version__}", file=out, flush=True)
main()
