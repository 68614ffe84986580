"""Training samples, each made again from its number alone."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from wildsr import chance, datasets, devices, images
from wildsr.degrade import Params, unsharp_mask
from wildsr.train.config import TrainConfig


class Samples:
    """Training samples, each a pure function of (seed, n): any of them can be made again from its number alone."""

    def __init__(self, config: TrainConfig, source: datasets.Source, device: torch.device) -> None:
        self.config, self.device = config, device
        self.canvases = datasets.Canvases(source, config.canvas, config.seed)
        # Of a CPU, each core works on one picture at a time, which its caches hold. A GPU makes the samples of several steps at once: there
        # it is the number of operations that takes time, not their size.
        self._steps, self._together = (8, 128) if device.type == "cuda" else (1, 1)
        self._workers = devices.workers(torch.get_num_threads()) if device.type == "cpu" else None
        self._ready: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    def batch(self, n: int, count: int) -> tuple[Float[Tensor, "vb 3 p p"], Float[Tensor, "vb 3 q q"]]:
        """Samples n … n + count − 1: all first views as LR patches of side P, then all second ones, each beside its HR patch of side s·P.

        One window serves all views of a picture."""
        if (n, count) not in self._ready:
            # Blocks of steps begin where they would in a run that never stopped: what is computed together rounds together.
            ahead = self._steps - n // self.config.batch_size % self._steps
            starts = [n + step * self.config.batch_size for step in range(ahead - self._steps, ahead)]
            lr, hr = self._make([start + i for start in starts for i in range(count)])
            for i, start in enumerate(starts):
                if start < n:
                    continue
                some = slice(i * count, (i + 1) * count)
                self._ready[start, count] = lr[:, some].flatten(0, 1), hr[some].repeat(self.config.views_drawn, 1, 1, 1)
        return self._ready.pop((n, count))

    def _make(self, ns: Sequence[int]) -> tuple[Float[Tensor, "v n 3 p p"], Float[Tensor, "n 3 q q"]]:
        config = self.config
        self.canvases.prepare([*ns, *(n + self._steps * config.batch_size for n in ns)])
        drawn = [config.degradation.sample(config.seed, ns, view) for view in range(config.views_drawn)]
        room = config.canvas // config.scale - config.lr_patch + 1
        corners = torch.from_numpy(np.stack([chance.generator(config.seed, "crop", n).integers(room, size=2) for n in ns]))

        def patches(first: int) -> tuple[Tensor, Tensor]:
            some = slice(first, first + self._together)
            return self._patches(ns[some], [{name: values[some] for name, values in view.items()} for view in drawn], corners[some])

        each = map if self._workers is None else self._workers.map
        lr, hr = zip(*each(patches, range(0, len(ns), self._together)), strict=True)
        return torch.cat(lr, 1), torch.cat(hr)

    def _patches(
        self, ns: Sequence[int], drawn: Sequence[Params], corners: Int[Tensor, "b 2"]
    ) -> tuple[Float[Tensor, "v b 3 p p"], Float[Tensor, "b 3 q q"]]:
        config = self.config
        on_gpu = self.device.type == "cuda"
        canvases = torch.empty((len(ns), 3, config.canvas, config.canvas), dtype=torch.uint8, pin_memory=on_gpu)
        torch.stack([self.canvases(n) for n in ns], out=canvases)
        pictures = images.to_float(canvases.to(self.device, non_blocking=on_gpu))
        if config.target_usm:
            pictures = unsharp_mask(pictures)
        size = config.lr_patch, config.lr_patch
        lr = torch.stack([config.degradation.patches(pictures, params, config.scale, corners, size) for params in drawn])
        hr = [
            picture[:, top : top + config.hr_patch, left : left + config.hr_patch]
            for picture, (top, left) in zip(pictures, (corners * config.scale).tolist(), strict=True)
        ]
        return lr, torch.stack(hr)
