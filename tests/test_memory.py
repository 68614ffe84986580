"""A large picture, read from memory and written nowhere: what is held beside it is a strip and a tile."""

import json
import subprocess
import sys

SCRIPT = """
import hashlib, json, resource, sys
import numpy as np
import torch
from wildsr import images, networks, upscale
torch.set_num_threads(1)
torch.manual_seed(0)
config = networks.CompactConfig(channels=2, blocks=2, scale=2)
model = upscale.Model(networks.create(config).eval().requires_grad_(False), 2, "", "")
height, width, channels = 6000, 8000, 3
row = np.arange(width * channels, dtype=np.uint32)

def most():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

model(np.zeros((64, 64, channels), np.uint8))
before = most()
pixels = np.empty((height, width, channels), np.uint8)
for y in range(height):
    pixels[y] = ((row * 7 + y * 13) % 251).astype(np.uint8).reshape(width, channels)
made = upscale.enlarge(model, images.Photo(pixels))
rows, digest, tallest = 0, hashlib.sha256(), 0
for strip in made.rows:
    rows, tallest = rows + len(strip), max(tallest, strip.nbytes)
    digest.update(strip[::64, ::64].tobytes())
piece = model(np.ascontiguousarray(pixels[-200:, -200:]))
print(json.dumps({
    "rows": rows, "height": made.height, "width": made.width, "strip": tallest, "grown": most() - before, "input": pixels.nbytes,
    "end": bool((strip[-100:, -100:] == piece[-100:, -100:]).all()),
}))
"""


def test_48_megapixels_take_little_more_than_themselves():
    finished = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False, timeout=200)
    assert finished.returncode == 0, finished.stderr
    said = json.loads(finished.stdout)
    assert (said["rows"], said["height"], said["width"]) == (12_000, 12_000, 16_000)
    assert said["end"]
    result = 12_000 * 16_000 * 3
    assert said["strip"] < 80e6
    # The result has 576 MB, as floats 2.3 GB.
    assert said["grown"] < said["input"] + 300e6 < result
