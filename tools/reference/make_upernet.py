"""Writes the golden files of UPerNet over Atlas with more macro stages than scales, in float64, stored as float32.

Usage: python3 make_upernet.py OUT_DIR       (needs PyTorch >= 2.0 and NumPy; CPU)

As a pyramid, the specification ends with the first macro stage that has one scale left: later ones have parameters, as in
a classifier's checkpoint, but no gradient; there is no grad.* of them in the files. The rest is as in the other upernet_*
files: formula weights and images, a tensor of more than 512 elements kept as every (n // 512)-th beside its norm.
"""
import json
import sys
from dataclasses import asdict

import numpy as np
import torch

import atlas
import formula
import tensorfile
import upernet

torch.set_default_dtype(torch.float64)


def segmentation(name, cfg, batch, side, crop, stride, seed):
    out = {}

    def keep(key, t, sampled=True):
        t = t.detach()
        if sampled and t.numel() > 512:
            out[key + ".norm"] = t.norm().to(torch.float32)
            t = t.flatten()[::t.numel() // 512].clone()
        out[key] = t.to(torch.float32)

    model = formula.fill(upernet.UPerNet(cfg)).eval()
    images = torch.from_numpy(formula.image(batch, side, side))
    random = np.random.default_rng(seed)
    coarse = random.integers(0, cfg.num_classes, (batch, side // 8, side // 8))
    labels = torch.from_numpy(coarse.repeat(8, 1).repeat(8, 2))
    labels[torch.from_numpy(random.random(labels.shape) < 0.2)] = upernet.IGNORE
    out["labels"] = labels.to(torch.uint8)
    with torch.no_grad():
        maps = model.backbone(images)
        for i, t in enumerate(maps):
            keep(f"eval.map{i}", t)
        for key, t in {"logits": model.decode_head(maps), "aux_logits": model.auxiliary_head(maps), "whole": model.whole(images),
                       "slide": model.slide(images, crop, stride)}.items():
            keep("eval." + key, t)
        out["eval.classes"] = model.predict(images, (side, side)).to(torch.uint8)
        metric = upernet.SegMetric(cfg.num_classes)
        metric.add(model.predict(images, (side, side)).flatten(), labels.flatten())
        for key, value in metric.result().items():
            keep("eval." + key, value, False)
    images.requires_grad_()
    losses = model.train().loss(images, labels)
    losses["loss"].backward()
    for key, value in losses.items():
        keep("train." + key, value, False)
    keep("grad.input", images.grad)
    for key, p in model.named_parameters():
        if p.grad is not None:
            keep("grad." + key, p.grad)
    for key, b in model.named_buffers():
        if "running" in key:
            keep("after." + key, b, False)
    tensorfile.save(f"{sys.argv[1]}/{name}.safetensors", out, dict(
        task="upernet", family="atlas", config=json.dumps(asdict(cfg)), batch=batch, height=side, width=side,
        original=json.dumps((side, side)), crop=crop, stride=stride, parameters=sum(p.numel() for p in model.parameters())))


def config(image, depths):
    backbone = atlas.Config(image, 16, 2, depths, 4, 2, stem_dim=4, drop_path_rate=0.0)
    return upernet.Config(backbone, 5, 8, 6, dropout=0.0)


segmentation("upernet_atlas_2scale_4stage", config(128, (1, 2, 1, 1)), 2, 128, 128, 128, 4)
segmentation("upernet_atlas_1scale_2stage", config(64, (1, 1)), 2, 64, 64, 64, 5)
