"""Atlas on images of any size, by another road than the C++ library: windows at the edge are simply smaller here.

The library pads such windows and masks the padding; nothing is padded here, so whatever leaks from padding shows up as a
difference. Maps are channels last, (B, h, w, C); the rule for the windows is written at AtlasPyramid in atlas_pyramid.h.
"""
import torch
import torch.nn.functional as F

import atlas


def up(a, b):
    return -(-a // b)


class AnyAtlas(atlas.Atlas):
    def __init__(self, cfg):
        side = up(cfg.image, cfg.patch)
        self.count = len(atlas.layout(side, cfg.window, cfg.ratio))
        super().__init__(cfg)
        for i, stage in enumerate(self.atlas_models):                        # as many scales as the square size has
            n = max(self.count - i, 1)
            for block in stage.levels[0].blocks:
                if len(block.blocks) != n:
                    raise ValueError("choose an image size whose macro stages continue each other")

    def windows(self, s, size):
        """(sides, [(row, column)] of the first tokens) of scale s of `size` tokens."""
        several = up(self.cfg.window, self.cfg.ratio) * self.cfg.ratio
        sides = [n if s == self.count - 1 or n <= several else several for n in size]
        return sides, [(r, c) for r in range(0, size[0], sides[0]) for c in range(0, size[1], sides[1])]

    def cut(self, x, at, sides):
        return x[:, at[0]:at[0] + sides[0], at[1]:at[1] + sides[1]].flatten(1, 2)

    def assemble(self, x, parts, firsts, sides):
        """A map like x made of the windows `parts`."""
        rows, at = [], 0
        for r in sorted({f[0] for f in firsts}):
            here = [f for f in firsts if f[0] == r]
            h = min(sides[0], x.shape[1] - r)
            rows.append(torch.cat([p.unflatten(1, (h, -1)) for p in parts[at:at + len(here)]], 2))
            at += len(here)
        return torch.cat(rows, 1)

    def position(self, posemb, x, sides):
        axes = [(torch.arange(m, dtype=x.dtype) - m // 2) / (m // 2 or 1) for m in sides]
        grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
        table = posemb.projector(grid)
        rows, cols = torch.arange(x.shape[1]) % sides[0], torch.arange(x.shape[2]) % sides[1]
        return x + table[rows][:, cols]

    def pool(self, x, ratio):
        return F.max_pool2d(x.permute(0, 3, 1, 2), ratio, ceil_mode=True).permute(0, 2, 3, 1)

    def attend(self, block, q, sources):                                     # tokens (B, l, C), [(B, l_i, C)] already normed
        q = block.attn.split(block.attn.q(block.norm1_q(q)), 1)[0]
        kv = [block.attn.split(t, 2) for t in sources]
        p = torch.softmax(q @ torch.cat([k for k, _ in kv], 2).transpose(-2, -1) * q.shape[-1] ** -0.5, -1)
        return block.attn.proj((p @ torch.cat([v for _, v in kv], 2)).transpose(1, 2).flatten(2))

    def block(self, b, x, first):
        n = len(x)
        layouts = [self.windows(first + s, t.shape[1:3]) for s, t in enumerate(x)]
        x = [self.position(b.posemb[s], t, layouts[s][0]) for s, t in enumerate(x)]
        for s in range(n - 1):
            x[s + 1] = x[s + 1] + self.pool(x[s], self.cfg.ratio)
        keys = [None] * n                                                    # keys and values as maps
        for s in reversed(range(n)):
            blk, (sides, firsts) = b.blocks[s], layouts[s]
            own = blk.attn.kv(blk.norm1_kv(x[s]))
            parts = []
            for i, at in enumerate(firsts):
                sources = [self.cut(own, at, sides)]
                for t in range(s + 1, n):
                    sides_t, firsts_t = layouts[t]
                    sources.append(self.cut(keys[t], firsts_t[i * len(firsts_t) // len(firsts)], sides_t))
                parts.append(self.attend(blk, self.cut(x[s], at, sides), sources))
            x[s] = blk.finish(x[s], self.assemble(x[s], parts, firsts, sides))
            keys[s] = blk.attn.kv(blk.norm1_kv(x[s]))
        for s in range(1, n):
            blk, (fine_sides, fine_firsts) = b.blocks[s], layouts[s - 1]
            fine = b.blocks[s - 1].attn.kv(b.blocks[s - 1].norm1_kv(x[s - 1]))
            whole = [fine_sides[a] >= x[s - 1].shape[1 + a] for a in (0, 1)]
            over = [x[s].shape[1 + a] if whole[a] else fine_sides[a] // self.cfg.ratio for a in (0, 1)]
            firsts = [(r // fine_sides[0] * over[0], c // fine_sides[1] * over[1]) for r, c in fine_firsts]
            parts = [self.attend(blk, self.cut(x[s], at, over), [self.cut(fine, f, fine_sides)])
                     for at, f in zip(firsts, fine_firsts)]
            x[s] = blk.finish(x[s], self.assemble(x[s], parts, firsts, over))
        return x

    def forward_features(self, image):
        fmap = self.atlas_models[0].patch_embed(image).permute(0, 2, 3, 1)
        x = [self.pool(fmap, self.cfg.ratio ** s) if s else fmap for s in range(self.count)]
        first = 0
        for i, stage in enumerate(self.atlas_models):
            for b in stage.levels[0].blocks:
                x = self.block(b, x, first)
            if len(x) > 1 and i < len(self.atlas_models) - 1:
                x, first = x[1:], first + 1
        tokens = []
        for s, t in enumerate(x):
            sides, firsts = self.windows(first + s, t.shape[1:3])
            tokens.append(torch.cat([self.cut(t, at, sides) for at in firsts], 1))
        return tokens
