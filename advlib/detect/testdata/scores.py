"""Writes scores.json: a small network with its weights, inputs, and the scores of detectors by their definitions.

    python scores.py > scores.json       # NumPy, SciPy, scikit-learn

Everything is computed in float64 from float32 weights and inputs.
"""
import json

import numpy as np
import scipy
import sklearn
from scipy.ndimage import median_filter
from scipy.special import logsumexp, softmax
from sklearn.linear_model import LogisticRegression

r = np.random.default_rng(17)
f32 = lambda a: np.asarray(a, np.float32).astype(np.float64)
SIDE, CHANNELS, UNITS, CLASSES = 6, 4, 12, 3


def conv(x, w, b):  # 3x3, same size, zeros outside
    n, h, wd, _ = x.shape
    p = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    y = np.zeros((n, h, wd, w.shape[3]))
    for i in range(3):
        for j in range(3):
            y += np.einsum("nhwc,ck->nhwk", p[:, i:i + h, j:j + wd], w[i, j])
    return y + b


weights = {
    "w0": f32(r.normal(0, .6, (3, 3, 1, CHANNELS))), "b0": f32(r.normal(0, .1, CHANNELS)),
    "w1": f32(r.normal(0, .2, (SIDE * SIDE * CHANNELS, UNITS))), "b1": f32(r.normal(0, .3, UNITS)),
    "w2": f32(r.normal(0, .8, (UNITS, CLASSES))), "b2": f32(np.zeros(CLASSES)),
}


def model(x):
    """Returns the hidden layers and the logits."""
    h0 = np.maximum(conv(x, weights["w0"], weights["b0"]), 0)
    h1 = np.maximum(h0.reshape(len(x), -1) @ weights["w1"] + weights["b1"], 0)
    return [h0, h1], h1 @ weights["w2"] + weights["b2"]


weights["b2"] = f32(-model(f32(r.random((500, SIDE, SIDE, 1))))[1].mean(0))  # so that all classes occur
train = f32(r.random((150, SIDE, SIDE, 1)))
clean = f32(r.random((40, SIDE, SIDE, 1)))
x = f32(np.clip(r.random((25, SIDE, SIDE, 1)) * r.uniform(.3, 1.6, (25, 1, 1, 1)), 0, 1))
y = model(train)[1].argmax(1)
y[::9] = (y[::9] + 1) % CLASSES
flat = lambda a: a.reshape(len(a), -1)
out = {}

# Xu, Evans & Qi 2018: max over squeezers of the L1 distance of the softmaxes.
p = softmax(model(x)[1], 1)
bit = np.rint(x)
median = np.stack([median_filter(a[..., 0], 2, mode="reflect")[..., None] for a in x])
out["squeezing"] = np.max([np.abs(p - softmax(model(s)[1], 1)).sum(1) for s in (bit, median)], 0)

# Ma et al. 2018, equation 4, k = 7, all training examples to compare with.
def lid(f, k=7):
    d = np.sort(np.linalg.norm(f[:, None] - g[None], axis=2), 1)[:, :k]
    return -k / np.log(d / d[:, -1:]).sum(1)
lids = []
for layer in range(2):
    g = flat(model(train)[0][layer])
    lids.append(lid(flat(model(x)[0][layer])))
out["lid"] = np.stack(lids, 1)

# Lee et al. 2018, equations 1 and 2, channel means, pseudoinverse of the shared covariance.
def mahalanobis(f, fx):
    means = np.stack([f[y == k].mean(0) for k in range(CLASSES)])
    rest = f - means[y]
    P = scipy.linalg.pinvh(rest.T @ rest / len(f))
    d = fx[:, None] - means[None]
    return .5 * np.einsum("nki,ij,nkj->nk", d, P, d).min(1)
channels = lambda h: h.mean((1, 2)) if h.ndim == 4 else h
out["mahalanobis"] = np.stack([mahalanobis(channels(a), channels(b)) for a, b in zip(model(train)[0], model(x)[0])], 1)
on_clean = np.stack([mahalanobis(channels(a), channels(b)) for a, b in zip(model(train)[0], model(clean)[0])], 1)
out["mahalanobis, added"] = ((out["mahalanobis"] - on_clean.mean(0)) / on_clean.std(0, ddof=1)).sum(1)

# Feinman et al. 2017 with 2*sigma^2, the class that the model gives, last hidden layer.
f, fx, k = model(train)[0][1], model(x)[0][1], model(x)[1].argmax(1)
def density(sigma):
    d = ((fx[:, None] - f[None]) ** 2).sum(2)
    return np.array([-(logsumexp(-d[i, y == c] / (2 * sigma ** 2)) - np.log((y == c).sum())) for i, c in enumerate(k)])
out["density 0.7"] = density(.7)

# Meng & Chen 2017: reconstruction errors, and divergences at T = 10 and 40.
sigmoid = lambda a: 1 / (1 + np.exp(-a))
auto = {}
def layer(name, i, o):
    auto[name + "/w"], auto[name + "/b"] = f32(r.normal(0, .8, (3, 3, i, o))), f32(r.normal(0, .3, o))
for name in ("I/conv0", "I/conv1", "I/conv2", "I/conv3", "I/conv4", "II/conv0", "II/conv1", "II/conv4"):
    layer(name, 1 if name.endswith("0") else 3, 1 if name.endswith("4") else 3)
c = lambda name, a: sigmoid(conv(a, auto[name + "/w"], auto[name + "/b"]))
def one(a):
    a = c("I/conv0", a)
    a = a.reshape(len(a), SIDE // 2, 2, SIDE // 2, 2, 3).mean((2, 4))
    a = c("I/conv2", c("I/conv1", a))
    return c("I/conv4", c("I/conv3", a.repeat(2, 1).repeat(2, 2)))
two = lambda a: c("II/conv4", c("II/conv1", c("II/conv0", a)))
def jsd(p, q):
    m = (p + q) / 2
    return .5 * (p * np.log(p / m)).sum(1) + .5 * (q * np.log(q / m)).sum(1)
def magnet(a):
    d = [flat((a - one(a)) ** 2).mean(1), flat(np.abs(a - two(a))).mean(1)]
    for T in (10, 40):
        d.append(jsd(softmax(model(a)[1] / T, 1), softmax(model(one(a))[1] / T, 1)))
    return np.stack(d, 1)
out["magnet"] = magnet(x)
thresholds = np.sort(magnet(clean), 0)[int(np.ceil(41 * .9)) - 1]
out["magnet, largest"] = (out["magnet"] / thresholds).max(1)

# A logistic regression on standardised columns, with half the squared weights added, as scikit-learn has it.
lx = np.concatenate([r.normal(0, 1, (60, 3)), r.normal(.8, 1.3, (30, 3))]) * [1, 20, .05] + [3, -7, 0]
ly = np.repeat([0, 1], [60, 30])
mean, sd = lx.mean(0), lx.std(0, ddof=1)
fit = LogisticRegression(C=1, tol=1e-12, max_iter=10000, solver="newton-cholesky").fit((lx - mean) / sd, ly)
w = fit.coef_[0] / sd

num = lambda a: [float(f"{v:.10g}") for v in np.asarray(a).ravel()]
print(json.dumps({
    "source": f"scores.py, NumPy {np.__version__}, SciPy {scipy.__version__}, scikit-learn {sklearn.__version__}",
    "weights": {k: num(v) for k, v in weights.items()}, "autoencoders": {k: num(v) for k, v in auto.items()},
    "train": num(train), "clean": num(clean), "x": num(x), "y": y.tolist(),
    "scores": {k: num(v) for k, v in out.items()},
    "logistic": {"x": lx.tolist(), "y": ly.tolist(), "w": num(w), "b": float(fit.intercept_[0] - w @ mean)},
}))
