"""Enlarging from Python: a file, an array, a PIL image, bytes.

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
    # A path in, a path out: colour profile, EXIF, transparency and 16 bits are kept.
    written = a2f.upscale(photo, scale=4, output=Path(folder) / "large.png")
    print(f"{photo.name} -> {written.name}, {written.stat().st_size:,} bytes")

# A PIL image in, a PIL image out.
with Image.open(photo) as image:
    print("PIL:  ", image.size, "->", a2f.upscale(image, scale=2).size)
    pixels = np.asarray(image.convert("RGB"))

# An array in, an array of the same dtype out; exact sizes too.
print("array:", pixels.shape, "->", a2f.upscale(pixels, size=(1000, 800)).shape, pixels.dtype)

# The bytes of a file in, the bytes of a file out: nothing touches the disk.
print("bytes:", f"{photo.stat().st_size:,}", "->", f"{len(a2f.upscale(photo.read_bytes(), scale=2)):,}")
