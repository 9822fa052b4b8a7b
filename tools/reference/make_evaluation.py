"""Writes tests/data/evaluation.safetensors: a small picture and what Pillow makes of it under published evaluations.

Usage: python3 make_evaluation.py OUT.safetensors       (needs Pillow, numpy and safetensors)

Entries are crops in 8-bit RGB, before mean and deviation, named FLOOR(SIZE / CROP)_SIZE[_squash]_ORIENTATION. The rules
are those of torchvision's Resize and CenterCrop and of timm's evaluation transform: the shorter side becomes the
resized side, the longer one is cut to whole pixels, crops start at round((have - want) / 2), halves to even.
"""
import math
import sys

import numpy
from PIL import Image
from safetensors.numpy import save_file


def picture(height, width):
    y, x = numpy.mgrid[0:height, 0:width]
    smooth = 127 + 90 * numpy.sin(x / 5.0) * numpy.cos(y / 7.0)
    noise = (x * 7919 + y * 104729 + x * y * 31) % 97 - 48
    edge = numpy.where((x + 2 * y) % 23 < 6, 70, 0)
    planes = [smooth + noise * 0.4, smooth[::-1] + edge, 255 - smooth + noise * 0.2 - edge]
    return numpy.clip(numpy.stack(planes, 2), 0, 255).astype(numpy.uint8)


def evaluate(image, size, crop, squash):
    side = math.floor(size / crop)
    width, height = image.size
    if squash:
        new = (side, side)
    elif width <= height:
        new = (side, int(side * height / width))
    else:
        new = (int(side * width / height), side)
    image = image.resize(new, Image.BICUBIC)
    left, top = int(round((new[0] - size) / 2.0)), int(round((new[1] - size) / 2.0))
    return numpy.asarray(image.crop((left, top, left + size, top + size)))


wide, small = picture(61, 90), picture(19, 14)
out = {"wide": wide, "tall": numpy.ascontiguousarray(wide.transpose(1, 0, 2)), "small": small}
for name, size, crop, squash in [("wide", 32, 1.0, False), ("tall", 32, 0.93, False), ("wide", 28, 0.93, True),
                                 ("small", 30, 0.98, False)]:
    key = f"{math.floor(size / crop)}_{size}{'_squash' if squash else ''}_{name}"
    out[key] = numpy.ascontiguousarray(evaluate(Image.fromarray(out[name]), size, crop, squash))
save_file(out, sys.argv[1])
for key, value in out.items():
    print(key, value.shape)
