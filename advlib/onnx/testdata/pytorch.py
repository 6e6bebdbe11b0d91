"""Trains a small CNN on UCI digits in PyTorch and exports it twice, with the older exporter for a batch of one and with
the newer one. Writes pytorch-script.onnx, pytorch-dynamo.onnx and pytorch.npz: inputs [n, 8, 8, 1] in [0, 1], labels,
logits, and the labels that remain right under FGSM (cross-entropy, box [0, 1]) at ε = 0.1. Run with torch 2.13.0,
onnx 1.23.2, onnxscript 0.7.2 and numpy 2.4.6, on digits.csv.gz of package dataset:

    python pytorch.py ../../dataset/digits.csv.gz
"""
import sys, warnings

import numpy as np, onnx, torch
from torch import nn

warnings.filterwarnings("ignore")
torch.manual_seed(0)
table = torch.tensor(np.loadtxt(sys.argv[1], delimiter=","), dtype=torch.float32)
x, y = (table[:, :64] / 16).reshape(-1, 1, 8, 8), table[:, 64].long()
train, test = slice(0, 1400), slice(1400, 1528)
net = nn.Sequential(
    nn.Conv2d(1, 8, 3, padding="same", bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1, ceil_mode=True),
    nn.Conv2d(8, 12, 2), nn.LeakyReLU(0.1), nn.AvgPool2d(2, 1, padding=1), nn.Dropout(0.2), nn.Flatten(), nn.Linear(12 * 25, 16), nn.ELU(), nn.Linear(16, 10))
optimizer = torch.optim.Adam(net.parameters(), 3e-3)
for _ in range(25):
    for rows in torch.randperm(1400).split(64):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x[train][rows]), y[train][rows]).backward()
        optimizer.step()
net.eval()
xt, yt = x[test].clone().requires_grad_(), y[test]
logits = net(xt)
nn.functional.cross_entropy(logits, yt, reduction="sum").backward()
adversarial = (xt + 0.1 * xt.grad.sign()).clamp(0, 1)
right = net(adversarial).argmax(1) == yt
torch.onnx.export(net, (x[:1],), "pytorch-script.onnx", opset_version=13, dynamo=False)
torch.onnx.export(net, (x[:2],), "pytorch-dynamo.onnx", opset_version=18, dynamo=True, external_data=False, dynamic_shapes=({0: torch.export.Dim("batch")},))
m = onnx.load("pytorch-dynamo.onnx")
for part in [m.graph, *m.graph.node, *m.graph.value_info, *m.graph.input, *m.graph.output, *m.graph.initializer]:
    del part.metadata_props[:]  # where in which file of this machine each operator comes from
onnx.save(m, "pytorch-dynamo.onnx")
np.savez_compressed("pytorch.npz", x=xt.detach().permute(0, 2, 3, 1).contiguous().numpy(), y=yt.numpy().astype(np.int64), logits=logits.detach().numpy(), robust=right.numpy().astype(np.int64))
print("clean", (logits.argmax(1) == yt).float().mean().item(), "robust", right.float().mean().item(), torch.__version__)
