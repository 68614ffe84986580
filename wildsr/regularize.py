"""Regularisers that make super-resolution networks generalise, attached from outside to named sites of any nn.Module.

    with wildsr.attach(net, FeatureDropout(p=0.7)) as attached:
        attached.begin(n, progress)                    # all chance is drawn here
        loss = l1(net(lr), hr) + sum(attached.losses().values())

A regulariser is its configuration and three pure functions: what it draws, what it does to a feature, what it charges for it."""

import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from wildsr import chance
from wildsr.config import Strict, nearest
from wildsr.errors import UserError
from wildsr.networks import Site

Drawn = Mapping[str, Tensor]

ROWS = 256
"""Samples of a batch for which chance is drawn at least."""


class Regularizer(Strict, ABC, frozen=True):
    """One regulariser at one site. Final subclasses are frozen configurations; nothing changes while they run.

    `views` is the number of degraded views of each HR picture in a batch: (views·B, C, H, W), one view after the other."""

    views: ClassVar[int] = 1
    name: str
    site: str = "last"

    @abstractmethod
    def draw(self, shape: torch.Size, generator: torch.Generator, progress: float) -> dict[str, Tensor]:
        """All chance for one step, on the CPU, for a feature of `shape` (N, C, H, W). Row i belongs to sample i of the batch."""

    def change(self, feature: Float[Tensor, "n c h w"], drawn: Drawn) -> Float[Tensor, "n c h w"] | None:
        """The feature that takes the place of the network's own; None leaves it."""

    def observe(self, feature: Float[Tensor, "n c h w"]) -> Tensor | None:
        """What `charge` needs to know of the feature; None for nothing."""

    def charge(self, observed: Tensor, drawn: Drawn) -> dict[str, Tensor]:
        """Losses by name, computed in float32 outside autocast."""
        return {}


class FeatureDropout(Regularizer, frozen=True):
    """Channel dropout before the last convolution (Reflash Dropout, CVPR 2022, Section 4): m·x / (1 − p), m ~ Bernoulli(1 − p) for each
    sample and channel. The published models use p = 0.7 for SRResNet."""

    name: Literal["dropout"] = "dropout"
    p: Annotated[float, Field(ge=0, lt=1)] = 0.7

    def draw(self, shape: torch.Size, generator: torch.Generator, progress: float) -> dict[str, Tensor]:
        kept = torch.rand((shape[0], shape[1], 1, 1), generator=generator) >= self.p
        return {"mask": kept / (1 - self.p)}

    def change(self, feature: Float[Tensor, "n c h w"], drawn: Drawn) -> Float[Tensor, "n c h w"]:
        return feature * drawn["mask"][: len(feature)].to(feature.dtype)


class FeatureAlignment(Regularizer, frozen=True):
    """Simple-Align (Navigating Beyond Dropout, CVPR 2024): aligns the first- and second-order statistics of the features of two degraded
    views of each picture, directly and after a random map; formulas as the public code computes them, summed over the pairs.

    With u, v the spatial means of the two views, each centred over the batch, r(u, v) = |u − v|²/C + ‖uuᵀ − vvᵀ‖²_F/C²;
    the loss is weight · Σ [linear] r(u, v) + [nonlinear] r(φ(u), φ(v)). Batches of one picture are refused: u = v = 0."""

    views: ClassVar[int] = 2
    name: Literal["alignment"] = "alignment"
    weight: Annotated[float, Field(ge=0)] = 1.0
    linear: bool = True
    nonlinear: bool = True

    def draw(self, shape: torch.Size, generator: torch.Generator, progress: float) -> dict[str, Tensor]:
        frequency = torch.randn((shape[0], 1), generator=generator)
        phase = torch.rand((shape[0], shape[1]), generator=generator) * (2 * torch.pi)
        return {"frequency": frequency, "phase": phase}

    def observe(self, feature: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c"]:
        return feature.mean((2, 3), dtype=torch.float32)

    def charge(self, observed: Float[Tensor, "n c"], drawn: Drawn) -> dict[str, Tensor]:
        if len(observed) % 2 or len(observed) < 4:
            raise UserError(
                f"alignment needs two views of at least two pictures, not a batch of {len(observed)}: its statistics are centred over "
                "the pictures of a batch and vanish for a single one"
            )
        u, v = (view - view.mean(0) for view in observed.chunk(2))
        loss = torch.zeros((), device=observed.device)
        if self.linear:
            loss = loss + discrepancy(u, v).sum()
        if self.nonlinear:
            frequency, phase = drawn["frequency"][: len(u)], drawn["phase"][: len(u)]
            loss = loss + discrepancy(random_map(u, frequency, phase), random_map(v, frequency, phase)).sum()
        return {"align": self.weight * loss}


def discrepancy(x: Float[Tensor, "b c"], y: Float[Tensor, "b c"]) -> Float[Tensor, " b"]:
    """r(x, y) = |x − y|²/C + ‖xxᵀ − yyᵀ‖²_F/C², a value a pair, in O(C).

    With d = x − y, a = x + y the second norm is (|a|²|d|² + (a·d)²)/2, which does not cancel in float32 when the views are close."""
    channels = x.shape[1]
    d, a = x - y, x + y
    squared = d.square().sum(1)
    outer = (a.square().sum(1) * squared + (a * d).sum(1).square()) / 2
    return squared / channels + outer / channels**2


def random_map(x: Float[Tensor, "b c"], frequency: Float[Tensor, "b 1"], phase: Float[Tensor, "b c"]) -> Float[Tensor, "b c"]:
    """The reference's random Fourier map: t = w·x + b, m = (π/2)·(t − min t)/(max t − min t) over the channels, √2(cos m + sin m).

    Values lie in [√2, 2]. A t that is the same in all channels has m = 0."""
    t = frequency * x + phase
    t = t - t.amin(1, keepdim=True)
    m = (torch.pi / 2) * t / t.amax(1, keepdim=True).clamp_min(torch.finfo(t.dtype).tiny)
    return 2 * torch.sin(m + torch.pi / 4)


RegularizerConfig = Annotated[FeatureDropout | FeatureAlignment, Field(discriminator="name")]
"""Any regulariser in a configuration, told apart by `name`: the list that a new one joins."""


class Attached:
    """Regularisers at work on a network; made by `attach`."""

    def __init__(self, taps: "list[_Tap]", seed: int) -> None:
        self._taps, self._seed = taps, seed

    def begin(self, n: int, progress: float) -> None:
        """Draws all chance of the coming step. `n`: HR pictures drawn since the start of the run; `progress`: share of the run in [0, 1].

        A pure function of (seed, n, progress): a step can be played again, and a resumed run draws what it would have drawn."""
        seen: Counter[tuple[str, str]] = Counter()
        for tap in self._taps:
            kind = tap.regularizer.name, tap.regularizer.site
            tap.begin(chance.torch_generator(self._seed, "regularizer", *kind, seen[kind], n), progress)
            seen[kind] += 1

    def losses(self) -> dict[str, Tensor]:
        """The regularisers' losses for the last forward in training mode; {} when they only change features. Several of one name are
        numbered in the order in which they were listed: align, align2.

        Raises UserError when the network ran without a regulariser: no `begin`, eval mode, or a site that forward never reaches."""
        losses: dict[str, Tensor] = {}
        seen: Counter[str] = Counter()
        for tap in self._taps:
            for name, value in tap.losses().items():
                seen[name] += 1
                losses[name if seen[name] == 1 else f"{name}{seen[name]}"] = value
        return losses


class _Tap:
    """A regulariser at its site: the tensors that hold what was drawn, made once, and what the last forward left."""

    def __init__(self, regularizer: Regularizer, shape: torch.Size, device: torch.device) -> None:
        self.regularizer, self.shape = regularizer, shape
        self.drawn: dict[str, Tensor] = {
            name: value.to(device) for name, value in regularizer.draw(shape, chance.torch_generator(0), 0.0).items()
        }
        self.begun = self.acted = False
        self.observed: Tensor | None = None

    def begin(self, generator: torch.Generator, progress: float) -> None:
        for name, value in self.regularizer.draw(self.shape, generator, progress).items():
            self.drawn[name].copy_(value)
        self.begun, self.acted, self.observed = True, False, None

    def __call__(self, feature: Tensor) -> Tensor | None:
        if feature.shape[0] > self.shape[0]:
            raise UserError(
                f"a batch of {feature.shape[0]} is larger than the {self.shape[0]} samples that chance is drawn for: "
                "give attach an example batch of the size that you train with"
            )
        changed = self.regularizer.change(feature, self.drawn)
        self.observed = self.regularizer.observe(feature)
        self.acted = True
        return changed

    def losses(self) -> dict[str, Tensor]:
        if not (self.begun and self.acted):
            why = "begin() was not called before it" if not self.begun else "it was in eval mode, or its forward never reaches that site"
            raise UserError(f"{self.regularizer.name} at {self.regularizer.site!r} did not act in the last forward of the network: {why}")
        if self.observed is None:
            return {}
        with torch.autocast(self.observed.device.type, enabled=False):
            return self.regularizer.charge(self.observed, self.drawn)


@contextmanager
def attach(net: nn.Module, *regularizers: Regularizer, example: Tensor | None = None, seed: int = 0) -> Iterator[Attached]:
    """Puts regularisers at their sites inside a `with`; they act in training mode alone, and leave nothing behind.

    A site is a name of the network's own `sites`, or any name of `named_modules()` (that module's output). For a network without
    `sites`, "last" is the input of the Conv2d that runs last, and the choice is printed. `example` (N, C, H, W) is a batch as it will be
    trained with; without one, a small picture of the first convolution's width is used and at most 256 samples a batch are served.

    Raises UserError for unknown sites (listing the near ones), sites that are never reached or hold no (N, C, H, W) feature, and networks
    that are compiled already: PyTorch would silently ignore the hooks, so attach first and compile inside the `with`."""
    if hasattr(net, "_orig_mod") or getattr(net, "_compiled_call_impl", None) is not None:
        raise UserError("the network is compiled already and would ignore what is attached now: attach first, then compile inside the with")
    # Never fewer than ROWS: what is drawn for a sample must not hang on how many others there are.
    rows = ROWS if example is None else max(ROWS, example.shape[0])
    if example is None:
        example = _small_example(net)
    named: Mapping[str, Site] = getattr(net, "sites", {})
    modules = dict(net.named_modules())
    sites = [_find_site(net, regularizer.site, named, modules, example) for regularizer in regularizers]
    shapes = _shapes_at(net, sites, modules, example)
    taps = [
        _Tap(regularizer, torch.Size((rows, *shape[1:])), example.device) for regularizer, shape in zip(regularizers, shapes, strict=True)
    ]
    handles = [_hook(modules[site.module], site.edge, _in_training(net, tap)) for site, tap in zip(sites, taps, strict=True)]
    try:
        yield Attached(taps, seed)
    finally:
        for handle in handles:
            handle.remove()


def _in_training(net: nn.Module, tap: _Tap) -> Any:
    def act(feature: Tensor) -> Tensor | None:
        return tap(feature) if net.training else None

    return act


def _hook(module: nn.Module, edge: str, act: Any) -> Any:
    """Calls `act` with a module's input or output; a result that is not None takes its place."""
    if edge == "input":
        return module.register_forward_pre_hook(lambda _, args: None if (changed := act(args[0])) is None else (changed, *args[1:]))
    return module.register_forward_hook(lambda _, args, output: act(output))


def _small_example(net: nn.Module) -> Tensor:
    first = next((module for module in net.modules() if isinstance(module, nn.Conv2d)), None)
    if first is None:
        raise UserError("the network has no Conv2d to tell what it takes: give attach an example batch")
    return first.weight.new_zeros(1, first.in_channels, 32, 32)


def _find_site(net: nn.Module, name: str, named: Mapping[str, Site], modules: Mapping[str, nn.Module], example: Tensor) -> Site:
    if name in named:
        return named[name]
    if name in modules and name:
        return Site(name, "output")
    if name == "last":
        site = Site(last_convolution(net, example), "input")
        print(f"wildsr: the last convolution of {type(net).__name__} is {site.module!r}; features are taken before it", file=sys.stderr)
        return site
    raise UserError(f"{type(net).__name__} has no site {name!r}: {nearest(name, [*named, *filter(None, modules)])}")


def last_convolution(net: nn.Module, example: Tensor) -> str:
    """The name of the Conv2d that runs last in a forward of `example` in eval mode. Raises UserError when none runs."""
    ran: list[str] = []
    convolutions = [(name, module) for name, module in net.named_modules() if isinstance(module, nn.Conv2d)]
    handles = [_hook(module, "input", lambda _, name=name: ran.append(name)) for name, module in convolutions]
    try:
        _forward(net, example)
    finally:
        for handle in handles:
            handle.remove()
    if not ran:
        raise UserError(
            f"no Conv2d runs in the forward of {type(net).__name__}: name the site: {', '.join(filter(None, dict(net.named_modules())))}"
        )
    return ran[-1]


def _shapes_at(net: nn.Module, sites: list[Site], modules: Mapping[str, nn.Module], example: Tensor) -> list[torch.Size]:
    shapes: dict[int, Any] = {}
    handles = [
        _hook(modules[site.module], site.edge, lambda feature, i=i: shapes.update({i: getattr(feature, "shape", type(feature).__name__)}))
        for i, site in enumerate(sites)
    ]
    try:
        _forward(net, example)
    finally:
        for handle in handles:
            handle.remove()
    for i, site in enumerate(sites):
        if i not in shapes:
            raise UserError(f"the forward of {type(net).__name__} never reaches {site.module!r}")
        if not isinstance(shapes[i], torch.Size) or len(shapes[i]) != 4:
            found = list(shapes[i]) if isinstance(shapes[i], torch.Size) else shapes[i]
            raise UserError(f"the {site.edge} of {site.module!r} is no feature of shape (N, C, H, W) but {found}")
    return [shapes[i] for i in range(len(sites))]


def _forward(net: nn.Module, example: Tensor) -> None:
    modes = {module: module.training for module in net.modules()}
    net.eval()
    try:
        with torch.no_grad():
            net(example)
    finally:
        for module, training in modes.items():
            module.training = training
