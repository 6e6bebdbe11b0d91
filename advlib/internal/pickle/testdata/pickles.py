# The pickles of this folder, by Python 3.11.7 and NumPy 2.4.6: python pickles.py, in the folder above.
import pickle, numpy, base64, sys
rng = numpy.random.default_rng(0)
d = {b"data": numpy.arange(24, dtype=numpy.uint8).reshape(2, 12), b"labels": [3, 1], b"filenames": [b"a.png", b"b.png"], "n": -5, "big": 1 << 40,
  "f": 0.25, "none": None, "yes": True, "t": (1, 2, 3, 4), "i8": numpy.array([1, -2], dtype=">i8"), "f4": numpy.array([0.5, -2], dtype="<f4"), "u": "caf\u00e9 \u732b"}
print("numpy", numpy.__version__, "python", sys.version.split()[0])
for p in range(0, 6):
    e = dict(d)
    if p == 0:
        e = {"labels": [3, 1], "n": -5, "f": 0.25, "none": None, "yes": True, "big": 1 << 40}
    open(f"testdata/protocol{p}.pickle", "wb").write(pickle.dumps(e, protocol=p))
