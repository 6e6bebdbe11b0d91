"""Attacks the models of pytorch.py in PyTorch: takes their weights, batch normalisation folded in, from
pytorch-dynamo.onnx, checks that the logits are those of pytorch.npz, and writes pytorch-bim.npz: the labels that remain
right under BIM (Kurakin et al. 2017: 10 steps of ε/5 along the sign of the cross-entropy's gradient, from the original,
projected on the ball and the box [0, 1]) at ε = 0.05, where one iterate that errs is enough. Run with torch 2.15.0,
onnx 1.23.2 and numpy 2.4.6, in this folder:

    python reference.py
"""
import numpy as np, onnx, torch
from onnx import numpy_helper
from torch import nn

w = {i.name: torch.tensor(numpy_helper.to_array(i)) for i in onnx.load("pytorch-dynamo.onnx").graph.initializer}
net = nn.Sequential(
    nn.Conv2d(1, 8, 3, padding="same"), nn.ReLU(), nn.MaxPool2d(3, 2, 1, ceil_mode=True),
    nn.Conv2d(8, 12, 2), nn.LeakyReLU(0.1), nn.AvgPool2d(2, 1, padding=1), nn.Flatten(), nn.Linear(12 * 25, 16), nn.ELU(), nn.Linear(16, 10))
names = [("0.weight", "0.weight_bias"), ("4.weight", "4.bias"), ("9.weight", "9.bias"), ("11.weight", "11.bias")]
with torch.no_grad():
    for layer, (weight, bias) in zip([net[0], net[3], net[7], net[9]], names):
        layer.weight.copy_(w[weight])
        layer.bias.copy_(w[bias])
data = np.load("pytorch.npz")
x0, y = torch.tensor(data["x"]).permute(0, 3, 1, 2).contiguous(), torch.tensor(data["y"])
logits = net(x0)
assert np.abs(logits.detach().numpy() - data["logits"]).max() < 1e-4 * np.abs(data["logits"]).max()

ε = 0.05
x, right = x0, logits.argmax(1) == y
for _ in range(10):
    x = x.detach().requires_grad_()
    nn.functional.cross_entropy(net(x), y, reduction="sum").backward()
    x = torch.clamp(x + ε / 5 * x.grad.sign(), x0 - ε, x0 + ε).clamp(0, 1)
    right &= net(x).argmax(1) == y
np.savez_compressed("pytorch-bim.npz", robust=right.numpy().astype(np.int64))
print("clean", (logits.argmax(1) == y).sum().item(), "robust", right.sum().item(), "of", len(y), torch.__version__)
