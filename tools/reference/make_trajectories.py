"""Writes tests/golden/recipes/trajectory_*.safetensors: ten updates of both published recipes by PyTorch in float64.

Usage: python3 make_trajectories.py OUT_DIR      (needs PyTorch and NumPy; CPU)

Everything that a recipe does after decoding is on: order of the images, flip, random erasing, mixup and CutMix with label
smoothing, drop path, accumulation of two batches, clipping, AdamW or LAMB with decay of tensors of two or more dims alone, warm-up
and cosine (and cool-down), the moving average of weights and running statistics, and MESA from it. Random numbers are those of
atlas (philox.py); the formulas are those of the papers and of timm, whose recipes these are. Images are made in float32, as
loaders do; all else is float64.

    mambavision  LAMB, clipping, EMA of constant decay, MESA in epochs e with e / epochs > 0.25, cool-down
    atlas        AdamW without clipping and without EMA, as published
    atlas_all    the same with clipping, EMA of growing decay and MESA

Weights come from formula.py, as do the pictures: byte i of picture k is floor((u("picture<k>", i) + 1) * 128), in the order [H, W, C].
What stays is small: the loss of every batch, the norm of the gradient and the learning rate of every update, the loss of every
test, and after updates 1, 5 and 10 the norm and elements n i / 8 (i < 8) of every tensor, of n elements, of the model and of the
moving average, in the order of their names.
"""
import copy
import json
import math
import sys
from dataclasses import asdict, dataclass

import numpy as np
import torch
import torch.nn.functional as F

import atlas
import formula
import mambavision
import philox
import tensorfile

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
f32 = np.float32
IMAGES, TESTS, SIDE, CLASSES, BATCH, ACCUMULATE, EPOCHS = 16, 6, 64, 5, 4, 2, 5
KEPT = (1, 5, 10)
MEAN, STD = np.array([0.485, 0.456, 0.406], f32), np.array([0.229, 0.224, 0.225], f32)


@dataclass
class Recipe:
    optimizer: str
    lr: float
    decay: float
    drop_path: float
    warmup: float            # epochs
    warmup_lr: float
    min_lr: float
    cooldown: float = 0      # epochs
    clip: float = 0
    ema: float = 0
    ramp: bool = False       # the decay of update t is min(ema, (1 + t) / (10 + t))
    mesa: float = 0
    seed: int = 0
    mixup: float = 0.8
    cutmix: float = 1.0
    smoothing: float = 0.1
    erase: float = 0.25


# ---- Data ----------------------------------------------------------------------------------------------------------
def picture(k):
    return np.floor((formula.uniform(f"picture{k}", SIDE * SIDE * 3) + 1) * 128).astype(np.uint8).reshape(SIDE, SIDE, 3)


def label(k):
    return k * 3 % CLASSES


def normalized(x):
    return x.astype(f32) * (f32(1) / f32(255) / STD) - MEAN / STD


def erased(x, p, draw):
    """Random erasing (Zhong et al., AAAI 2020) with noise for every pixel and channel."""
    if not draw.chance(p):
        return x
    for _ in range(10):
        area = SIDE * SIDE * draw.uniform(0.02, 1 / 3)
        ratio = math.exp(draw.uniform(math.log(0.3), math.log(1 / 0.3)))
        h, w = math.floor(math.sqrt(area * ratio) + 0.5), math.floor(math.sqrt(area / ratio) + 0.5)
        if 1 <= h < SIDE and 1 <= w < SIDE:
            top = draw.below(SIDE - h + 1)
            left = draw.below(SIDE - w + 1)
            x = x.copy()
            x[top:top + h, left:left + w] = np.array([draw.normal() for _ in range(h * w * 3)]).reshape(h, w, 3).astype(f32)
            return x
    return x


def sample(k, epoch, recipe):
    draw = philox.Sequence(recipe.seed, philox.SAMPLE, epoch, k)
    x = picture(k)
    if draw.chance(0.5):
        x = x[:, ::-1]
    return erased(normalized(x), recipe.erase, draw)


def mixed(x, y, draw, recipe):
    """mixup or CutMix of each image with its opposite in the batch, and soft targets (timm's Mixup, mode "batch")."""
    draw.chance(1.0)                                                         # every batch is mixed
    cut = draw.chance(0.5)
    alpha = recipe.cutmix if cut else recipe.mixup
    share = draw.beta(alpha, alpha)
    if cut:
        half = int(math.sqrt(1 - share) * SIDE) // 2
        cy = draw.below(SIDE)
        cx = draw.below(SIDE)
        top, bottom, left, right = max(cy - half, 0), min(cy + half, SIDE), max(cx - half, 0), min(cx + half, SIDE)
        share = 1 - (bottom - top) * (right - left) / (SIDE * SIDE)
        z = x.copy()
        z[:, top:bottom, left:right] = x[::-1, top:bottom, left:right]
    else:
        # In float32, as a fused multiply-add rounds it; a processor without one differs in the last bit.
        z = (float(f32(share)) * x.astype(float) + (f32(1 - share) * x[::-1]).astype(float)).astype(f32)
    onehot = np.eye(CLASSES, dtype=f32)[y]
    keep = 1 - recipe.smoothing
    t = f32(recipe.smoothing / CLASSES) + f32(keep * share) * onehot
    return z, t + f32(keep * (1 - share)) * onehot[::-1], cut


def tensors(x):
    return torch.from_numpy(np.ascontiguousarray(x)).double().permute(0, 3, 1, 2).contiguous()


# ---- Loss, optimizer, schedule --------------------------------------------------------------------------------------
def soft_cross_entropy(logits, target):
    return -(target * F.log_softmax(logits, 1)).sum(1).mean()


def mesa(logits, average, scale=50.0, temperature=3.0):
    return scale * F.kl_div(F.log_softmax(logits / temperature, 1), F.softmax(average / temperature, 1), reduction="batchmean")


class Lamb(torch.optim.Optimizer):
    """LAMB as timm has it: the gradient divided by max(1, its norm), Adam's direction with corrected moments, decay added to the
    direction, and the trust ratio |p| / |direction| for tensors that decay."""

    def __init__(self, groups, lr, betas=(0.9, 0.999), eps=1e-8):
        super().__init__(groups, dict(lr=lr, betas=betas, eps=eps, weight_decay=0))

    @torch.no_grad()
    def step(self):
        whole = torch.cat([p.grad.flatten() for g in self.param_groups for p in g["params"]]).norm()
        for g in self.param_groups:
            b1, b2 = g["betas"]
            for p in g["params"]:
                s = self.state[p]
                t = s["t"] = s.get("t", 0) + 1
                grad = p.grad / max(1.0, whole.item())
                s["m"] = b1 * s.get("m", 0) + (1 - b1) * grad
                s["v"] = b2 * s.get("v", 0) + (1 - b2) * grad ** 2
                d = s["m"] / (1 - b1 ** t) / (torch.sqrt(s["v"] / (1 - b2 ** t)) + g["eps"])
                if g["weight_decay"] > 0:
                    d = d + g["weight_decay"] * p
                    if p.norm() > 0 and d.norm() > 0:
                        d = d * p.norm() / d.norm()
                p -= g["lr"] * d


def optimizer_of(model, r):
    decay = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decay, "weight_decay": r.decay}, {"params": plain, "weight_decay": 0.0}]
    return Lamb(groups, r.lr) if r.optimizer == "lamb" else torch.optim.AdamW(groups, r.lr, (0.9, 0.999), 1e-8)


def rate(r, epoch):
    """The learning rate at a fractional epoch."""
    end = EPOCHS - r.cooldown
    if epoch < r.warmup:
        return r.warmup_lr + (r.lr - r.warmup_lr) * epoch / r.warmup
    if epoch >= end:
        return r.min_lr
    return r.min_lr + 0.5 * (r.lr - r.min_lr) * (1 + math.cos(math.pi * (epoch - r.warmup) / (end - r.warmup)))


def kept(module, out, name):
    """The norm and some elements of every tensor, in the order of the names."""
    norms, elements = [], []
    for key, t in sorted(module.state_dict().items()):
        if key.endswith("num_batches_tracked"):
            continue
        flat = t.detach().flatten()
        norms.append(flat.norm().item())
        elements.append([flat[i * flat.numel() // 8].item() for i in range(8)])
    out[name + ".norms"], out[name + ".elements"] = np.array(norms), np.array(elements)


# ---- Training --------------------------------------------------------------------------------------------------------
def trajectory(name, net, cfg, r):
    streams = philox.DropPathStreams(r.seed)

    def drop_path(self, x):
        if self.p == 0 or not self.training:
            return x
        keep = torch.tensor(streams.keeps(x.shape[0], self.p), dtype=x.dtype).reshape([-1] + [1] * (x.ndim - 1))
        return x * keep / (1 - self.p)

    mambavision.DropPath.forward = drop_path
    model = formula.fill(net(cfg).double()).train()                          # A_log is made as float32
    average = copy.deepcopy(model).eval() if r.ema else None
    optimizer = optimizer_of(model, r)
    out = {key: [] for key in ("losses", "gradient_norms", "rates", "test_losses")}
    updates, cuts, per_epoch = 0, 0, IMAGES // BATCH // ACCUMULATE
    for epoch in range(EPOCHS):
        order = philox.permutation(IMAGES, r.seed, epoch)
        for number in range(IMAGES // BATCH):
            indices = order[number * BATCH:(number + 1) * BATCH]
            draw = philox.Sequence(r.seed, philox.MIX, epoch, number)
            x, target, cut = mixed(np.stack([sample(k, epoch, r) for k in indices]), [label(k) for k in indices], draw, r)
            cuts += cut
            x, target = tensors(x), torch.from_numpy(target).double()
            logits = model(x)
            loss = soft_cross_entropy(logits, target)
            if r.mesa and epoch / EPOCHS > 0.25:
                with torch.no_grad():
                    z = average(x)
                loss = loss + r.mesa * mesa(logits, z)
            (loss / ACCUMULATE).backward()
            out["losses"].append(loss.item())
            if (number + 1) % ACCUMULATE:
                continue
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), r.clip if r.clip else float("inf"))
            for group in optimizer.param_groups:
                group["lr"] = rate(r, updates / per_epoch)
            optimizer.step()
            optimizer.zero_grad()
            out["gradient_norms"].append(norm.item())
            out["rates"].append(rate(r, updates / per_epoch))
            updates += 1
            if r.ema:
                decay = min(r.ema, (1 + updates) / (10 + updates)) if r.ramp else r.ema
                with torch.no_grad():
                    for a, b in zip(average.state_dict().values(), model.state_dict().values()):
                        a.copy_(decay * a + (1 - decay) * b if a.is_floating_point() else b)
            if updates in KEPT:
                kept(model, out, f"model.{updates}")
                if r.ema:
                    kept(average, out, f"average.{updates}")
        tested = average if r.ema else model.eval()
        with torch.no_grad():
            x = np.stack([normalized(picture(k)) for k in range(IMAGES, IMAGES + TESTS)])
            logits = tested(tensors(x))
            out["test_losses"].append(F.cross_entropy(logits, torch.tensor([label(k) for k in range(IMAGES, IMAGES + TESTS)])).item())
        model.train()
    config = {k: v for k, v in asdict(cfg).items() if k not in ("drop_path_rate", "num_classes", "resolution", "image") and v is not None}
    tensorfile.save(f"{sys.argv[1]}/trajectory_{name}.safetensors", {k: np.array(v) for k, v in out.items()},
                    {"torch": torch.__version__, "config": json.dumps(config)})
    print(name, f"{cuts} batches of {len(out['losses'])} by CutMix, {streams.stream} calls of drop path")
    for key in ("losses", "gradient_norms", "rates", "test_losses"):
        print(f"  {key}", *(f"{v:.6g}" for v in out[key]))


MAMBA = mambavision.Config(8, 8, (1, 1, 2, 2), (2, 2, 2, 4), (8, 8, 2, 2), drop_path_rate=0.2, num_classes=CLASSES, resolution=SIDE)
ATLAS = atlas.Config(SIDE, 16, 2, (2, 2), 4, 2, 2.0, 0.3, CLASSES, stem_dim=8, patch=8)
PUBLISHED = dict(optimizer="adamw", lr=5e-4, decay=0.24, drop_path=0.3, warmup=1, warmup_lr=0, min_lr=1e-6)

if __name__ == "__main__":
    trajectory("mambavision", mambavision.MambaVision, MAMBA,
               Recipe("lamb", 5e-3, 0.05, 0.2, warmup=1, warmup_lr=1e-6, min_lr=5e-6, cooldown=1, clip=5, ema=0.9, mesa=0.5, seed=31))
    trajectory("atlas", atlas.Atlas, ATLAS, Recipe(**PUBLISHED))
    trajectory("atlas_all", atlas.Atlas, ATLAS, Recipe(**PUBLISHED, clip=1, ema=0.9, ramp=True, mesa=0.5))
