"""Writes filters.json: images of several shapes, and what SciPy's filters make of them.

    python filters.py > filters.json       # SciPy, NumPy
"""
import json

import numpy as np
import scipy
from scipy import ndimage

r = np.random.default_rng(5)
shapes = [(8, 8, 1), (7, 9, 3), (12, 5, 1), (6, 6, 2), (9, 10, 3)]
out = {"source": "filters.py, SciPy " + scipy.__version__, "images": []}
for n in range(20):
    h, w, c = shapes[n % len(shapes)]
    x = r.random((h, w, c)).astype(np.float32)
    if n % 3 == 0:  # bytes, with many equal values
        x = (np.round(x * 4) / 4).astype(np.float32)
    v = x.astype(np.float64)
    channels = lambda f: np.stack([f(v[..., k]) for k in range(c)], -1)
    # Python's round halves to even; the formula of bit depth has no halves but by chance.
    filters = {
        "median 2": channels(lambda a: ndimage.median_filter(a, 2, mode="reflect")),
        "median 3": channels(lambda a: ndimage.median_filter(a, 3, mode="reflect")),
        "median 5": channels(lambda a: ndimage.median_filter(a, 5, mode="reflect")),
        "gaussian 0.5": channels(lambda a: ndimage.gaussian_filter(a, 0.5, mode="reflect")),
        "gaussian 1": channels(lambda a: ndimage.gaussian_filter(a, 1, mode="reflect")),
    }
    out["images"].append({
        "shape": [h, w, c],
        "x": [float(f"{a:.9g}") for a in x.ravel()],
        "filters": {k: [float(f"{a:.7g}") for a in f.ravel()] for k, f in filters.items()},
    })
print(json.dumps(out))
