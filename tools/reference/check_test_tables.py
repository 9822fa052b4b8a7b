"""Computes, with PyTorch, the tables of numbers that tests of ops and optimizers call PyTorch's, and looks for each of
them in its test.

Usage: python3 tools/reference/check_test_tables.py            (in the root of the repository; needs torch)
       python3 tools/reference/check_test_tables.py --print    writes every table as well, for new tests

Inputs are those of tests/ops/formula_input.h: wave(shape, step, start, scale)[i] = scale sin(step i + start), channels
last; gradients are those of sum(y wave(1.1 i + 0.4)).
"""
import math
import re
import sys

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)


def wave(shape, step, start=0.0, scale=1.0):
    n = math.prod(shape)
    return (scale * torch.sin(step * torch.arange(n, dtype=torch.float64) + start)).reshape(shape)


def with_gradients(op, *inputs):
    leaves = [x.clone().requires_grad_() for x in inputs]
    y = op(*leaves)
    return [y.detach(), *torch.autograd.grad(y, leaves, wave(y.shape, 1.1, 0.4))]


def of_maps(op):
    """The same op of maps with channels last."""
    return lambda x, *more: op(x.permute(0, 3, 1, 2), *more).permute(0, 2, 3, 1)


def norms():
    yield "layer_norm", with_gradients(lambda x, w, b: F.layer_norm(x, (5,), w, b, 1e-5), wave((3, 5), 0.7, 0.3, 2),
                                       wave((5,), 0.9, 1), wave((5,), 1.3, 0.2))
    mean, var = wave((3,), 0.5, 0.1), wave((3,), 0.4, 0.2) + 1.5
    given = wave((2, 2, 2, 3), 0.7, 0.3, 2), wave((3,), 0.9, 1), wave((3,), 1.3, 0.2)
    for training in False, True:
        norm = of_maps(lambda x, w, b: F.batch_norm(x, mean, var, w, b, training, 0.1, 1e-5))
        yield f"batch_norm, training {training}", with_gradients(norm, *given)[:None if training else 2]
    yield "running statistics", [mean, var]


def softmaxes():
    x = wave((2, 3, 2), 0.7, 0.3, 2)
    yield "softmax", [F.softmax(x, axis) for axis in (0, 1, 2)]
    yield "log_softmax", [F.log_softmax(x, axis) for axis in (1, 2)]


def losses():
    x, labels = wave((3, 4), 0.7, 0.3, 2), torch.tensor([2, 0, 3])
    soft = F.softmax(wave((3, 4), 1.1, 0.4), -1) * 1.25
    for smoothing in 0.0, 0.1:
        leaf = x.clone().requires_grad_()
        loss = F.cross_entropy(leaf, labels, label_smoothing=smoothing)
        yield f"classes, smoothing {smoothing}", [loss, *torch.autograd.grad(loss, leaf)]
        leaf, target = x.clone().requires_grad_(), soft.clone().requires_grad_()
        loss = F.cross_entropy(leaf, target, label_smoothing=smoothing)
        yield f"probabilities, smoothing {smoothing}", [loss, *torch.autograd.grad(loss, (leaf, target))]
    x, labels = wave((4, 3), 0.7, 0.3, 2), torch.tensor([2, 0, 1, 1])
    for smoothing in 0.0, 0.1:
        leaf = x.clone().requires_grad_()
        found = [F.cross_entropy(leaf, labels, torch.tensor([0.5, 2, 1]), ignore_index=0, label_smoothing=smoothing,
                                 reduction=r) for r in ("mean", "sum", "none")]
        yield f"weights, smoothing {smoothing}", found + (list(torch.autograd.grad(found[0], leaf)) if smoothing else [])


def resizes():
    for size in (3, 7), (8, 2):
        for mode, antialias in ("nearest", False), ("bilinear", False), ("bilinear", True), ("bicubic", False), ("bicubic",
                                                                                                                True):
            corners = {} if mode == "nearest" else {"align_corners": False, "antialias": antialias}
            op = of_maps(lambda x: F.interpolate(x, size, mode=mode, **corners))
            yield f"{mode} to {size}, antialias {antialias}", with_gradients(op, wave((1, 5, 4, 1), 0.7, 0.3, 2))


def picks():
    """Sums that say which pixels mode "nearest" picks: of (k + 1) * source[k]."""
    sums = []
    for n, out in (7, 49), (49, 7), (10, 3), (3, 10), (224, 100), (5, 10):
        y = F.interpolate(torch.arange(float(n))[None, None], out, mode="nearest").flatten()
        sums += [n, out, (y * torch.arange(1, out + 1)).sum().item()]
    yield "picks of nearest", [torch.tensor(sums)]


def bf16_errors():
    """Relative error of the references' logits under autocast to bfloat16, to four digits; the kernels that PyTorch
    chooses differ from machine to machine."""
    import atlas
    import formula
    import mambavision
    for what, side, make in [
        ("mambavision", 64, lambda: mambavision.MambaVision(mambavision.Config(
            16, 8, (1, 1, 3, 2), (2, 2, 2, 4), (8, 8, 4, 2), num_classes=7, drop_path_rate=0.0))),
        ("atlas", 256, lambda: atlas.Atlas(atlas.Config(
            256, 32, 2, (1, 2), 8, 2, num_classes=7, stem_dim=8, drop_path_rate=0.0))),
    ]:
        torch.set_default_dtype(torch.float32)
        model, x = formula.fill(make()).eval(), torch.from_numpy(formula.image(2, side, side)).float()
        with torch.no_grad():
            exact = model(x).double()
            with torch.autocast("cpu", torch.bfloat16):
                rough = model(x).double()
        torch.set_default_dtype(torch.float64)
        yield f"error of {what} in bfloat16", [(rough - exact).norm() / exact.norm()]


def pools():
    x = wave((1, 5, 4, 2), 0.7, 0.3, 2)
    y, dx = with_gradients(of_maps(lambda x: F.max_pool2d(x, 3, 2, 1)), x)
    yield "max_pool2d", [y, dx[dx != 0]]
    for count in True, False:
        op = of_maps(lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=count))
        yield f"avg_pool2d, counting padding {count}", with_gradients(op, x)[:1]
    yield "adaptive_avg_pool2d", with_gradients(of_maps(lambda x: F.adaptive_avg_pool2d(x, (3, 3))), x)


class Lamb(torch.optim.Optimizer):
    """You et al., ICLR 2020, algorithm 2, as the recipes use it: PyTorch has none."""

    def __init__(self, groups):
        super().__init__(groups, {"lr": 0.0, "weight_decay": 0.0})

    def step(self):
        every = [p for group in self.param_groups for p in group["params"]]
        scale = 1 / max(1.0, math.sqrt(sum(float((p.grad**2).sum()) for p in every)))
        for group in self.param_groups:
            for p in group["params"]:
                s = self.state[p]
                s["t"] = s.get("t", 0) + 1
                g = p.grad * scale
                s["m"] = 0.9 * s.get("m", torch.zeros_like(p)) + 0.1 * g
                s["v"] = 0.999 * s.get("v", torch.zeros_like(p)) + 0.001 * g * g
                d = (s["m"] / (1 - 0.9**s["t"])) / ((s["v"] / (1 - 0.999**s["t"])).sqrt() + 1e-6)
                trust = 1.0
                if group["weight_decay"] > 0:
                    d = d + group["weight_decay"] * p.data
                    trust = float(p.data.norm() / d.norm())
                p.data -= group["lr"] * trust * d


def optimizers():
    kinds = [("SGD", 0.1, torch.optim.SGD, {}), ("SGD with momentum", 0.1, torch.optim.SGD, {"momentum": 0.9}),
             ("SGD with Nesterov momentum", 0.1, torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
             ("Adam", 0.05, torch.optim.Adam, {"betas": (0.8, 0.95), "eps": 1e-6}), ("AdamW", 0.05, torch.optim.AdamW, {}),
             ("LAMB", 0.05, Lamb, {})]

    def made(shape, value):
        return torch.tensor([value(i) for i in range(math.prod(shape))], dtype=torch.float64).reshape(shape)

    for name, rate, kind, more in kinds:
        w = made((3, 4), lambda i: ((i * 5) % 7 - 3) / 4.0).requires_grad_()
        b = made((4,), lambda i: ((i * 3) % 5 - 1) / 8.0).requires_grad_()
        optimizer = kind([{"params": [w], "weight_decay": 0.05}, {"params": [b], "weight_decay": 0.0}],
                         **({} if kind is Lamb else {"lr": rate}), **more)
        for t in range(5):
            for group in optimizer.param_groups:
                group["lr"] = rate * (t + 1) / 5
            w.grad = made((3, 4), lambda i: ((i * 5 + t * 3) % 11 - 5) / 8.0)
            b.grad = made((4,), lambda i: ((i * 7 + t * 2) % 9 - 4) / 16.0)
            optimizer.step()
        yield name, [torch.cat([w.detach().flatten(), b.detach()])]


def numbers_of(path):
    with open(path) as file:
        text = re.sub(r"//.*", "", file.read())
    return [float(n) for n in re.findall(r"(?<![\w.])-?\d+(?:\.\d*)?(?:e-?\d+)?", text)]


def stands_in(table, numbers, digits):
    """Whether the numbers of a table stand in a test, one after the other; of pairs {index, value}, every second."""
    wanted = table.flatten().tolist()
    for step in 1, 2:
        for start in range(len(numbers) - step * (len(wanted) - 1)):
            if all(abs(numbers[start + step * i] - x) <= digits * (1 + abs(x)) for i, x in enumerate(wanted)):
                return True
    return False


def main():
    missing = count = 0
    for test, tables in [("ops/norm", norms), ("ops/softmax", softmaxes), ("ops/loss", losses), ("ops/resize", resizes),
                         ("ops/resize", picks), ("nn/precision", bf16_errors),
                         ("ops/pool", pools), ("optim/optimizer", optimizers)]:
        path = f"tests/{test}_test.cpp"
        numbers = numbers_of(path)
        for what, found in tables():
            for i, table in enumerate(found):
                count += 1
                if "--print" in sys.argv:
                    print(f"{path}: {what}, {i}\n  {{" + ", ".join(f"{x:.17g}" for x in table.flatten().tolist()) + "}")
                digits = {"optim/optimizer": 1e-13, "nn/precision": 5e-6}.get(test, 1e-9)
                if not stands_in(table, numbers, digits):
                    missing += 1
                    print(f"{path}: the table {i} of {what} stands nowhere in it")
    print(f"PyTorch {torch.__version__}: {count - missing} of {count} tables stand in their tests")
    return missing != 0


if __name__ == "__main__":
    sys.exit(main())
