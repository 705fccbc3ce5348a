"""Share one upscaler between several threads, for example in a server.

python examples/threads.py
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

import a2f

upscaler = a2f.load("sd", scale=4, threads=1)
print(upscaler.description)

rng = np.random.default_rng(0)
images = [rng.random((60, 80, 3), dtype=np.float32) for _ in range(8)]
with ThreadPoolExecutor(4) as pool:
    for image, large in zip(images, pool.map(upscaler, images), strict=True):
        print(image.shape, "->", large.shape)
