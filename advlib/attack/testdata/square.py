"""Writes square.json: how many of 50 examples auto-attack's Square leaves right, for 5 seeds, on the reference models.

    git clone https://github.com/fra31/auto-attack && git -C auto-attack checkout a392200
    python square.py auto-attack REFERENCE > square.json

REFERENCE is the folder with mlp-digits.npz, mlp-digits-adv.npz and cnn-mnist-adv.npz. Run with PyTorch 2.9.1. Keys are
"MODEL NORM RADIUS QUERIES"; the schedule is that for 10000 queries, as AutoAttack has it.
"""

import json
import sys

import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, sys.argv[1])
from autoattack.square import SquareAttack

torch.set_num_threads(1)
RADII = {"mlp-digits": {"Linf": 0.1, "L2": 0.5}, "mlp-digits-adv": {"Linf": 0.1, "L2": 0.5}, "cnn-mnist-adv": {"Linf": 0.15, "L2": 1.5}}


def load(name):
    arrays = np.load(f"{sys.argv[2]}/{name}.npz")
    weights = {k: torch.tensor(arrays[k]) for k in arrays.files if k.endswith(("__w", "__b"))}
    layers = sorted({k[:-3] for k in weights})
    x, y = torch.tensor(arrays["x"][:50]), torch.tensor(arrays["y"][:50]).long()
    x = x.reshape(-1, 1, 8, 8) if name.startswith("mlp") else x.permute(0, 3, 1, 2).contiguous()

    def logits(v):
        for layer in layers:
            w, b = weights[layer + "__w"], weights[layer + "__b"]
            if layer.startswith("conv"):
                v = F.conv2d(v, w.permute(3, 2, 0, 1), b, stride=2, padding=1)
            else:
                if v.dim() == 4:  # flattened in channels-last order
                    v = v.permute(0, 2, 3, 1).reshape(len(v), -1)
                v = v @ w + b
            if layer != layers[-1]:
                v = F.relu(v)
        return v

    return logits, x, y


left = {}
for name, radii in RADII.items():
    logits, x, y = load(name)
    for norm, radius in radii.items():
        for queries in (1000, 5000):
            counts = []
            for seed in range(5):
                attack = SquareAttack(logits, norm=norm, eps=radius, n_queries=queries, seed=seed, device="cpu", resc_schedule=False)
                with torch.no_grad():
                    counts.append(int((logits(attack.perturb(x, y)).argmax(1) == y).sum()))
            left[f"{name} {norm} {radius} {queries}"] = counts
            print(name, norm, radius, queries, counts, file=sys.stderr, flush=True)
json.dump(left, sys.stdout, indent=1)
print()
