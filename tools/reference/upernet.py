"""Semantic segmentation with UPerNet over a MambaVision (or Atlas) pyramid: the executable specification.

Papers: UPerNet, arXiv 1807.10221; MambaVision, arXiv 2407.08083 (section on ADE20K). Names of parameters are those of the
authors' checkpoints (mmsegmentation's EncoderDecoder): backbone.*, decode_head.*, auxiliary_head.*.

Compared in float64 with mmsegmentation 1.2.2's EncoderDecoder loaded with the same state dict (strict), by check_dense.py; relative errors
in brackets: losses and all gradients (9e-12, because theirs divides by n + 1.2e-7), accuracy (7e-11, same reason), batch-norm buffers,
whole and sliding-window inference, classes at the original size, IoUMetric (0), mmengine's learning rate over all 160,000 steps (3e-13).
All parameter names and shapes of published("T"), ("S"), ("B"), ("L3-512") equal the lists in the authors' training logs.
NOT compared: the authors' backbone wrapper (their source is non-commercial and was not opened). Known facts about it, from their
configs and training logs: parameters outnorm0..outnorm3 of 80, 160, 320, 640 elements (T), `norm_layer="ln2d"`, no backbone.norm and
no backbone.head, out_indices 0..3, window sizes below. Inferred: each norm acts on the stage's map BEFORE its downsample (the sizes
allow nothing else) and is a layer norm over channels with eps 1e-5 (as in VMamba, MIT, which the authors name as their model; eps is
a guess); windows larger than the map are filled up with zeros, as in the classification backbone (their logs agree: validation with
S, window 160, takes 5.6 times as long as with the larger B, window 64). No published weights were run. Atlas as a pyramid is our own.

Shapes: images (B, 3, H, W), any H and W >= 32; maps (B, C, ceil(H/s), ceil(W/s)), s = 4, 8, 16, 32; labels (B, H, W) int64.
"""
from dataclasses import dataclass, field

import torch
import torch.nn as nn
import torch.nn.functional as F

import atlas
import mambavision
from mambavision import MambaVision

IGNORE = 255                      # label of pixels that count neither in the loss nor in the metric

# --- facts of the published recipe (authors' configs; L3 differs: lr 8e-5, decay 0.05, crop 640, no mixed precision) -------------
WINDOWS = {"T": (8, 8, 64, 32), "S": (8, 8, 160, 56), "B": (8, 8, 64, 32), "L3-512": (8, 8, 64, 32)}
DROP_PATH = {"T": 0.3, "S": 0.7, "B": 0.4, "L3-512": 0.8}
LEARNING_RATE = {"T": 5e-5, "S": 6e-5, "B": 5e-5, "L3-512": 8e-5}
RECIPE = dict(
    optimizer="AdamW", betas=(0.9, 0.999), weight_decay=0.01,
    no_decay="norm",              # weight decay 0 for parameters whose name CONTAINS this; so the heads' bn.* and all biases do decay
    layer_decay=None,             # one learning rate for all layers
    mixed_precision="fp16 with loss scaling", clip=None, batch=16, iterations=160_000, warm_up=1_500, start_factor=1e-6, power=1.0, eta_min=0.0,
    # Training pipeline, in this order. Labels: 0 (other) becomes 255, k becomes k - 1 (ADE20K's reduce_zero_label).
    resize=(2048, 512), resize_ratio=(0.5, 2.0),       # keep the aspect ratio inside ratio * (long, short)
    crop=512, cat_max_ratio=0.75,                      # at most 10 tries until there are two classes and none fills 75 % of the labeled
    flip=0.5,
    # Photometric distortion, each step with probability 1/2, clipped to 0..255 and truncated to integers after each: brightness
    # +-32; contrast; saturation and hue (+-18 of 180) in HSV; with probability 1/2 contrast comes last instead.
    brightness=32, contrast=(0.5, 1.5), saturation=(0.5, 1.5), hue=18,
    mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375),         # RGB, on 0..255
    pad_image=0, pad_label=IGNORE,                     # after normalization, to the crop size
    # Test: resize to (2048, 512) keeping the aspect ratio, whole-image inference, logits back to the original size.
)


def learning_rate(step, base, r=RECIPE):
    """The rate used in iteration `step` (from 0): linear warm-up, then polynomial decay to eta_min at the last iteration."""
    if step < r["warm_up"]:
        return base * (r["start_factor"] + (1 - r["start_factor"]) * step / (r["warm_up"] - 1))
    done = (step - r["warm_up"]) / (r["iterations"] - r["warm_up"] - 1)
    return r["eta_min"] + (base - r["eta_min"]) * max(0.0, 1 - done) ** r["power"]


# --- dense backbones --------------------------------------------------------------------------------------------------------------
class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels at each pixel of (B, C, H, W)."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class MambaVisionPyramid(MambaVision):
    """The classification backbone without its last norm and head; each stage's map goes out through a norm of its own."""

    def __init__(self, cfg):
        super().__init__(cfg)
        del self.norm, self.head
        self.channels = [cfg.dim * 2 ** i for i in range(4)]
        for i, c in enumerate(self.channels):
            setattr(self, f"outnorm{i}", LayerNorm2d(c))

    def forward(self, x):
        return [getattr(self, f"outnorm{i}")(m) for i, m in enumerate(self.stages(x))]


class AtlasPyramid(atlas.Atlas):
    """Our own: Atlas as a pyramid. The stem's maps at strides 4 and 8, then every scale as it leaves the last stage that holds it.

    With ratio 4 the strides are 4, 8, 16, 64 (, 256 ...): UPerNet only needs them ordered from fine to coarse. Patch 16 only.
    """

    def __init__(self, cfg):
        super().__init__(cfg)
        del self.readout_norm, self.fc_norm, self.fc
        scales = len(self.atlas_models[0].scales)
        self.channels = [cfg.dim // 4, cfg.dim // 2] + [cfg.dim] * scales
        for i, c in enumerate(self.channels):
            setattr(self, f"outnorm{i}", LayerNorm2d(c))

    def forward(self, image):
        stem, scales = self.atlas_models[0].patch_embed, self.atlas_models[0].scales
        at4 = stem.conv1(stem.conv0(image))                                  # before each downsample, as in MambaVision
        at8 = stem.conv2(stem.ds1(at4))
        at16 = stem.ds2(at8)
        x = [atlas.to_windows(F.max_pool2d(at16, self.cfg.ratio ** s), *scales[s]) for s in range(len(scales))]
        maps = [at4, at8]
        for i, stage in enumerate(self.atlas_models):
            first = len(scales) - len(x)
            x = stage(x)
            last = len(x) == 1 or i == len(self.atlas_models) - 1
            for s in range(len(x) if last else 1):                           # the finest leaves; at the end all leave
                maps.append(atlas.to_map(x[s], *scales[first + s]).permute(0, 3, 1, 2))
            x = x[1:]
            if last:
                break
        return [getattr(self, f"outnorm{i}")(m) for i, m in enumerate(maps)]


# --- heads ------------------------------------------------------------------------------------------------------------------------
class ConvModule(nn.Module):
    """Convolution (same size), batch norm (then the convolution has no bias), ReLU."""

    def __init__(self, c_in, c_out, kernel, norm=True, relu=True):
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, bias=not norm)
        self.bn = nn.BatchNorm2d(c_out) if norm else None                    # over all devices in training (SyncBN)
        self.relu = relu

    def forward(self, x):
        x = self.conv(x)
        x = self.bn(x) if self.bn else x
        return F.relu(x) if self.relu else x


def resize(x, size):
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)


class SegHead(nn.Module):
    """What both heads share: dropout of whole channels, the classifier, and the loss."""

    def __init__(self, channels, classes, dropout):
        super().__init__()
        self.conv_seg = nn.Conv2d(channels, classes, 1)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, maps):                                                 # -> logits at the finest map's size
        return self.conv_seg(self.dropout(self.features(maps)))


class UPerHead(SegHead):
    def __init__(self, in_channels, channels, classes, pools=(1, 2, 3, 6), dropout=0.1):
        super().__init__(channels, classes, dropout)
        top = in_channels[-1]
        self.psp_modules = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(p), ConvModule(top, channels, 1)) for p in pools)
        self.bottleneck = ConvModule(top + len(pools) * channels, channels, 3)
        self.lateral_convs = nn.ModuleList(ConvModule(c, channels, 1) for c in in_channels[:-1])
        self.fpn_convs = nn.ModuleList(ConvModule(channels, channels, 3) for _ in in_channels[:-1])
        self.fpn_bottleneck = ConvModule(len(in_channels) * channels, channels, 3)

    def features(self, maps):
        top = maps[-1]
        pooled = [resize(m(top), top.shape[2:]) for m in self.psp_modules]
        levels = [conv(m) for conv, m in zip(self.lateral_convs, maps)]
        levels.append(self.bottleneck(torch.cat([top] + pooled, 1)))
        for i in reversed(range(len(levels) - 1)):                           # coarse to fine
            levels[i] = levels[i] + resize(levels[i + 1], levels[i].shape[2:])
        outs = [conv(x) for conv, x in zip(self.fpn_convs, levels)] + levels[-1:]
        return self.fpn_bottleneck(torch.cat([resize(o, outs[0].shape[2:]) for o in outs], 1))


class FCNHead(SegHead):
    """The auxiliary head: one 3x3 ConvModule on the stride-16 map."""

    def __init__(self, in_channels, channels, classes, index=2, dropout=0.1):
        super().__init__(channels, classes, dropout)
        self.index = index
        self.convs = nn.Sequential(ConvModule(in_channels[index], channels, 3))

    def features(self, maps):
        return self.convs(maps[self.index])


def pixel_loss(logits, labels):
    """Cross-entropy summed over labeled pixels and divided by ALL pixels, ignored ones included (mmsegmentation's default)."""
    logits = resize(logits, labels.shape[1:])
    return F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="sum") / labels.numel()


def pixel_accuracy(logits, labels):
    """Per cent of labeled pixels whose largest logit is right."""
    right = resize(logits, labels.shape[1:]).argmax(1) == labels
    return 100.0 * right[labels != IGNORE].double().mean()


# --- the model --------------------------------------------------------------------------------------------------------------------
@dataclass
class Config:
    backbone: mambavision.Config | atlas.Config
    num_classes: int = 150
    channels: int = 512
    aux_channels: int = 256
    aux_index: int = 2
    aux_weight: float = 0.4
    dropout: float = 0.1
    pools: tuple = field(default=(1, 2, 3, 6))


class UPerNet(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.backbone = (MambaVisionPyramid if isinstance(cfg.backbone, mambavision.Config) else AtlasPyramid)(cfg.backbone)
        c = self.backbone.channels
        self.decode_head = UPerHead(c, cfg.channels, cfg.num_classes, cfg.pools, cfg.dropout)
        self.auxiliary_head = FCNHead(c, cfg.aux_channels, cfg.num_classes, cfg.aux_index, cfg.dropout)

    def loss(self, images, labels):
        """-> {"decode.loss_ce", "aux.loss_ce", "loss" (their sum), "decode.acc_seg", "aux.acc_seg"}"""
        maps = self.backbone(images)
        main, aux = self.decode_head(maps), self.auxiliary_head(maps)
        losses = {"decode.loss_ce": pixel_loss(main, labels), "aux.loss_ce": self.cfg.aux_weight * pixel_loss(aux, labels)}
        return losses | {"loss": sum(losses.values()),
                         "decode.acc_seg": pixel_accuracy(main, labels), "aux.acc_seg": pixel_accuracy(aux, labels)}

    def whole(self, images):
        """Logits at the images' size."""
        return resize(self.decode_head(self.backbone(images)), images.shape[2:])

    def slide(self, images, crop, stride):
        """Mean of the logits of overlapping crops; the last row and column of crops are moved inside the image."""
        b, _, h, w = images.shape
        total, count = images.new_zeros(b, self.cfg.num_classes, h, w), images.new_zeros(1, 1, h, w)
        for row in range(max(h - crop + stride - 1, 0) // stride + 1):
            for col in range(max(w - crop + stride - 1, 0) // stride + 1):
                y2, x2 = min(row * stride + crop, h), min(col * stride + crop, w)
                y1, x1 = max(y2 - crop, 0), max(x2 - crop, 0)
                total[:, :, y1:y2, x1:x2] += self.whole(images[:, :, y1:y2, x1:x2])
                count[:, :, y1:y2, x1:x2] += 1
        return total / count

    def predict(self, images, original_size, crop=None, stride=None):
        """-> (B, h, w) class of each pixel at the original size: the logits are resized, then the largest is taken."""
        logits = self.whole(images) if crop is None else self.slide(images, crop, stride)
        return resize(logits, original_size).argmax(1)


class SegMetric:
    """Sums over all images; then aAcc, mIoU, mAcc in [0, 1], classes that never occur left out of the means.

    A prediction on an ignored pixel counts nowhere, not even in the union.
    """

    def __init__(self, classes):
        self.confusion = torch.zeros(classes, classes, dtype=torch.int64)   # [label, prediction]

    def add(self, prediction, label):
        n, known = len(self.confusion), label != IGNORE
        self.confusion += torch.bincount(label[known] * n + prediction[known], minlength=n * n).view(n, n)

    def result(self):
        hit = self.confusion.diag().double()
        labeled, predicted = self.confusion.sum(1).double(), self.confusion.sum(0).double()
        iou, acc = hit / (labeled + predicted - hit), hit / labeled      # 0 / 0 = NaN: absent class
        return {"aAcc": hit.sum() / labeled.sum(), "mIoU": iou.nanmean(), "mAcc": acc.nanmean(), "IoU": iou, "Acc": acc}


def published(key):
    """The paper's segmentation models: key T, S, B or L3-512."""
    from dataclasses import replace
    return Config(replace(mambavision.VARIANTS[key], window_size=WINDOWS[key], drop_path_rate=DROP_PATH[key]))
