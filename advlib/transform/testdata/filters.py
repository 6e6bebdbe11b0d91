"""Writes filters.json: images of several shapes, and what SciPy's filters, scikit-image's and Pillow make of them.

    python filters.py > filters.json       # NumPy, SciPy, scikit-image, Pillow
"""
import io
import json
import warnings

import numpy as np
import PIL
import scipy
import skimage
from PIL import Image
from scipy import ndimage
from scipy.optimize import minimize
from skimage.restoration import denoise_bilateral, denoise_nl_means, denoise_tv_chambolle

warnings.filterwarnings("ignore", message=".*(grayscale|channels).*")  # two channels are fine
r = np.random.default_rng(5)


def spatial(win_size, sigma, *, dtype=float):
    """Mends denoise_bilateral of scikit-image 0.26: its table is win_size + 1 wide, and read as if it were win_size."""
    at = np.arange(win_size) - win_size // 2
    return np.exp(-(at[:, None] ** 2 + at**2) / (2 * sigma**2), dtype=dtype).ravel()


skimage.restoration._denoise._compute_spatial_lut = spatial


def channels(f, x):
    return np.stack([f(x[..., k]) for k in range(x.shape[2])], -1)


def digits(n, a):
    return [float(f"{v:.{n}g}") for v in a.ravel()]


def exact():
    """Median and Gaussian, to 1e-6."""
    shapes = [(8, 8, 1), (7, 9, 3), (12, 5, 1), (6, 6, 2), (9, 10, 3)]
    for n in range(20):
        h, w, c = shapes[n % len(shapes)]
        x = r.random((h, w, c)).astype(np.float32)
        if n % 3 == 0:  # bytes, with many equal values
            x = (np.round(x * 4) / 4).astype(np.float32)
        v = x.astype(np.float64)
        # Python's round halves to even; the formula of bit depth has no halves but by chance.
        filters = {
            "median 2": channels(lambda a: ndimage.median_filter(a, 2, mode="reflect"), v),
            "median 3": channels(lambda a: ndimage.median_filter(a, 3, mode="reflect"), v),
            "median 5": channels(lambda a: ndimage.median_filter(a, 5, mode="reflect"), v),
            "gaussian 0.5": channels(lambda a: ndimage.gaussian_filter(a, 0.5, mode="reflect"), v),
            "gaussian 1": channels(lambda a: ndimage.gaussian_filter(a, 1, mode="reflect"), v),
        }
        yield {"shape": [h, w, c], "x": digits(9, x), "filters": {k: digits(7, f) for k, f in filters.items()}}


def picture(h, w, c):
    """Bytes: slopes, an edge, and noise."""
    i, j = np.mgrid[:h, :w]
    x = np.empty((h, w, c))
    for k in range(c):
        a, b, e = r.uniform(-1, 1, 3)
        x[..., k] = 0.5 + 0.5 * a * np.sin(i / 3) + 0.5 * b * j / w + 0.3 * e * (i + 2 * j > w) + 0.05 * r.standard_normal((h, w))
    return np.round(np.clip(x, 0, 1) * 255).astype(np.uint8)


def jpeg(x, quality, subsampling):
    def coded(a):
        f = io.BytesIO()
        Image.fromarray(a).save(f, "JPEG", quality=quality, subsampling=subsampling)
        return np.asarray(Image.open(io.BytesIO(f.getvalue())))

    return coded(x) if x.shape[2] == 3 else channels(coded, x)


def pictures():
    """Denoisers, in units of 1/10000, and JPEG, in bytes."""
    shapes = [(8, 8, 1), (7, 9, 3), (13, 6, 1), (6, 7, 2), (9, 11, 3), (16, 17, 3), (4, 5, 3), (11, 10, 1), (10, 3, 3), (5, 18, 1)]
    for n in range(20):
        x = picture(*shapes[n % len(shapes)])
        v = x / 255
        f = {
            "bilateral 0.1 1 5": denoise_bilateral(v, win_size=5, sigma_color=0.1, sigma_spatial=1, bins=1000000,
                                                   mode="symmetric", channel_axis=-1),
            "bilateral 0.3 0.8": denoise_bilateral(v, win_size=None, sigma_color=0.3, sigma_spatial=0.8, bins=1000000,
                                                   mode="symmetric", channel_axis=-1),
            "nlm 3 4 0.1 0": denoise_nl_means(v, patch_size=3, patch_distance=4, h=0.1, fast_mode=False, sigma=0, channel_axis=-1),
            "nlm 5 6 0.2 0.05": denoise_nl_means(v, patch_size=5, patch_distance=6, h=0.2, fast_mode=False, sigma=0.05,
                                                 channel_axis=-1),
            "chambolle 0.1": denoise_tv_chambolle(v, weight=0.1, eps=2e-4, max_num_iter=200, channel_axis=-1),
            "chambolle 0.3": denoise_tv_chambolle(v, weight=0.3, eps=1e-5, max_num_iter=500, channel_axis=-1),
        }
        files = {f"jpeg {q} {s}": jpeg(x, q, s) for q, s in [(75, "4:2:0"), (90, "4:2:2"), (40, "4:4:4"), (10, "4:2:0")]}
        yield {"shape": list(x.shape), "bytes": x.ravel().tolist(), "filters": {k: np.round(a * 10000).astype(int).ravel().tolist() for k, a in f.items()},
               "files": {k: a.ravel().tolist() for k, a in files.items()}}


def objective(z, x, kept, weight, smooth=0.0):
    """Guo et al. 2018, equation 2, and its gradient: norms are √(‖·‖² + smooth²)."""
    value, slope = 0.0, np.zeros_like(z)
    for k in range(x.shape[2]):
        u, m, g = z[..., k], kept[..., k], slope[..., k]
        d = (u - x[..., k]) * m
        n = np.sqrt((d**2).sum() + smooth**2)
        value += n
        g += d / max(n, 1e-12)
        for axis in (0, 1):
            d = np.diff(u, axis=axis)
            n = np.sqrt((d**2).sum(axis=1 - axis, keepdims=True) + smooth**2)
            value += weight * n.sum()
            d = weight * d / np.maximum(n, 1e-12)
            g -= np.diff(d, axis=axis, prepend=0, append=0)
    return value, slope


def total_variance():
    """The objective that SciPy's L-BFGS-B reaches from z = x: as it is (the solver of ART, which takes 10 iterations), and
    with smoothed norms, which takes it farther."""
    for n, p in enumerate(drawn):
        x = np.array(p["bytes"]).reshape(p["shape"]) / 255
        kept, weight = (r.random(x.shape) < 0.5).astype(float), [0.03, 0.5][n % 2]

        def least(iterations, smooth):
            def f(v):
                value, slope = objective(v.reshape(x.shape), x, kept, weight, smooth)
                return value, slope.ravel()

            z = minimize(f, x.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": iterations, "maxfun": 2 * iterations}).x
            return float(f"{objective(z.reshape(x.shape), x, kept, weight)[0]:.7g}")

        yield {"kept": "".join(str(int(v)) for v in kept.ravel()), "weight": weight, "ten": least(10, 0), "hundreds": least(300, 0),
               "smoothed": least(300, 1e-3)}


images, drawn = list(exact()), list(pictures())
versions = f"filters.py: SciPy {scipy.__version__}, scikit-image {skimage.__version__}, Pillow {PIL.__version__}, NumPy {np.__version__}"
print(json.dumps({"source": versions, "images": images, "pictures": drawn, "totalVariance": list(total_variance())}, separators=(",", ":")))
