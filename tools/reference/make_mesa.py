"""Writes tests/golden/recipes/mesa.safetensors: MESA's loss and gradient, and a training with it, computed by PyTorch in float64.

Usage: python3 make_mesa.py OUT.safetensors      (needs PyTorch and numpy)

loss/*: logits of a model and of the moving average of its weights, a soft target, the two parts of the loss with weight 0.5
and the gradient of their sum. train/*: a linear classifier of eight images in one batch, gradient descent with rate 0.5, label
smoothing 0.1, moving average with constant decay 0.8, MESA of weight 0.5 in epochs e of 8 (one update each) with e / 8 > 0.25:
the images as bytes, the first weights, the loss before every update, and the weights and their average at the end.
"""
import sys

import numpy
import torch
import torch.nn.functional as F

from tensorfile import save

torch.manual_seed(5)
double = torch.float64


def mesa(logits, average, weight, scale=50.0, temperature=3.0):
    p, q = F.log_softmax(average / temperature, 1), F.log_softmax(logits / temperature, 1)
    return weight * scale * F.kl_div(q, p, reduction="batchmean", log_target=True)


out = {}
z = (4 * torch.randn(6, 9, dtype=double)).requires_grad_()
average = z.detach() + torch.randn(6, 9, dtype=double)
average[0, 3] = -400.0  # a probability of 0 in float32
target = F.softmax(torch.randn(6, 9, dtype=double), 1)
parts = F.cross_entropy(z, target), mesa(z, average, 0.5)
sum(parts).backward()
out |= {"loss/logits": z, "loss/average": average, "loss/target": target, "loss/cross_entropy": parts[0],
        "loss/mesa": parts[1], "loss/gradient": z.grad}

images = torch.from_numpy(numpy.random.default_rng(3).integers(0, 256, (8, 2, 3, 3), dtype=numpy.uint8))
labels = torch.arange(8) % 5
x = (images.to(double) / 255).reshape(8, 18)
w = torch.randn(5, 18, dtype=double).to(torch.float32).to(double).requires_grad_()
b = torch.zeros(5, dtype=double, requires_grad=True)
out |= {"train/images": images, "train/labels": labels, "train/weight": w.detach().clone()}
mean_w, mean_b, losses, epochs = w.detach().clone(), b.detach().clone(), [], 8
for epoch in range(epochs):
    logits = F.linear(x, w, b)
    loss = F.cross_entropy(logits, labels, label_smoothing=0.1)
    if epoch / epochs > 0.25:
        loss = loss + mesa(logits, F.linear(x, mean_w, mean_b), 0.5)
    grads = torch.autograd.grad(loss, (w, b))
    losses.append(loss.item())
    with torch.no_grad():
        for value, mean, grad in ((w, mean_w, grads[0]), (b, mean_b, grads[1])):
            value -= 0.5 * grad
            mean.mul_(0.8).add_(value, alpha=0.2)
out |= {"train/losses": torch.tensor(losses, dtype=double), "train/final_weight": w, "train/final_average": mean_w}
save(sys.argv[1], out, {"torch": torch.__version__})
print(losses)
