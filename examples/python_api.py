"""Enlarge a file, an array, a PIL image and bytes from Python.

python examples/python_api.py [PHOTO]
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import a2f

photo = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "photos" / "astronaut.png"

with tempfile.TemporaryDirectory() as folder:
    # A path returns a path. The file keeps its colour profile, EXIF, transparency and 16 bits.
    written = a2f.upscale(photo, scale=4, output=Path(folder) / "large.png")
    print(f"{photo.name} -> {written.name}, {written.stat().st_size:,} bytes")

# A PIL image returns a PIL image.
with Image.open(photo) as image:
    print("PIL:  ", image.size, "->", a2f.upscale(image, scale=2).size)
    pixels = np.asarray(image.convert("RGB"))

# An array returns an array of the same dtype. A size can be exact.
print("array:", pixels.shape, "->", a2f.upscale(pixels, size=(1000, 800)).shape, pixels.dtype)

# The bytes of a file return the bytes of a file. Nothing is written to the disk.
print("bytes:", f"{photo.stat().st_size:,}", "->", f"{len(a2f.upscale(photo.read_bytes(), scale=2)):,}")
