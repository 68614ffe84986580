"""The comparisons, on canvases that both sides share."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import slow_degradation as slow
import torch
from PIL import Image
from torch import Tensor

from degradation_statistics.draws import draw_statistics
from degradation_statistics.patches import Patches, noise_statistics, patch_statistics
from degradation_statistics.scores import Score, compare
from wildsr import chance, datasets, images
from wildsr.degrade import TwoOrder
from wildsr.train import TrainConfig
from wildsr.train.samples import Samples

LIMIT = 5.5
"""Of any z-score: over 500 scores, a false alarm is less likely than 1 in 10,000."""

TARGET_LIMIT = 1e-3
"""Of the difference between sharpened targets. Equal formulas differ by 1e-6, or a few 1e-4 where rounding moves a pixel over the
threshold."""


class Canvases:
    """The canvases of a range of samples, sharpened by the twin, and wildsr's own pairs from them."""

    def __init__(self, config: TrainConfig, folder: Path, count: int, device: str = "cpu") -> None:
        self.config, self.count = config, count
        samples = Samples(config, datasets.open([folder]), torch.device(device))
        pairs = [samples.batch(n, min(16, count - n)) for n in range(0, count, 16)]
        sharp: dict[bytes, Tensor] = {}  # a picture of the canvas's size gives two canvases only: itself, and flipped
        self.sharpened: list[Tensor] = []
        for n in range(count):
            canvas = samples.canvases(n)
            key = canvas.numpy().tobytes()
            if key not in sharp:
                sharp[key] = slow.sharpen(images.to_float(canvas).unsqueeze(0))[0]
            self.sharpened.append(sharp[key])
        lr, hr = (torch.cat(side).cpu() for side in zip(*pairs, strict=True))
        room = config.canvas // config.scale - config.lr_patch + 1
        corners = [chance.generator(config.seed, "crop", n).integers(room, size=2).tolist() for n in range(count)]
        self.ours = Patches(lr, hr, torch.tensor(corners))
        windows = [self._window(canvas, corner, config.scale) for canvas, corner in zip(self.sharpened, corners, strict=True)]
        self.target_error = float((torch.stack(windows) - hr).abs().max())
        """The largest difference between wildsr's HR patches and the twin's sharpened canvases; large too where a corner is mistaken."""

    def _window(self, picture: Tensor, corner: Sequence[int], scale: int = 1) -> Tensor:
        (top, left), side = corner, self.config.lr_patch
        return picture[:, scale * top : scale * (top + side), scale * left : scale * (left + side)]

    def twins(self, drawn: Sequence[slow.Draw], seed: int) -> Patches:
        """The twin's pairs from the same canvases and the same crops; as many as were drawn."""
        generator = torch.Generator().manual_seed(seed)
        patches = []
        for canvas, one, corner in zip(self.sharpened, drawn, self.ours.corner.tolist(), strict=False):
            lr = slow.apply(canvas.unsqueeze(0), [one], generator, self.config.scale)[0]
            patches.append(self._window(lr, corner))
        return Patches(torch.stack(patches), self.ours.hr[: len(drawn)], self.ours.corner[: len(drawn)])

    def ours_first(self, count: int) -> Patches:
        """The first so many of wildsr's pairs."""
        return Patches(self.ours.lr[:count], self.ours.hr[:count], self.ours.corner[:count])


def compare_draws(ours: Sequence[slow.Draw], count: int, seed: int) -> list[Score]:
    """What wildsr drew beside what the twin draws for `count` other samples."""
    rng = np.random.default_rng(seed)
    return compare(draw_statistics(ours), draw_statistics([slow.draw(rng) for _ in range(count)]), paired=False)


def silenced(drawn: Sequence[slow.Draw]) -> list[slow.Draw]:
    """The same draws with noise of strength 0."""
    return [replace(one, first=replace(one.first, strength=0.0), second=replace(one.second, strength=0.0)) for one in drawn]


def compare_directly(canvases: Canvases, drawn: Sequence[slow.Draw]) -> Tensor:
    """The mean absolute difference, in 8-bit levels, between wildsr's patches and the twin's from the same draws without noise; (N)."""
    ours, twins = canvases.ours_first(len(drawn)).lr, canvases.twins(silenced(drawn), 0).lr
    return 255 * (ours - twins).abs().mean((1, 2, 3))


def compare_operators(canvases: Canvases, drawn: Sequence[slow.Draw], clean: Tensor, seed: int) -> list[Score]:
    """wildsr's first pairs beside the twin's from the same draws; both beside `clean`, what the twin makes of these draws without noise."""

    def of(patches: Patches) -> dict[str, Tensor]:
        return patch_statistics(patches, clean) | noise_statistics(patches, clean, drawn)

    return compare(of(canvases.ours_first(len(drawn))), of(canvases.twins(drawn, seed)), paired=True)


def compare_whole(canvases: Canvases, count: int, seed: int) -> list[Score]:
    """wildsr's first pairs beside the twin's from draws of its own."""
    rng = np.random.default_rng(seed)
    twins = canvases.twins([slow.draw(rng) for _ in range(count)], seed)
    return compare(patch_statistics(canvases.ours_first(count)), patch_statistics(twins), paired=True)


def cut(paths: Sequence[Path], side: int, folder: Path, each: int = 4) -> None:
    """Writes up to `each` squares of `side` pixels of every picture into the folder; a picture too small gives none."""
    for path in paths:
        picture = images.read(path)
        _, height, width = picture.shape
        for k in range(each if min(height, width) >= side else 0):
            # Along the diagonals, so that two squares overlap as little as the picture allows.
            down, right = k // 2, (k + k // 2) % 2
            top, left = down * (height - side), right * (width - side)
            square = picture[:, top : top + side, left : left + side].permute(1, 2, 0).numpy()
            Image.fromarray(square).save(folder / f"{path.stem}-{k}.png")


def without_noise(whole: TwoOrder) -> TwoOrder:
    """The same with noise of strength 0: nothing is left to chance once the draws are made, and patches can be compared directly."""
    silent = {"gaussian_probability": 1.0, "gaussian_sigma": (0.0, 0.0)}
    return whole.model_copy(update={name: getattr(whole, name).model_copy(update=silent) for name in ("first", "second")})


def noise_alone(whole: TwoOrder) -> TwoOrder:
    """The second order's noise, and as little else as possible: a tight blur, one resize to the LR size, JPEG at quality 99."""
    quiet = {"sinc_probability": 0.0, "sigma": (0.2, 0.2), "resize_probabilities": (0.0, 0.0, 1.0), "jpeg_quality": (99.0, 99.0)}
    silent = {**quiet, "gaussian_probability": 1.0, "gaussian_sigma": (0.0, 0.0)}
    first, second = whole.first.model_copy(update=silent), whole.second.model_copy(update=quiet)
    return whole.model_copy(update={"first": first, "second": second, "final_sinc_probability": 0.0})
