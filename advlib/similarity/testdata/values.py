"""PSNR and SSIM of random images by scikit-image: python values.py > skimage.json, in this folder.

Made by Python 3.11.7, scikit-image 0.25.2 and NumPy 2.4.6.
"""

import json

import numpy
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

rng = numpy.random.default_rng(4)
cases = []
for shape, span in [((28, 28, 1), 1), ((32, 32, 3), 1), ((11, 11, 1), 1), ((10, 12, 1), 1), ((8, 8, 1), 1), ((7, 9, 3), 255), ((15, 40, 3), 255)]:
    for noise in [0.01, 0.2]:
        smooth = numpy.add.outer(numpy.sin(numpy.arange(shape[0]) / 3), numpy.cos(numpy.arange(shape[1]) / 5))[:, :, None] / 4 + 0.5
        a = numpy.clip(smooth + rng.normal(0, 0.05, shape), 0, 1).astype(numpy.float32) * numpy.float32(span)
        b = numpy.clip(a / span + rng.normal(0, noise, shape), 0, 1).astype(numpy.float32) * numpy.float32(span)
        # Few digits, so that the file is short: 1/512 are exact in float32.
        a, b = (numpy.round(v * 512 / span).astype(int) for v in (a, b))
        x, y = (v.astype(float) * span / 512 for v in (a, b))
        options = {"gaussian_weights": True, "sigma": 1.5} if min(shape[:2]) >= 11 else {"win_size": 7}
        ssim = structural_similarity(x, y, channel_axis=2, data_range=span, use_sample_covariance=False, **options)
        psnr = peak_signal_noise_ratio(x, y, data_range=span)
        cases.append({"shape": shape, "span": span, "a": a.ravel().tolist(), "b": b.ravel().tolist(), "ssim": ssim, "psnr": psnr})
print(json.dumps(cases))
