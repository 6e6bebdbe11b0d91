"""What LowProFool of ART 1.20.1 makes of records, for TestBesideLowProFool:

    python3 lowprofool.py INPUT.json OUTPUT.json

LowProFool (Ballet et al. 2019, arXiv:1911.03274) follows the gradient of the loss towards the target's class plus lambda
times the perturbation's L2 norm, weighted by the features' importance, which is given here. It knows nothing of steps, of
what cannot change, or of what follows, but for the range; what it returns is judged by the test.

ART sums the denominator of the norm's gradient over all samples of a call, not over each one's features, so each sample
is a call of its own here. Made with art 1.20.1, torch 2.9.1, numpy 2.4.6 (the file that it writes says so).
"""

import json
import sys

import art
import numpy as np
import torch
from art.attacks.evasion import LowProFool
from art.estimators.classification import PyTorchClassifier


class Network(torch.nn.Module):
    """x → [0, 1] → hidden units with ReLU → logits."""

    def __init__(self, d):
        super().__init__()
        t = {k: torch.tensor(v, dtype=torch.float32) for k, v in d.items() if k in ("w0", "b0", "w1", "b1", "lo", "hi")}
        self.of = t
        self.bias = torch.nn.Parameter(torch.zeros(1))  # ART wants a parameter

    def forward(self, x):
        t = self.of
        h = torch.relu((x - t["lo"]) / (t["hi"] - t["lo"]) @ t["w0"] + t["b0"])
        return h @ t["w1"] + t["b1"] + 0 * self.bias


def main(source, to):
    with open(source) as f:
        d = json.load(f)
    x = np.array(d["x"], np.float32)
    torch.set_num_threads(1)
    model = Network(d)
    classifier = PyTorchClassifier(model, torch.nn.CrossEntropyLoss(), (x.shape[1],), 2, clip_values=(-1.0, 1.0))
    out = {"made with": f"art {art.__version__}, torch {torch.__version__}, numpy {np.__version__}", "runs": []}
    target = np.array([[1.0, 0.0]])  # legitimate
    for heavy in d["heavy"]:
        # What an attacker cannot change is so many times as important: the only way to tell LowProFool.
        importance = np.array(d["importance"]) * np.where(d["fixed"], heavy, 1.0)
        attack = LowProFool(classifier, n_steps=100, lambd=d["lambda"], eta=0.2, eta_decay=0.98, importance=importance)
        attack.fit_importances(None, None, importance_array=importance, normalize=False)
        rows = [attack.generate(x[i : i + 1], target)[0] for i in range(len(x))]
        out["runs"].append({"heavy": heavy, "x": [[round(float(v), 6) for v in r] for r in rows],
                            "logits": [[round(float(v), 5) for v in r] for r in classifier.predict(np.array(rows, np.float32))]})
    with open(to, "w") as f:
        json.dump(out, f)
        f.write("\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
