#!/usr/bin/env python3
"""Computes what others' attacks by labels reach on the reference models, for TestLabelsBesidePeers.

    python3 -m venv peers && peers/bin/pip install foolbox==3.3.4 adversarial-robustness-toolbox==1.20.1 torch
    peers/bin/python advlib/attack/testdata/labels_peers.py FOLDER/mlp-digits.npz [--queries 10000]

FOLDER/NAME.npz are the reference vectors. Every image that is asked about counts. One image is attacked at a time (foolbox couples
those of a batch). What counts is the nearest adversarial point inside [0, 1] that was ever asked about, not what the attack returns.
It prints medians over the first 50 examples that the model gets right, infinite where an attack fails: foolbox finds no start for 4 of
the 32 of the CNN. The seed of NumPy is the number of the example.
"""

import argparse
import pathlib
import warnings

warnings.filterwarnings("ignore")

import eagerpy
import foolbox
import numpy as np
import torch
from art.attacks.evasion import GeoDA, SignOPTAttack
from art.estimators.classification import BlackBoxClassifierNeuralNetwork

MARKS = (500, 1000, 2000, 5000, 10000)


class Spent(BaseException):
    """The budget of queries is used up. No attack catches it."""


def model(arrays):
    """Returns the network as a function from images, channels last, to logits."""
    layers = []
    for k in range(12):
        for kind in ("conv", "dense"):
            if f"{kind}{k}__w" in arrays:
                w, b = torch.tensor(arrays[f"{kind}{k}__w"]), torch.tensor(arrays[f"{kind}{k}__b"])
                layers.append((kind, w.permute(3, 2, 0, 1).contiguous() if kind == "conv" else w, b))

    def logits(x):
        with torch.no_grad():
            h = torch.as_tensor(np.ascontiguousarray(x, dtype=np.float32))
            h = h.permute(0, 3, 1, 2) if layers[0][0] == "conv" else h.flatten(1)
            for i, (kind, w, b) in enumerate(layers):
                if kind == "conv":
                    h = torch.nn.functional.conv2d(h, w, b, stride=2, padding=1)
                else:
                    if h.dim() == 4:
                        h = h.permute(0, 2, 3, 1).flatten(1)
                    h = h @ w + b
                if i < len(layers) - 1:
                    h = torch.relu(h)
            return h.numpy()

    return logits


class Oracle:
    """A model that counts what it is asked about one example, and remembers the nearest adversarial point."""

    def __init__(self, logits, x, y, queries):
        self.logits, self.x, self.y, self.queries = logits, x, y, queries
        self.asked, self.best, self.at = 0, np.inf, {}

    def __call__(self, v):
        if self.asked >= self.queries:
            raise Spent
        v = np.asarray(v, dtype=np.float32).reshape(-1, *self.x.shape)
        z = self.logits(v)
        for row, p in zip(z[: self.queries - self.asked], v):
            self.asked += 1
            if row.argmax() != self.y and p.min() >= 0 and p.max() <= 1:
                self.best = min(self.best, float(np.linalg.norm((p - self.x).astype(np.float64))))
            if self.asked in MARKS:
                self.at[self.asked] = self.best
        return z

    def reached(self):
        return [self.at.get(q, self.best) for q in MARKS]


def by_foolbox(attack):
    def run(oracle, x, y):
        victim = foolbox.models.NumPyModel(oracle, bounds=(0, 1))
        attack.run(victim, eagerpy.astensor(x[None]), foolbox.criteria.Misclassification(eagerpy.astensor(np.array([y]))))

    return run


def by_art(make):
    def run(oracle, x, y):
        def predict(v):
            z = oracle(v)
            e = np.exp(z - z.max(1, keepdims=True))
            return e / e.sum(1, keepdims=True)

        victim = BlackBoxClassifierNeuralNetwork(predict, x.shape, 10, clip_values=(0.0, 1.0), channels_first=False)
        make(victim).generate(x[None].astype(np.float32), np.eye(10)[[y]])

    return run


PEERS = {
    "foolbox HopSkipJump": by_foolbox(foolbox.attacks.HopSkipJumpAttack(constraint="l2")),
    "foolbox Boundary": by_foolbox(foolbox.attacks.BoundaryAttack()),
    "ART Sign-OPT": by_art(lambda v: SignOPTAttack(v, targeted=False, max_iter=5000, query_limit=40000, verbose=False, eval_perform=False)),
    "ART GeoDA": by_art(lambda v: GeoDA(v, max_iter=10000, sub_dim=10, verbose=False)),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=pathlib.Path, help="NAME.npz")
    parser.add_argument("--queries", type=int, default=10000, help="the budget of each example (10000)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    arrays = np.load(args.file)
    logits, x, y = model(arrays), arrays["x"].astype(np.float32), arrays["y"].astype(int)
    right = np.flatnonzero(logits(x).argmax(1) == y)[:50]
    for name, attack in PEERS.items():
        if name == "ART GeoDA" and x.shape[1:3] != (28, 28):
            continue  # its cosine transform needs larger images
        all_reached = []
        for i, k in enumerate(right):
            np.random.seed(i)
            oracle = Oracle(logits, x[k], int(y[k]), args.queries)
            try:
                attack(oracle, x[k], int(y[k]))
            except Spent:
                pass
            except ValueError as e:
                print(f"{name}, example {i}: {e}")
            all_reached.append(oracle.reached())
        print(args.file.stem, name, dict(zip(MARKS, np.median(np.array(all_reached), 0).round(4))), flush=True)


if __name__ == "__main__":
    main()
