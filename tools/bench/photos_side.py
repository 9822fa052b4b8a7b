"""torchvision's side of tools/bench/data.sh, and the pictures that both read.

    photos_side.py make FOLDER WIDTHxHEIGHT COUNT   photographs, as good as numbers make them: quality 90, 4:2:0
    photos_side.py time pillow|io SIZE CROPS ROUNDS [OURS.npy]
                     cuts and resizes as the lines of CROPS (top left height width file) say, through Pillow or through
                     torchvision.io and transforms v2; prints processor time, and how far the pictures are from OURS (at
                     most and in the mean, in gray levels), and how far those of Pillow in float32
"""
import os
import sys
import time

import numpy as np
from PIL import Image


def pink(rng, height, width, exponent):
    """Noise whose amplitude falls with the frequency, as that of photographs does."""
    spectrum = np.fft.rfft2(rng.standard_normal((height, width), dtype=np.float32))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = 1
    x = np.fft.irfft2(spectrum / frequency**exponent, s=(height, width)).astype(np.float32)
    return (x - x.mean()) / x.std()


def photograph(width, height, seed):
    """Leaves over leaves, each with a color and a texture; uneven light, a lens that blurs a little, a sensor's noise."""
    rng = np.random.default_rng(seed)
    texture, light = pink(rng, height, width, 1.0), pink(rng, height, width, 1.6)
    picture = np.full((height, width, 3), 110, np.float32)
    strength = np.full((height, width), 8, np.float32)
    side = max(width, height)
    for radius in np.sort(np.minimum(side * (0.01 + 0.02 * rng.pareto(1.5, 1500)), side / 4))[::-1]:
        x, y, angle, flat = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(0, np.pi), rng.uniform(0.4, 1)
        color = rng.uniform(25, 215) + rng.normal(0, 18, 3)
        x0, x1 = int(max(0, x - radius)), int(min(width, x + radius + 1))
        y0, y1 = int(max(0, y - radius)), int(min(height, y + radius + 1))
        v, u = np.mgrid[y0:y1, x0:x1].astype(np.float32)
        along = (u - x) * np.cos(angle) + (v - y) * np.sin(angle)
        across = (v - y) * np.cos(angle) - (u - x) * np.sin(angle)
        inside = along**2 + (across / flat) ** 2 < radius**2
        picture[y0:y1, x0:x1][inside] = color
        strength[y0:y1, x0:x1][inside] = rng.uniform(2, 24)
    picture += (texture * strength + 14 * light)[..., None]
    for axis in (0, 1):
        picture = 0.64 * picture + 0.18 * (np.roll(picture, 1, axis) + np.roll(picture, -1, axis))
    picture += rng.normal(0, 2, picture.shape)
    return Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))


def make(folder, size, count):
    width, height = (int(n) for n in size.split("x"))
    os.makedirs(folder, exist_ok=True)
    for i in range(int(count)):
        path = os.path.join(folder, f"{size}-{i}.jpg")
        if not os.path.exists(path):
            photograph(width, height, i).save(path + ".part", "JPEG", quality=90, subsampling="4:2:0")
            os.replace(path + ".part", path)


def unrounded(path, top, left, height, width, size):
    """What Pillow gives in float32, rounded once at the end."""
    with Image.open(path) as image:
        image = np.asarray(image.convert("RGB").crop((left, top, left + width, top + height)), np.float32)
    bands = [np.asarray(Image.fromarray(image[..., c]).resize((size, size), Image.BICUBIC)) for c in range(3)]
    return np.clip(np.floor(np.stack(bands, -1) + 0.5), 0, 255)


def measure(how, size, crops, rounds, ours=None):
    import torch
    from torchvision.transforms import InterpolationMode, v2
    from torchvision.transforms import functional as pil
    torch.set_num_threads(1)
    size, rows = int(size), []
    with open(crops) as lines:
        for line in lines:
            top, left, height, width, path = line.rstrip("\n").split(" ", 4)
            rows.append((path, int(top), int(left), int(height), int(width)))

    def through_pillow(path, top, left, height, width):
        with Image.open(path) as image:
            image = image.convert("RGB")
        image = pil.resized_crop(image, top, left, height, width, [size, size], InterpolationMode.BICUBIC)
        return pil.to_tensor(image)

    def through_io(path, top, left, height, width):
        from torchvision.io import ImageReadMode, decode_jpeg, read_file
        image = decode_jpeg(read_file(path), mode=ImageReadMode.RGB)
        image = v2.functional.resized_crop(image, top, left, height, width, [size, size], InterpolationMode.BICUBIC,
                                           antialias=True)
        return v2.functional.to_dtype(image, torch.float32, scale=True)

    one, times = {"pillow": through_pillow, "io": through_io}[how], []
    for _ in range(int(rounds)):
        start = time.process_time()
        for at in range(0, len(rows), 16):
            torch.stack([one(*row) for row in rows[at : at + 16]])
        times.append((time.process_time() - start) / len(rows))
    line = f"{1e3 * np.median(times):.4f} ms a picture, median of {rounds} rounds; fastest {1e3 * min(times):.4f} ms"
    if ours:
        mine = np.round(255 * np.load(ours))
        apart = np.concatenate([np.abs(np.round(255 * one(*row).permute(1, 2, 0).numpy()) - mine[i]).ravel()
                                for i, row in enumerate(rows)])
        exact = np.concatenate([np.abs(unrounded(*row, size) - mine[i]).ravel() for i, row in enumerate(rows)])
        line += f"; apart {apart.max():.0f} {apart.mean():.3f} {exact.max():.0f} {exact.mean():.4f}"
    print(line)


if __name__ == "__main__":
    if sys.argv[1:2] == ["make"] and len(sys.argv) == 5:
        make(*sys.argv[2:])
    elif sys.argv[1:2] == ["time"] and len(sys.argv) in (6, 7):
        measure(*sys.argv[2:])
    else:
        sys.exit(__doc__)
