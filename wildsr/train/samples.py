"""Training samples, each made again from its number alone."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from wildsr import chance, datasets, images
from wildsr.degrade import unsharp_mask
from wildsr.train.config import TrainConfig


class Samples:
    """Training samples, each a pure function of (seed, n): any of them can be made again from its number alone."""

    def __init__(self, config: TrainConfig, records: Sequence[datasets.Record], device: torch.device) -> None:
        self.config, self.device = config, device
        self.canvases = datasets.Canvases(records, config.canvas, config.seed)

    def __call__(self, n: int) -> tuple[Float[Tensor, "v 3 p p"], Float[Tensor, "3 q q"]]:
        """Sample n: its views as LR patches (V, 3, P, P), and the HR patch (3, s·P, s·P). One window serves all views."""
        config = self.config
        canvas = images.to_float(self.canvases(n).to(self.device)).unsqueeze(0)
        if config.target_usm:
            canvas = unsharp_mask(canvas)
        rng = chance.generator(config.seed, "crop", n)
        room = config.canvas // config.scale - config.lr_patch
        top, left = int(rng.integers(room + 1)), int(rng.integers(room + 1))
        params = [config.degradation.sample(config.seed, [n], view) for view in range(config.views_drawn)]
        lr = torch.cat([config.degradation.apply(canvas, drawn, config.scale) for drawn in params])
        return _window(lr, top, left, config.lr_patch), _window(canvas[0], top * config.scale, left * config.scale, config.hr_patch)

    def batch(self, n: int, count: int) -> tuple[Float[Tensor, "vb 3 p p"], Float[Tensor, "vb 3 q q"]]:
        """Samples n … n + count − 1: all first views, then all second ones, each beside its HR patch."""
        lr, hr = zip(*(self(n + i) for i in range(count)), strict=True)
        return torch.stack(lr, 1).flatten(0, 1), torch.stack(hr).repeat(self.config.views_drawn, 1, 1, 1)


def _window(picture: Tensor, top: int, left: int, side: int) -> Tensor:
    return picture[..., top : top + side, left : left + side]
