"""Writes indicators.json: the indicators of attack failure of Pintor et al. (2022), arXiv:2106.09947, computed by NumPy
from the formulas of the authors' code (pralab/IndicatorsOfAttackFailure, src/indicators/indicators.py), on losses and
labels drawn here. Run with NumPy 2.4: python indicators.py
"""

import json
import sys

import numpy as np

r = np.random.default_rng(0)


def unstable(reference, around):
    by = np.abs(reference)
    by = np.where(by == 0, 1, by)
    return min(float(np.mean(np.abs(reference - around) / by)), 1.0)


def incomplete(losses):
    x = np.array(losses, dtype=np.float64)
    if x.max() != 0:
        x = x - x.min()
        x = x / x.max() if x.max() != 0 else x  # the code has 0/0 here, for losses that are all equal
    x = np.minimum.accumulate(x)
    last = x[-min(len(x), 10) :]
    return float(last.max() - last.min())


def silent(way, final):
    return bool(not final and np.any(way[:-1]))


cases = {"unstable": [], "incomplete": [], "silent": []}
for k in range(40):
    reference = float(r.normal() * 10.0 ** r.integers(-3, 3)) if k % 8 else 0.0
    around = (reference + r.normal(size=20) * 10.0 ** r.integers(-4, 2)).tolist()
    cases["unstable"].append({"reference": reference, "around": around, "is": unstable(reference, np.array(around))})
for k in range(40):
    n = int(r.integers(1, 60))
    if k % 10 == 0:
        losses = np.zeros(n)
    elif k % 10 == 1:
        losses = np.full(n, 2.5)
    else:
        losses = np.cumsum(r.normal(-0.1, 1, size=n)) * 10.0 ** r.integers(-3, 3)
    cases["incomplete"].append({"losses": losses.tolist(), "is": incomplete(losses)})
for k in range(20):
    way = r.random(int(r.integers(1, 9))) < 0.3
    cases["silent"].append({"way": way.tolist(), "is": silent(way, way[-1])})
json.dump(cases, sys.stdout)
