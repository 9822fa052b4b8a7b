"""Object detection and instance segmentation with Cascade Mask R-CNN over a MambaVision pyramid: the executable specification.

Papers: Cascade R-CNN, arXiv 1906.09756; Mask R-CNN, arXiv 1703.06870; FPN, arXiv 1612.03144; MambaVision, arXiv 2407.08083 (COCO).
Names of parameters are those of mmdetection's checkpoints: backbone.*, neck.*, rpn_head.*, roi_head.bbox_head.i.*,
roi_head.mask_head.i.*. COCO's average precision is in coco_ap.py.

Compared in float64 with mmdetection 3.3.0's CascadeRCNN built from the same configuration and loaded with the same state dict (strict),
by check_dense.py; relative errors in brackets. Heads as the authors configure them and the classic ones, images of two sizes padded
to one, one image without objects: all losses (1.5e-9, because mmdetection divides by n + 1.2e-7), all gradients (1.5e-9), batch-norm
buffers (1e-15), FPN maps (0), RPN proposals (0), detections (4e-15), pasted masks (no pixel differs). Piece by piece: box coder (1e-16),
MaxIoUAssigner with tied overlaps (0), NMS (0) and RoIAlign forward and backward (4e-15) against torchvision 0.20 and mmcv's own C++,
levels (0), mask targets (0), paste (3e-8, theirs rounds to float32). For this mmdetection's float32 casts were turned into float64, and
RandomSampler.random_choice was replaced by the fixed rule of sample() below.
NOT compared: the random draw itself; the authors' backbone wrapper (see upernet.py); published weights (none at hand); anything on a
GPU. Flip tests, soft NMS and other options of mmdetection that the authors' configs leave off are not written down.

Where the authors' configs differ from the classic Cascade Mask R-CNN: four convolutions with SyncBN + one fully connected layer in each
box head, boxes regressed per class (not class-agnostic), GIoU loss of weight 10 on decoded boxes, anchors only inside the image.

Boxes are (x1, y1, x2, y2) in pixels of the network's input, width x2 - x1 (no "+ 1"); an RoI is (image, x1, y1, x2, y2).
Shapes: B images, A = 3 anchors per cell, R RoIs, K classes; class K is the background.
"""
import math
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

import mambavision
from upernet import ConvModule, MambaVisionPyramid

# --- facts of the published recipe ------------------------------------------------------------------------------------------------
WINDOWS = (8, 8, 112, 56)                              # all sizes: one window over a whole 800 x 1333 image's stride-16 map
DROP_PATH = {"T": 0.2, "S": 0.3, "B": 0.5}
LEARNING_RATE = {"T": 1e-4, "S": 1e-4, "B": 2e-4}
RECIPE = dict(
    optimizer="AdamW", betas=(0.9, 0.999), weight_decay=0.05, no_decay="norm",   # as in upernet.RECIPE
    mixed_precision="fp16 with loss scaling", batch=16, epochs=36, steps=(27, 33), gamma=0.1,   # "3x"
    warm_up=1_000, start_factor=1e-3, clip=None,       # linear, in iterations; no gradient clipping
    flip=0.5,
    # One of two with equal chance: (1) resize so that the short side is one of `short`, the long at most 1333; (2) resize with
    # `short2`, crop (384..600 high) x (384..600 wide) at random, then as (1).
    short=tuple(range(480, 801, 32)), short2=(400, 500, 600), long=1333, crop=(384, 600),
    mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375), pad_divisor=32,
    test=(1333, 800), min_gt=32, drop_images_without_boxes=True,
)


def learning_rate(step, epoch, base, r=RECIPE):
    """The rate of iteration `step` in epoch `epoch`, both from 0."""
    warm = min(1.0, r["start_factor"] + (1 - r["start_factor"]) * step / (r["warm_up"] - 1))
    return base * warm * r["gamma"] ** sum(epoch >= s for s in r["steps"])


@dataclass
class Config:
    backbone: mambavision.Config
    num_classes: int = 80
    channels: int = 256                                # of the FPN, the RPN and all heads' convolutions
    fc: int = 1024
    shared_convs: int = 4                              # 4 convolutions with batch norm + 1 fully connected layer: the authors' head;
    shared_fcs: int = 1                                # 0 and 2: the "Shared2FC" head of the classic configs
    class_agnostic: bool = False                       # True in the classic configs
    giou: bool = True                                  # GIoU of decoded boxes, weight 10; else smooth L1 (beta 1) of deltas, weight 1
    anchor_scale: float = 8.0
    anchor_ratios: tuple = (0.5, 1.0, 2.0)             # height / width
    strides: tuple = (4, 8, 16, 32, 64)
    finest_scale: float = 56.0
    bins: int = 7
    mask_bins: int = 14
    stage_stds: tuple = ((0.1, 0.1, 0.2, 0.2), (0.05, 0.05, 0.1, 0.1), (0.033, 0.033, 0.067, 0.067))
    stage_iou: tuple = (0.5, 0.6, 0.7)
    stage_weights: tuple = (1.0, 0.5, 0.25)
    rpn_samples: int = 256
    rpn_positive: float = 0.5
    roi_samples: int = 512
    roi_positive: float = 0.25
    train_pre: int = 2000                              # proposals per level before NMS, and per image after it
    train_post: int = 2000
    test_pre: int = 1000
    test_post: int = 1000
    rpn_nms: float = 0.7
    score_threshold: float = 0.05
    nms: float = 0.5
    detections: int = 100


@dataclass
class Truth:
    """One image's annotation. Crowd regions are left out in training (they count only in the COCO metric)."""
    boxes: torch.Tensor                                # (G, 4)
    labels: torch.Tensor                               # (G,) int64, 0 .. K-1
    masks: torch.Tensor                                # (G, H, W) 0/1


# --- boxes ------------------------------------------------------------------------------------------------------------------------
def area(b):
    return (b[..., 2] - b[..., 0]) * (b[..., 3] - b[..., 1])


def intersection(a, b):
    wh = (torch.min(a[..., 2:], b[..., 2:]) - torch.max(a[..., :2], b[..., :2])).clamp(min=0)
    return wh[..., 0] * wh[..., 1]


def pairwise_iou(a, b):
    """(n, 4), (m, 4) -> (n, m); a union of less than 1e-6 counts as 1e-6."""
    inter = intersection(a[:, None], b[None])
    return inter / (area(a)[:, None] + area(b)[None] - inter).clamp(min=1e-6)


def giou(a, b):
    """(n, 4), (n, 4) -> (n,): IoU - (hull - union) / hull."""
    inter = intersection(a, b)
    union = (area(a) + area(b) - inter).clamp(min=1e-6)
    hull_wh = (torch.max(a[:, 2:], b[:, 2:]) - torch.min(a[:, :2], b[:, :2])).clamp(min=0)
    hull = (hull_wh[:, 0] * hull_wh[:, 1]).clamp(min=1e-6)
    return inter / union - (hull - union) / hull


def encode(boxes, goals, stds):
    """(n, 4), (n, 4) -> deltas (n, 4): shift of the center in box sizes, log of the size ratio; divided by stds."""
    size, goal_size = boxes[:, 2:] - boxes[:, :2], goals[:, 2:] - goals[:, :2]
    shift = (goals[:, :2] + goals[:, 2:] - boxes[:, :2] - boxes[:, 2:]) / 2 / size
    return torch.cat([shift, (goal_size / size).log()], 1) / boxes.new_tensor(stds)


def decode(boxes, deltas, stds, image=None):
    """Inverse of encode. boxes (n, 4), deltas (n, 4 k) -> (n, 4 k). Size ratios within 16/1000 .. 1000/16; image (h, w) clips."""
    d = deltas.reshape(len(deltas), -1, 4) * deltas.new_tensor(stds)
    size, center = (boxes[:, 2:] - boxes[:, :2])[:, None], ((boxes[:, :2] + boxes[:, 2:]) / 2)[:, None]
    limit = math.log(1000 / 16)
    half = size * d[..., 2:].clamp(-limit, limit).exp() / 2
    center = center + size * d[..., :2]
    out = torch.cat([center - half, center + half], -1)
    if image is not None:
        h, w = image
        out = out.clamp(min=0).minimum(out.new_tensor([w, h, w, h]))
    return out.reshape(deltas.shape)


def nms(boxes, scores, threshold):
    """Indices of the kept boxes, best first. A box goes if its IoU with a kept better one is ABOVE threshold; among equal scores the
    lower index is better; 0 / 0 (two empty boxes) is not above anything."""
    order, keep = scores.argsort(descending=True, stable=True), []
    while len(order):
        best, order = order[0], order[1:]
        keep.append(best)
        inter = intersection(boxes[best], boxes[order])
        order = order[~(inter / (area(boxes[best]) + area(boxes[order]) - inter) > threshold)]
    return torch.stack(keep) if keep else scores.new_zeros(0, dtype=torch.long)


def grouped_nms(boxes, scores, groups, threshold):
    """NMS within each group (pyramid level or class); the kept of all groups together, best first."""
    keep = [torch.nonzero(groups == g).flatten() for g in groups.unique()]
    keep = torch.cat([i[nms(boxes[i], scores[i], threshold)] for i in keep]) if keep else groups[:0]
    keep = keep.sort().values                          # so that equal scores stay in index order
    return keep[scores[keep].argsort(descending=True, stable=True)]


def grid_anchors(h, w, stride, scale, ratios, like):
    """(h * w * A, 4): cell by cell in row-major order, A anchors centerd on the cell's UPPER LEFT pixel (x stride, y stride)."""
    r = like.new_tensor(ratios)
    half = torch.stack([r.rsqrt(), r.sqrt()], 1) * (stride * scale / 2)                # A x (w, h) / 2
    y, x = torch.meshgrid(*(torch.arange(n, dtype=like.dtype, device=like.device) * stride for n in (h, w)), indexing="ij")
    center = torch.stack([x, y], -1).view(-1, 1, 2)
    return torch.cat([center - half, center + half], -1).view(-1, 4)


# --- targets ----------------------------------------------------------------------------------------------------------------------
def assign(boxes, gt, positive, negative, low_quality=None):
    """-> (n,) index of the ground truth a box shall find, -1 for background, -2 for neither.

    Best IoU >= positive: that truth. Below negative: background. With low_quality, afterwards every truth whose best IoU is at least
    that takes ALL boxes that reach this best (a later truth overrides an earlier one). "Reach" is == on floating-point numbers.
    """
    if len(gt) == 0:
        return torch.full((len(boxes),), -1)
    iou = pairwise_iou(gt, boxes)
    best, which = iou.max(0)
    out = torch.full_like(which, -2)
    out[best < negative] = -1
    out[best >= positive] = which[best >= positive]
    if low_quality is not None:
        for g, row in enumerate(iou):
            if row.max() >= low_quality:
                out[row == row.max()] = g
    return out


def sample(assigned, count, positive_fraction, generator=None):
    """At most count * fraction positives, the rest negatives -> (positive indices, negative indices), both ascending.

    Training draws at random (generator). Without one the rule is fixed, for tests: of n candidates the k numbers floor(i n / k).
    """
    def pick(candidates, k):
        n = len(candidates)
        if n <= k:
            return candidates
        if generator is None:
            return candidates[torch.arange(k) * n // k]
        return candidates[torch.randperm(n, generator=generator)[:k]].sort().values

    pos = pick(torch.nonzero(assigned >= 0).flatten(), int(count * positive_fraction))
    return pos, pick(torch.nonzero(assigned == -1).flatten(), count - len(pos))


# --- RoIAlign ---------------------------------------------------------------------------------------------------------------------
def bin_weights(start, length, bins, size, like):
    """(bins, size) matrix of one axis: row i is the mean of the linear-interpolation weights of bin i's samples.

    ceil(length / bins) samples per bin (sampling_ratio 0), centerd in equal parts of it. Position p lies on pixel p (the half pixel is
    already taken off in `start`); a sample below -1 or above `size` gives 0, one in [-1, 0] reads pixel 0, one past the last pixel
    reads the last. No samples (length <= 0): a row of zeros.
    """
    n = max(math.ceil(length / bins), 0)
    m = [[0.0] * size for _ in range(bins)]
    for i in range(bins):
        for k in range(n):
            p = start + (i + (k + 0.5) / n) * length / bins
            if p < -1 or p > size:
                continue
            p = min(max(p, 0.0), size - 1)
            low = int(p)
            high = min(low + 1, size - 1)
            m[i][low] += (1 - (p - low)) / n
            m[i][high] += (p - low) / n
    return like.new_tensor(m)


def roi_align(fmap, rois, bins, scale):
    """(B, C, H, W), (R, 5) -> (R, C, bins, bins). Bilinear weights factor, so each RoI is rows x map x columns. No gradient to rois."""
    out = []
    for image, x1, y1, x2, y2 in rois.tolist():
        rows = bin_weights(y1 * scale - 0.5, (y2 - y1) * scale, bins, fmap.shape[2], fmap)
        cols = bin_weights(x1 * scale - 0.5, (x2 - x1) * scale, bins, fmap.shape[3], fmap)
        out.append(torch.einsum("ih,chw,jw->cij", rows, fmap[int(image)], cols))
    return torch.stack(out) if out else fmap.new_zeros(0, fmap.shape[1], bins, bins)


def roi_levels(rois, levels, finest):
    """A RoI of side sqrt(w h) is read from level floor(log2(side / finest)), within 0 .. levels - 1."""
    side = area(rois[:, 1:]).sqrt()
    return (side / finest + 1e-6).log2().floor().clamp(0, levels - 1).long()


def roi_features(maps, rois, bins, strides, finest):
    level = roi_levels(rois, len(maps), finest)
    out = maps[0].new_zeros(len(rois), maps[0].shape[1], bins, bins)
    for i, m in enumerate(maps):
        here = torch.nonzero(level == i).flatten()
        out = out.index_copy(0, here, roi_align(m, rois[here], bins, 1 / strides[i]))
    return out


def to_rois(boxes):
    """[(n_b, 4)] per image -> (R, 5)"""
    return torch.cat([torch.cat([b.new_full((len(b), 1), i), b], 1) for i, b in enumerate(boxes)])


def mask_targets(truth, boxes, which, size):
    """The truth's masks cut out by the boxes (n, 4) to size x size by RoIAlign at scale 1; >= 0.5 is foreground."""
    masks = truth.masks.to(boxes.dtype)[:, None]
    return (roi_align(masks, torch.cat([which[:, None].to(boxes.dtype), boxes], 1), size, 1.0)[:, 0] >= 0.5).to(boxes.dtype)


def paste(masks, boxes, height, width):
    """Probabilities (n, s, s) stretched over their boxes -> (n, height, width), bilinear, zero outside. An empty box pastes nothing."""
    def axis(lo, hi, size, pixels):                    # (n, pixels, size)
        p = (torch.arange(pixels, dtype=lo.dtype) + 0.5 - lo[:, None]) / (hi - lo)[:, None] * size - 0.5
        w = 1 - (p[:, :, None] - torch.arange(size, dtype=lo.dtype)).abs()
        return torch.nan_to_num(w, nan=0.0, posinf=0.0, neginf=0.0).clamp(min=0)
    rows, cols = axis(boxes[:, 1], boxes[:, 3], masks.shape[1], height), axis(boxes[:, 0], boxes[:, 2], masks.shape[2], width)
    return rows @ masks @ cols.transpose(1, 2)


# --- modules ----------------------------------------------------------------------------------------------------------------------
class FPN(nn.Module):
    """Four maps -> five of equal channels; the fifth is every second pixel of the fourth."""

    def __init__(self, in_channels, channels):
        super().__init__()
        self.lateral_convs = nn.ModuleList(ConvModule(c, channels, 1, norm=False, relu=False) for c in in_channels)
        self.fpn_convs = nn.ModuleList(ConvModule(channels, channels, 3, norm=False, relu=False) for _ in in_channels)

    def forward(self, maps):
        x = [conv(m) for conv, m in zip(self.lateral_convs, maps)]
        for i in reversed(range(len(x) - 1)):
            x[i] = x[i] + F.interpolate(x[i + 1], size=x[i].shape[2:], mode="nearest")
        x = [conv(m) for conv, m in zip(self.fpn_convs, x)]
        return x + [x[-1][:, :, ::2, ::2]]


class RPNHead(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg, anchors = cfg, len(cfg.anchor_ratios)
        self.rpn_conv = nn.Conv2d(cfg.channels, cfg.channels, 3, padding=1)
        self.rpn_cls = nn.Conv2d(cfg.channels, anchors, 1)                   # one logit: object or not
        self.rpn_reg = nn.Conv2d(cfg.channels, 4 * anchors, 1)

    def forward(self, maps):
        """-> per level: logits (B, n), deltas (B, n, 4), anchors (n, 4), with n = h w A as in grid_anchors."""
        logits, deltas, anchors = [], [], []
        for m, stride in zip(maps, self.cfg.strides):
            (b, _, h, w), x = m.shape, F.relu(self.rpn_conv(m))
            logits.append(self.rpn_cls(x).permute(0, 2, 3, 1).reshape(b, -1))
            deltas.append(self.rpn_reg(x).permute(0, 2, 3, 1).reshape(b, -1, 4))
            anchors.append(grid_anchors(h, w, stride, self.cfg.anchor_scale, self.cfg.anchor_ratios, m))
        return logits, deltas, anchors

    def loss(self, outputs, truths, sizes, generator=None):
        """Anchors reaching outside the image (or touching its right or lower edge) take no part. -> losses, samples"""
        logits, deltas, anchors = (torch.cat(o, -1 if i == 0 else -2) for i, o in enumerate(outputs))
        cls = box = count = 0
        samples = []
        for i, truth in enumerate(truths):
            h, w = sizes[i]
            inside = (anchors[:, 0] >= 0) & (anchors[:, 1] >= 0) & (anchors[:, 2] < w) & (anchors[:, 3] < h)
            inside = torch.nonzero(inside).flatten()
            assigned = assign(anchors[inside], truth.boxes, 0.7, 0.3, low_quality=0.3)
            pos, neg = sample(assigned, self.cfg.rpn_samples, self.cfg.rpn_positive, generator)
            which, pos, neg = assigned[pos], inside[pos], inside[neg]
            samples.append((pos, neg, which))
            cls = cls + F.softplus(-logits[i, pos]).sum() + F.softplus(logits[i, neg]).sum()      # binary cross-entropy
            goal = encode(anchors[pos], truth.boxes[which], (1, 1, 1, 1))
            box = box + F.smooth_l1_loss(deltas[i, pos], goal, beta=1 / 9, reduction="sum")
            count += max(len(pos), 1) + max(len(neg), 1)
        return {"loss_rpn_cls": cls / count, "loss_rpn_bbox": box / count}, samples

    @torch.no_grad()
    def proposals(self, outputs, sizes, before, after):
        """Per image: the `before` best anchors of each level, decoded and clipped, NMS per level, the `after` best of all.
        -> [(boxes (n, 4), scores (n,))]"""
        found = []
        for i, size in enumerate(sizes):
            boxes, scores, levels = [], [], []
            for level, (logits, deltas, anchors) in enumerate(zip(*outputs)):
                s, best = logits[i].sigmoid().sort(descending=True, stable=True)
                best = best[:before]
                boxes.append(decode(anchors[best], deltas[i, best], (1, 1, 1, 1), size))
                scores.append(s[:before])
                levels.append(torch.full_like(best, level))
            boxes, scores, levels = torch.cat(boxes), torch.cat(scores), torch.cat(levels)
            real = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
            boxes, scores, levels = boxes[real], scores[real], levels[real]
            keep = grouped_nms(boxes, scores, levels, self.cfg.rpn_nms)[:after]
            found.append((boxes[keep], scores[keep]))
        return found


class BBoxHead(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        c = cfg.channels
        self.shared_convs = nn.ModuleList(ConvModule(c, c, 3) for _ in range(cfg.shared_convs))   # with batch norm
        sizes = [c * cfg.bins ** 2] + [cfg.fc] * cfg.shared_fcs
        self.shared_fcs = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))
        self.fc_cls = nn.Linear(sizes[-1], cfg.num_classes + 1)
        self.fc_reg = nn.Linear(sizes[-1], 4 if cfg.class_agnostic else 4 * cfg.num_classes)

    def forward(self, x):                                                    # (R, C, 7, 7) -> (R, K + 1), (R, 4 or 4 K)
        for conv in self.shared_convs:
            x = conv(x)
        x = x.flatten(1)
        for fc in self.shared_fcs:
            x = F.relu(fc(x))
        return self.fc_cls(x), self.fc_reg(x)


class MaskHead(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        c = cfg.channels
        self.convs = nn.ModuleList(ConvModule(c, c, 3, norm=False) for _ in range(4))
        self.upsample = nn.ConvTranspose2d(c, c, 2, stride=2)
        self.conv_logits = nn.Conv2d(c, cfg.num_classes, 1)

    def forward(self, x):                                                    # (R, C, 14, 14) -> (R, K, 28, 28)
        for conv in self.convs:
            x = conv(x)
        return self.conv_logits(F.relu(self.upsample(x)))


def by_class(deltas, labels):
    """The deltas of each row's class: (n, 4 K), (n,) -> (n, 4); class-agnostic ones (n, 4) pass."""
    d = deltas.reshape(len(deltas), -1, 4)
    return d[:, 0] if d.shape[1] == 1 else d[torch.arange(len(d)), labels]


class CascadeRoIHead(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg, self.stages = cfg, len(cfg.stage_stds)
        self.bbox_head = nn.ModuleList(BBoxHead(cfg) for _ in range(self.stages))
        self.mask_head = nn.ModuleList(MaskHead(cfg) for _ in range(self.stages))

    def features(self, maps, rois, bins):                                    # the fifth level is for proposals only
        return roi_features(maps[:4], rois, bins, self.cfg.strides, self.cfg.finest_scale)

    def loss(self, maps, proposals, truths, sizes, generator=None, trace=None):
        """proposals [(n, 4)] -> {"s0.loss_cls", "s0.loss_bbox", "s0.loss_mask", "s1. ...}, weighted by the stage."""
        cfg, boxes, losses, trace = self.cfg, proposals, {}, {} if trace is None else trace
        for s in range(self.stages):
            # 1. The truths join the proposals (in front); each image gets its samples, positives first.
            picked, labels, which, numbers, is_truth = [], [], [], [], []
            for b, truth in zip(boxes, truths):
                assigned = torch.cat([torch.arange(len(truth.boxes)), assign(b, truth.boxes, cfg.stage_iou[s], cfg.stage_iou[s])])
                pos, neg = sample(assigned, cfg.roi_samples, cfg.roi_positive, generator)
                rows = torch.cat([pos, neg])
                numbers.append(len(pos))
                which.append(assigned[pos])
                picked.append(torch.cat([truth.boxes, b])[rows])
                labels.append(torch.cat([truth.labels[assigned[pos]], torch.full_like(neg, cfg.num_classes)]))
                is_truth.append(rows < len(truth.boxes))
                trace.setdefault(f"s{s}.rows", []).append(rows)
            rois, label = to_rois(picked), torch.cat(labels)
            # 2. Class and box.
            x = self.features(maps, rois, cfg.bins)
            scores, deltas = self.bbox_head[s](x)
            trace.update({f"s{s}.rois": rois, f"s{s}.labels": label, f"s{s}.roi_features": x, f"s{s}.scores": scores, f"s{s}.deltas": deltas})
            pos = torch.nonzero(label < cfg.num_classes).flatten()
            goal = torch.cat([t.boxes[w] for t, w in zip(truths, which)])
            loss = {"loss_cls": F.cross_entropy(scores, label)}
            own = by_class(deltas[pos], label[pos])
            if cfg.giou:
                loss["loss_bbox"] = 10 * (1 - giou(decode(rois[pos, 1:], own, cfg.stage_stds[s]), goal)).sum() / len(rois)
            else:
                goal = encode(rois[pos, 1:], goal, cfg.stage_stds[s])
                loss["loss_bbox"] = F.smooth_l1_loss(own, goal, reduction="sum") / len(rois)
            # 3. Mask, for the positives: binary cross-entropy on the map of the true class.
            m = self.mask_head[s](self.features(maps, rois[pos], cfg.mask_bins))
            goal = torch.cat([mask_targets(t, p[:n], w, m.shape[-1]) for t, p, n, w in zip(truths, picked, numbers, which)])
            trace.update({f"s{s}.mask_logits": m, f"s{s}.mask_targets": goal})
            m = m[torch.arange(len(pos)), label[pos]]
            loss["loss_mask"] = F.binary_cross_entropy_with_logits(m, goal) if len(pos) else m.sum()
            losses |= {f"s{s}.{k}": v * cfg.stage_weights[s] for k, v in loss.items()}
            # 4. Boxes for the next stage: moved by the true class's deltas (background: the best class's); the truths leave again.
            with torch.no_grad():
                move = torch.where(label == cfg.num_classes, scores[:, :-1].argmax(1), label)
                parts = zip(*(t.split([len(p) for p in picked]) for t in (rois[:, 1:], by_class(deltas, move))))
                boxes = [decode(r, d, cfg.stage_stds[s], size)[~t] for (r, d), size, t in zip(parts, sizes, is_truth)]
        return losses

    @torch.no_grad()
    def predict(self, maps, proposals, sizes, originals, trace=None):
        """-> per image (boxes (n, 4), scores (n,), labels (n,), masks (n, h, w) bool), in the original image's pixels, best first."""
        cfg, boxes, total, trace = self.cfg, proposals, 0, {} if trace is None else trace
        counts = [len(p) for p in proposals]
        for s in range(self.stages):
            rois = to_rois(boxes)
            scores, deltas = self.bbox_head[s](self.features(maps, rois, cfg.bins))
            trace.update({f"s{s}.rois": rois, f"s{s}.scores": scores, f"s{s}.deltas": deltas})
            total = total + scores / self.stages                             # logits are averaged, not probabilities
            if s < self.stages - 1:
                parts = zip(rois[:, 1:].split(counts), by_class(deltas, scores[:, :-1].argmax(1)).split(counts), sizes)
                boxes = [decode(r, d, cfg.stage_stds[s], size) for r, d, size in parts]
        found = []
        for r, d, t, size in zip(rois[:, 1:].split(counts), deltas.split(counts), total.split(counts), sizes):
            b = decode(r, d, cfg.stage_stds[-1], size).view(len(r), -1, 4).expand(-1, cfg.num_classes, 4)
            row, label = torch.nonzero(t.softmax(1)[:, :-1] > cfg.score_threshold, as_tuple=True)
            b, score = b[row, label], t.softmax(1)[row, label]
            keep = grouped_nms(b, score, label, cfg.nms)[:cfg.detections]
            found.append((b[keep], score[keep], label[keep]))
        rois, label = to_rois([f[0] for f in found]), torch.cat([f[2] for f in found])
        x = self.features(maps, rois, cfg.mask_bins)
        masks = sum(head(x)[torch.arange(len(x)), label].sigmoid() for head in self.mask_head) / self.stages
        trace.update({"mask_probabilities": masks})
        out = []
        for (b, score, label), m, (h, w), (oh, ow) in zip(found, masks.split([len(f[0]) for f in found]), sizes, originals):
            b = b / b.new_tensor([w / ow, h / oh] * 2)
            out.append((b, score, label, paste(m, b, oh, ow) >= 0.5))
        return out


class CascadeMaskRCNN(nn.Module):
    """Images of a batch are padded with zeros (after normalization) at the right and bottom to one size, a multiple of 32; `sizes` are
    the sizes before padding, `originals` those before resizing, all (height, width)."""

    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.backbone = MambaVisionPyramid(cfg.backbone)
        self.neck = FPN(self.backbone.channels, cfg.channels)
        self.rpn_head = RPNHead(cfg)
        self.roi_head = CascadeRoIHead(cfg)

    def loss(self, images, truths, sizes, generator=None, trace=None, extra=None):
        """extra [(n, 4)]: boxes put behind each image's proposals (tests use it: an untrained RPN hardly finds anything)."""
        trace = {} if trace is None else trace
        maps = self.neck(self.backbone(images))
        outputs = self.rpn_head(maps)
        losses, samples = self.rpn_head.loss(outputs, truths, sizes, generator)
        proposals = self.rpn_head.proposals(outputs, sizes, self.cfg.train_pre, self.cfg.train_post)
        trace.update({"maps": maps, "rpn": outputs, "rpn_samples": samples, "proposals": proposals})
        boxes = [p[0] for p in proposals] if extra is None else [torch.cat([p[0], e]) for p, e in zip(proposals, extra)]
        losses |= self.roi_head.loss(maps, boxes, truths, sizes, generator, trace)
        return losses | {"loss": sum(losses.values())}

    @torch.no_grad()
    def predict(self, images, sizes, originals, trace=None):
        trace = {} if trace is None else trace
        maps = self.neck(self.backbone(images))
        outputs = self.rpn_head(maps)
        proposals = self.rpn_head.proposals(outputs, sizes, self.cfg.test_pre, self.cfg.test_post)
        trace.update({"maps": maps, "rpn": outputs, "proposals": proposals})
        return self.roi_head.predict(maps, [p[0] for p in proposals], sizes, originals, trace)


def published(key):
    """The paper's detectors: key T, S or B."""
    from dataclasses import replace
    return Config(replace(mambavision.VARIANTS[key], window_size=WINDOWS, drop_path_rate=DROP_PATH[key]))
