"""Features at named sites of any nn.Module: recorded, replaced, and carried on from without what comes before."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wildsr.errors import UserError
from wildsr.interpret import winograd
from wildsr.interpret.replay import DivergedError, Recording, Replay
from wildsr.sites import Site, find, hook, small_example

Change = Callable[[Tensor], Tensor]

TOGETHER = 4
"""Channels that are convolved apart from each other at a time."""


class Taps:
    """What stood at named sites in the last forward; made by `taps`. taps["last"] is a site's feature (N, C, h, w)."""

    def __init__(self, net: nn.Module, places: Mapping[str, tuple[Site, ...]]) -> None:
        self._net, self._places = net, dict(places)
        self._seen: dict[Site, list[Tensor]] = {}

    def __getitem__(self, site: str) -> Tensor:
        """The feature of a single place. Raises UserError for a group (see `group`), and where the forward ran never, or several times."""
        found = self.group(site)
        if len(found) != 1:
            raise UserError(f"site {site!r} is {len(found)} places: name one of {', '.join(map(str, self._places[site]))}")
        return found[0]

    def group(self, site: str) -> list[Tensor]:
        """The features of a site's places, in the order of forward: several for a group."""
        if site not in self._places:
            raise UserError(f"site {site!r} is not tapped: there is {', '.join(self._places)}")
        return [self._only(place) for place in self._places[site]]

    def _only(self, place: Site) -> Tensor:
        seen, name = self._seen.get(place, []), type(self._net).__name__
        if not seen:
            raise UserError(f"no forward of {name} reached {place.module!r}: call the network inside the with")
        if len(seen) > 1:
            raise UserError(f"the forward of {name} runs {place.module!r} {len(seen)} times: choose a place that runs once")
        return seen[0]


@contextmanager
def taps(
    net: nn.Module, sites: Sequence[str], replace: Mapping[str, Change] | None = None, *, example: Tensor | None = None
) -> Iterator[Taps]:
    """Records the features at some sites, and replaces those at others, in each forward inside a `with`; nothing stays behind.

    sites: names as in `wildsr.sites.find`, groups too. replace: from a site's name to a function of its feature (N, C, h, w) whose result
    takes its place, at every place of a group; what is recorded at the same site is what stood there before. Records are copies, of the
    last forward; with gradients on, they are part of the graph. `example` (1, C, h, w) is run where a name needs it ("last" of networks
    that name no sites), by default a small black picture. Raises UserError for unknown sites, and in the forward for what is no feature
    of shape (N, C, h, w)."""
    changes = dict(replace or {})
    places = {name: find(net, name, _example(net, name, example)).places for name in [*sites, *changes]}
    seen = Taps(net, {name: places[name] for name in sites})

    def record(place: Site) -> Callable[[Any], None]:
        return lambda feature: seen._seen.setdefault(place, []).append(_checked(feature, place).clone())

    def change(place: Site, by: Change) -> Callable[[Any], Tensor]:
        return lambda feature: by(_checked(feature, place))

    with ExitStack() as stack:
        stack.callback(net.register_forward_pre_hook(lambda module, args: seen._seen.clear() if module is net else None).remove)
        # Twice named, a place is recorded once.
        for place in dict.fromkeys(place for name in sites for place in places[name]):
            stack.callback(hook(net, place, record(place)).remove)
        for name, by in changes.items():
            for place in places[name]:
                stack.callback(hook(net, place, change(place, by)).remove)
        yield seen


class Suffix:
    """What a network makes of a feature at a site, for one picture: feature (B, C, h, w) -> output (B, 3, H, W); made by `suffix`.

    feature: what stands at the site by itself, (1, C, h, w). output: the network's result, (1, 3, H, W). skips: whether what comes before
    the site is left out; if not, the whole network runs, for it did not do twice the same, or hid from PyTorch what it did.
    convolved: whether all that reads the feature is one Conv2d.

    Between two features, the network and the picture must stay as they are."""

    def __init__(self, net: nn.Module, picture: Tensor, place: Site, *, fast: bool) -> None:
        self._net, self._place, self._fast = net, place, fast
        self._quick = winograd.quick(picture) if fast else nullcontext()
        with torch.inference_mode(False), torch.no_grad():
            self._picture = self._laid_out(picture.detach().clone())
            self._calls: list[Any] = []
            self.convolved = self.skips = self._writes = self._copies = False
            self.feature, self.output = self._record()

    def _record(self) -> tuple[Tensor, Tensor]:
        """Records; a second time where memory turns out to be written to, or the first forward filled something that the next ones use."""
        copied: frozenset[tuple[int, int]] = frozenset()
        feature = output = None
        for _ in range(3):
            recording = Recording(copied)
            output = self._run(recording, None)
            feature, written = recording.feature, recording.written() - copied
            assert feature is not None
            self._calls, self.convolved = recording.calls(), recording.convolved()
            self._writes, self._copies = (-1, 0) in copied, bool(copied - {(-1, 0)})
            if not written and self._agrees(feature, output):
                self.skips = True
                return feature, output
            copied |= written | {(-1, 0)}
        self._calls, self.convolved, self._writes = [], False, True
        assert feature is not None
        assert output is not None
        return feature, output

    def _agrees(self, feature: Tensor, output: Tensor) -> bool:
        try:
            again = self._run(Replay(self._calls), feature.clone() if self._writes else feature)
        except DivergedError:
            return False
        return torch.allclose(again, output, rtol=1e-6, atol=1e-6 * max(1.0, output.abs().max().item()))

    def _run(self, mode: Recording | Replay | None, feature: Tensor | None) -> Tensor:
        """A forward in a mode, in which `feature`, unless None, takes the place of what stands at the site."""
        reached = 0

        def act(found: Any) -> Tensor | None:
            nonlocal reached
            reached += 1
            if mode is not None and reached == 1:
                with torch._C.DisableTorchFunction():  # what is asked here is no part of the forward
                    mode.reach(_checked(found, self._place) if feature is None else feature)
            return feature

        handle = hook(self._net, self._place, act)
        try:
            with evaluated(self._net), self._quick, mode if mode is not None else nullcontext():
                output = self._net(self._picture)
        finally:
            handle.remove()
        name, module = type(self._net).__name__, self._place.module
        if not reached:
            raise UserError(f"the forward of {name} never reaches {module!r}")
        if reached > 1:
            raise UserError(f"the forward of {name} runs {module!r} {reached} times: choose a place that runs once")
        if not isinstance(output, Tensor) or output.ndim != 4:
            raise UserError(f"{name} gives no picture of shape (N, 3, H, W) but {_what(output)}")
        return output

    def __call__(self, feature: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d oh ow"]:
        """Carries on from each of some features. One by one: a picture alone fills a processor, and memory stays small."""
        if feature.shape[1:] != self.feature.shape[1:]:
            raise UserError(f"a feature of shape {list(feature.shape)}: at {self._place} stand ones of (N, {list(self.feature.shape)[1:]})")
        results = [self._one(one) for one in feature.split(1)]
        return results[0] if len(results) == 1 else torch.cat(results)

    def _one(self, feature: Tensor) -> Tensor:
        # What follows may write into the feature, which is the caller's.
        feature = self._laid_out(feature.clone() if self._writes else feature)
        # Autograd does not see that copies share memory.
        if self.skips and not (self._copies and torch.is_grad_enabled()):
            try:
                return self._run(Replay(self._calls), feature)
            except DivergedError:
                self.skips = False
        return self._run(None, feature)

    @torch.no_grad()
    def alone(self, channels: Sequence[int]) -> Iterator[Float[Tensor, "1 d oh ow"]]:
        """The output for each of some channels of the site's own feature, with all others zero: convolutions of few channels at a time.
        Only for a site that is `convolved`, and where `skips`."""
        # Planes one by one, also what the network adds: in between, layouts would have to be changed for each channel.
        own, calls = winograd.planes(self.feature), [call.planes(self.feature) for call in self._calls]
        for start in range(0, len(channels), TOGETHER):
            piece = list(channels[start : start + TOGETHER])
            made: list[Tensor] = []
            for i in range(len(piece)):

                def convolve(
                    _: Tensor, *given: Any, i: int = i, piece: list[int] = piece, made: list[Tensor] = made, **named: Any
                ) -> Tensor:
                    if not made:
                        made.append(_apart(own[:, piece], piece, *given, **named))
                    return made[0][i : i + 1]

                yield self._run(Replay(calls, convolve), self.feature)

    def _laid_out(self, tensor: Tensor) -> Tensor:
        return winograd.laid_out(tensor) if self._fast else tensor


def _apart(feature: Tensor, channels: list[int], weight: Tensor, bias: Tensor | None = None, *given: Any, **named: Any) -> Tensor:
    """What a Conv2d makes of each of k channels, (1, k, h, w), with all others zero: (k, d, oh, ow). As one convolution with zeros between
    the channels, which for so few is faster than one in groups."""
    count, outputs = len(channels), weight.shape[0]
    between = torch.eye(count, dtype=weight.dtype, device=weight.device).view(count, 1, count, 1, 1)
    apart = (weight[:, channels].transpose(0, 1).unsqueeze(2) * between).flatten(0, 1)
    made = nn.functional.conv2d(feature, apart, None if bias is None else bias.repeat(count), *given, **named)
    return made.view(count, outputs, *made.shape[2:])


def suffix(net: nn.Module, picture: Float[Tensor, "1 c h w"], site: str = "last", *, fast: bool = False) -> Suffix:
    """Runs a network once, in eval mode and without gradients, and makes what carries on from a site: suffix(net, picture, site)(feature)
    is the output for `picture` when `feature` stands at the site, without running what comes before it.

    Equal to a forward in which the feature is replaced; gradients flow through. Whatever PyTorch is asked before the site is remembered by
    the order in which it is asked, and of its results those that something behind the site reads (a global residual, dense connections).
    `fast`: the faster memory format and convolutions, for results without gradients; equal to rounding (1e-5). Works for any
    deterministic nn.Module, and runs the whole network for others: `Suffix.skips`.
    Raises UserError for a group of sites, one that the forward reaches never or several times, and what is no feature (N, C, h, w)."""
    places = find(net, site, picture).places
    if len(places) != 1:
        raise UserError(f"site {site!r} is {len(places)} places: name one of {', '.join(map(str, places))}")
    return Suffix(net, picture, places[0], fast=fast)


@contextmanager
def evaluated(net: nn.Module) -> Iterator[None]:
    """Eval mode inside a `with`; every module's mode is then what it was."""
    modes = {module: module.training for module in net.modules()}
    if any(modes.values()):
        net.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            if module.training != training:
                module.training = training


def _example(net: nn.Module, name: str, given: Tensor | None) -> Tensor:
    """What `find` may run; it runs nothing for names of modules."""
    return given if given is not None else small_example(net) if name in ("last", "every-conv") else torch.empty(0)


def _checked(feature: Any, place: Site) -> Tensor:
    if not isinstance(feature, Tensor) or feature.ndim != 4:
        raise UserError(f"the {place.edge} of {place.module!r} is no feature of shape (N, C, H, W) but {_what(feature)}")
    return feature


def _what(value: Any) -> str:
    return str(list(value.shape)) if isinstance(value, Tensor) else type(value).__name__
