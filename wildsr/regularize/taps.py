"""Regularisers at work: hooks at sites, chance drawn before each step, losses gathered over processes."""

import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from wildsr import chance, sites
from wildsr.errors import UserError
from wildsr.regularize.regularizer import Regularizer

PICTURES = 256
"""Pictures of a batch for which chance is drawn at least."""


class Attached:
    """Regularisers at work on a network; made by `attach`."""

    def __init__(self, taps: "list[_Tap]", seed: int) -> None:
        self._taps, self._seed = taps, seed

    def begin(self, n: int, progress: float, part: int = 0, parts: int = 1) -> None:
        """Draws all chance of the coming forward. `n`: HR pictures drawn since the start of the run, by all processes, until the step
        begins; `progress`: share of the run in [0, 1]. A process that goes through its pictures of a step in several equal `parts`
        (micro-batches) says which one comes.

        A pure function of (seed, n, progress): a step can be played again, a resumed run draws what it would have drawn, and what a picture
        gets hangs neither on the parts nor on the processes. What was drawn before is overwritten, so that the backward of the step before
        has to be over."""
        seen: Counter[tuple[str, str, int]] = Counter()
        for tap in self._taps:
            kind = tap.regularizer.name, tap.regularizer.site, tap.place
            tap.begin(chance.torch_generator(self._seed, "regularizer", *kind, seen[kind], n), progress, part, parts)
            seen[kind] += 1

    def losses(self) -> dict[str, Tensor]:
        """The regularisers' losses for the last forward in training mode, once a step; {} when they only change features. Several of one
        name are numbered in the order in which they were listed: align, align2.

        In several processes, each gets the loss of the whole batch, and the gradient whose mean over the processes, which
        DistributedDataParallel takes, is that of one process with the whole batch. Losses that sum over the pictures are multiplied by
        the number of parts, so that the mean over the parts is their sum.
        Raises UserError when the network ran without a regulariser: no `begin`, eval mode, a site that forward never reaches, or a
        network that was compiled and run before."""
        losses: dict[str, Tensor] = {}
        seen: Counter[str] = Counter()
        for tap in self._taps:
            for name, value in tap.losses().items():
                seen[name] += 1
                losses[name if seen[name] == 1 else f"{name}{seen[name]}"] = value
        return losses


class _Tap:
    """A regulariser at one place: the tensors that hold what was drawn, made once, and what the last forward left."""

    def __init__(self, regularizer: Regularizer, place: int, channels: int, pictures: int, views: int, device: torch.device) -> None:
        self.regularizer, self.place = regularizer, place
        self._channels, self._pictures, self._views = channels, pictures, views
        self._rank, self._world = (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)
        first = self._draw(chance.torch_generator(0), 0.0)
        self.drawn: dict[str, Tensor] = {name: value.to(device) for name, value in first.items()}
        self.begun = self.acted = False
        self.observed: Tensor | None = None
        self._part, self._parts = 0, 1

    def _draw(self, generator: torch.Generator, progress: float) -> dict[str, Tensor]:
        return self.regularizer.draw(self._views * self._pictures, self._channels, generator, progress, self.place)

    def begin(self, generator: torch.Generator, progress: float, part: int, parts: int) -> None:
        for name, value in self._draw(generator, progress).items():
            # From pinned memory a GPU fetches by itself, and PyTorch reuses none of it before that is done.
            own = self.drawn[name]
            own.copy_(value.pin_memory() if own.is_cuda else value, non_blocking=True)
        self._part, self._parts = part, parts
        self.begun, self.acted, self.observed = True, False, None

    def __call__(self, feature: Tensor) -> Tensor | None:
        pictures = feature.shape[0] // self._views
        if feature.shape[0] % self._views:
            raise UserError(f"a batch of {feature.shape[0]} is not {self._views} views of some pictures, one view after the other")
        whole = pictures * self._world * self._parts
        if whole > self._pictures:
            raise UserError(
                f"a batch of {whole} pictures is larger than the {self._pictures} that chance is drawn for: "
                "give attach an example batch of the size that you train with"
            )
        changed = self.regularizer.change(feature, self.drawn, self._rows(pictures, slice(self._rank, self._rank + 1)))
        self.observed = self.regularizer.observe(feature)
        self.acted = True
        return changed

    def _rows(self, pictures: int, ranks: slice) -> Callable[[Tensor], Tensor]:
        """The rows of some processes. Row (view, picture) belongs to that view of that picture of the whole batch: each process has a
        stretch of it, and goes through that part by part."""
        stretches = self._world, self._parts, pictures

        def rows(drawn: Tensor) -> Tensor:
            each = drawn.view(self._views, self._pictures, *drawn.shape[1:])[:, : math.prod(stretches)]
            return each.unflatten(1, stretches)[:, ranks, self._part].flatten(0, 2)

        return rows

    def losses(self) -> dict[str, Tensor]:
        if not (self.begun and self.acted):
            site = self.regularizer.site
            why = (
                "begin() was not called before it"
                if not self.begun
                else "it was in eval mode, its forward never reaches that site, or it was compiled and run before attaching"
            )
            raise UserError(f"{self.regularizer.name} at {site!r} did not act in the last forward of the network: {why}")
        self.begun = self.acted = False  # the next step begins anew
        if self.observed is None:
            return {}
        with torch.autocast(self.observed.device.type, enabled=False):
            everything = self._gathered(self.observed)
            rows = self._rows(len(everything) // (self._views * self._world), slice(None))
            losses = self.regularizer.charge(everything, self.drawn, rows)
        return {name: value * self._parts for name, value in losses.items()} if self._parts > 1 and self.regularizer.summed else losses

    def _gathered(self, own: Tensor) -> Tensor:
        """What all processes observed, in the order of one process's batch: one view after the other."""
        if self._world == 1:
            return own
        everyone = [torch.empty_like(own) for _ in range(self._world)]
        dist.all_gather(everyone, own.detach())
        # Each process computes the same loss and differentiates its own part of it; the mean over the processes would make that too small.
        everyone[self._rank] = own.detach() + self._world * (own - own.detach())
        return torch.stack([part.view(self._views, -1, *own.shape[1:]) for part in everyone], 1).flatten(0, 2)


@contextmanager
def attach(
    net: nn.Module, *regularizers: Regularizer, example: Tensor | None = None, seed: int = 0, views: int | None = None
) -> Iterator[Attached]:
    """Puts regularisers at their sites inside a `with`; they act in training mode alone, and leave nothing behind.

    A site is one of the network's own `sites` (a place, or a group of places, at each of which the regulariser acts by itself); or any
    name of `named_modules()` (that module's output, or with ":input" behind it its input); or "every-conv". For a network without
    `sites`, "last" is the input of the convolution that the output comes from, and the choice is printed.
    `example` (N, C, H, W) is a batch as it will be trained with; without one, a small picture of the first convolution's width is used,
    and at most 256 pictures a batch are served, over all processes. `views`: degraded views in a batch, by default the most that a
    regulariser asks for. `seed`: two attachments of one seed draw alike.

    Raises UserError for unknown sites (listing what there is), an ambiguous last convolution (listing the candidates), sites that are
    never reached or hold no (N, C, H, W) feature, and networks that are compiled already: PyTorch would silently ignore the hooks, so
    attach first and compile inside the `with`."""
    if isinstance(net, DataParallel):
        raise UserError("DataParallel copies the network for each device, and features with it: use DistributedDataParallel")
    if isinstance(net, DistributedDataParallel):
        net = net.module
    if hasattr(net, "_orig_mod") or any(getattr(module, "_compiled_call_impl", None) is not None for module in net.modules()):
        raise UserError("the network is compiled already and would ignore what is attached now: attach first, then compile inside the with")
    most = max((regularizer.views for regularizer in regularizers), default=1)
    views = views or most
    if views != most > 1:
        raise UserError(f"views = {views}, but a regulariser compares {most} views of each picture")
    world = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
    # Never fewer than PICTURES: what is drawn for a picture must not hang on how many others there are.
    pictures = PICTURES if example is None else max(PICTURES, -(-example.shape[0] // views) * world)
    small = sites.small_example(net) if example is None else example[:1]
    places: list[tuple[Regularizer, int, sites.Site]] = []
    for regularizer in regularizers:
        found = sites.find(net, regularizer.site, small)
        if found.chosen:
            print(
                f"wildsr: {regularizer.name} acts before {found.places[0].module!r}, {type(net).__name__}'s last convolution",
                file=sys.stderr,
            )
        places += [(regularizer, k, place) for k, place in enumerate(found.places, 1)]
    widths = sites.channels(net, [place for _, _, place in places], small)
    taps = [
        _Tap(regularizer, k, channels, pictures, views, small.device) for (regularizer, k, _), channels in zip(places, widths, strict=True)
    ]
    handles = [sites.hook(net, place, _in_training(net, tap)) for (_, _, place), tap in zip(places, taps, strict=True)]
    try:
        yield Attached(taps, seed)
    finally:
        for handle in handles:
            handle.remove()


def _in_training(net: nn.Module, tap: _Tap) -> Callable[[Tensor], Tensor | None]:
    def act(feature: Tensor) -> Tensor | None:
        return tap(feature) if net.training else None

    return act
