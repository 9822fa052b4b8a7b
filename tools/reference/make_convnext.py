"""Writes what timm's ConvNeXt computes: weights under its own names, maps and logits of a small configuration.

Usage: python3 make_convnext.py OUT_DIR       (needs PyTorch and timm >= 1.0; CPU)

OUT_DIR/convnext.pth is timm's state dict as torch.save() writes it, OUT_DIR/convnext.safetensors the rest, computed in
float64 and stored as float32. Weights and images come from formula.py, rounded to float32.
"""
import json
import sys

import torch
from timm.models.convnext import ConvNeXt

import formula
import tensorfile

config = {"depths": [1, 1, 2, 1], "dims": [8, 12, 16, 24], "drop_path_rate": 0.0, "layer_scale": 1.0, "num_classes": 5,
          "resolution": 64}
model = ConvNeXt(depths=config["depths"], dims=config["dims"], num_classes=config["num_classes"],
                 ls_init_value=config["layer_scale"])
formula.fill(model)
torch.save(model.state_dict(), f"{sys.argv[1]}/convnext.pth")
model.double().eval()
images = torch.from_numpy(formula.image(2, 64, 96)).float()

out = {}
with torch.no_grad():
    x = model.stem(images.double())
    for i, stage in enumerate(model.stages):
        x = stage(x)
        out[f"stage{i}"] = x.float()
    out["logits"] = model(images.double()).float()
tensorfile.save(f"{sys.argv[1]}/convnext.safetensors", out, {"config": json.dumps(config)})
print({name: tuple(t.shape) for name, t in out.items()}, float(out["logits"].abs().max()))
