"""Pictures as Pillow writes them, and what it makes of them: python pictures.py, in this folder.

Made by Python 3.11.7, Pillow 13.0.0 and NumPy 2.4.6. The pictures are random numbers.
"""

import json

import numpy
from PIL import Image, ImageOps

rng = numpy.random.default_rng(19)
want = {}


def keep(name, image, **options):
    image.save(f"pictures/{name}", **options)
    seen = ImageOps.exif_transpose(Image.open(f"pictures/{name}"))
    a = numpy.asarray(seen).astype(int)
    want[name] = {"shape": a.shape, "values": a.ravel().tolist(), "largest": 65535 if "16" in name else 255}


colour = Image.fromarray(rng.integers(0, 256, (5, 7, 3), dtype=numpy.uint8))
for n in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = n
    keep(f"turned{n}.png", colour, exif=exif)
keep("gray.png", Image.fromarray(rng.integers(0, 256, (5, 7), dtype=numpy.uint8)))
keep("gray16.png", Image.fromarray(rng.integers(0, 65536, (5, 7), dtype=numpy.uint16)))
keep("colour.bmp", colour)
keep("colour.tiff", colour)
keep("colour.ppm", colour)
keep("gray.pgm", Image.fromarray(rng.integers(0, 256, (5, 7), dtype=numpy.uint8)))
keep("gray16.pgm", Image.fromarray(rng.integers(0, 65536, (5, 7), dtype=numpy.uint16)))
keep("colour.webp", colour, lossless=True)
exif = Image.Exif()
exif[0x0112] = 6
smooth = Image.fromarray(numpy.linspace(0, 255, 40 * 24 * 3).reshape(24, 40, 3).astype(numpy.uint8))
keep("turned.jpg", smooth, exif=exif, quality=95)

large = Image.fromarray(rng.integers(0, 256, (23, 31, 3), dtype=numpy.uint8))
large.save("pictures/large.png")
small = {}
for size in [(8, 8), (31, 10), (40, 46), (5, 23)]:
    resized = large.resize(size, Image.Resampling.BILINEAR)
    small[f"{size[1]}x{size[0]}"] = numpy.asarray(resized).ravel().tolist()
gray = numpy.asarray(large.convert("L")).ravel().tolist()

json.dump({"pictures": want, "large": small, "luma": gray}, open("pictures.json", "w"))
