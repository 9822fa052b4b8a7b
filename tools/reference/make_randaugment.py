"""Writes tests/golden/recipes/rand_augment.safetensors: small pictures and what Pillow makes of them, called as timm's RandAugment does.

Usage: python3 make_randaugment.py OUT.safetensors      (needs Pillow, numpy and timm; PyTorch is not used)

Entries are uint8 [H,W,3]: the pictures `large` and `small`, and results named PICTURE/OPERATION/MAGNITUDE/SIGN/MODE, where
MODE is inc (effects grow with the magnitude) or plain, with the interpolation behind it for operations that move pixels.
"""
import importlib.util
import os
import random
import sys

import numpy
import PIL
from PIL import Image

from tensorfile import save

# The file alone: the package would import PyTorch.
timm = os.path.dirname(importlib.util.find_spec("timm").origin)
spec = importlib.util.spec_from_file_location("auto_augment", os.path.join(timm, "data", "auto_augment.py"))
augment = importlib.util.module_from_spec(spec)
spec.loader.exec_module(augment)

FILL = (124, 116, 104)
MOVING = {"rotate": "Rotate", "shear-x": "ShearX", "shear-y": "ShearY", "translate-x": "TranslateXRel", "translate-y": "TranslateYRel"}
SIGNED = {"color": "Color", "contrast": "Contrast", "brightness": "Brightness", "sharpness": "Sharpness"}
PLAIN = {"auto-contrast": "AutoContrast", "equalize": "Equalize", "invert": "Invert", "solarize-add": "SolarizeAdd"}
TURNED = {"posterize": "Posterize", "solarize": "Solarize"}
FILTERS = {"bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC}


def picture(height, width):
    y, x = numpy.mgrid[0:height, 0:width]
    smooth = 120 + 70 * numpy.sin(x / 5.0) * numpy.cos(y / 7.0)
    noise = (x * 7919 + y * 104729 + x * y * 31) % 97 - 48
    edge = numpy.where((x + 2 * y) % 23 < 6, 50, 0)
    planes = [smooth + noise * 0.4, smooth[::-1] + edge, 235 - smooth + noise * 0.2 - edge]
    return numpy.clip(numpy.stack(planes, 2), 12, 240).astype(numpy.uint8)


def run(image, name, magnitude, sign, resample):
    random.random = lambda: 1.0 if sign < 0 else 0.0  # timm's coin for the sign
    level = augment.LEVEL_TO_ARG[name]
    arguments = level(float(magnitude), {"translate_pct": 0.45}) if level else ()
    return numpy.asarray(augment.NAME_TO_OP[name](image, *arguments, fillcolor=FILL, resample=resample))


out = {"large": picture(31, 43), "small": picture(23, 19)}
for size, magnitudes in (("large", (9,)), ("small", (1, 5.5, 10))):
    image = Image.fromarray(out[size])
    for m in magnitudes:
        for ours, name in MOVING.items():
            for sign in (1, -1):
                for mode, resample in FILTERS.items():
                    out[f"{size}/{ours}/{m}/{sign}/inc/{mode}"] = run(image, name, m, sign, resample)
        for ours, name in SIGNED.items():
            for sign in (1, -1):
                out[f"{size}/{ours}/{m}/{sign}/inc"] = run(image, name + "Increasing", m, sign, None)
            if size == "small":
                out[f"{size}/{ours}/{m}/1/plain"] = run(image, name, m, 1, None)
        for ours, name in TURNED.items():
            for mode, suffix in (("inc", "Increasing"), ("plain", "")):
                if name == "Posterize" and augment.LEVEL_TO_ARG[name + suffix](m, {})[0] == 0:
                    continue  # older Pillow gave black, newer refuses
                out[f"{size}/{ours}/{m}/1/{mode}"] = run(image, name + suffix, m, 1, None)
        for ours, name in PLAIN.items():
            if augment.LEVEL_TO_ARG[name] is None and m not in (9, 10):
                continue  # the same at any magnitude
            out[f"{size}/{ours}/{m}/1/inc"] = run(image, name, m, 1, None)
save(sys.argv[1], out, {"pillow": PIL.__version__, "from": "timm.data.auto_augment", "fill": FILL})
print(len(out), "entries,", os.path.getsize(sys.argv[1]), "bytes, Pillow", PIL.__version__)
