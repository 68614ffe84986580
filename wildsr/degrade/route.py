"""The way of a window through the two-order pipeline: backwards, what each step must see for it; forwards, the steps on just that."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from wildsr.degrade import kernels, noise, operators

GROUP = 32
"""Samples that a GPU degrades together: enough work for each of its launches. A CPU takes them one by one, in its caches."""


@dataclass(frozen=True)
class Span:
    """A stretch of a line of pixels, from `start` up to `stop`, for each sample; `side`: how long the whole line is."""

    start: Int[np.ndarray, " b"]
    stop: Int[np.ndarray, " b"]
    side: Int[np.ndarray, " b"]

    def widened(self, by: Int[np.ndarray, " b"]) -> "Span":
        """With a margin on each side, as far as the line goes. What is reflected at its ends lies within."""
        return Span(np.maximum(self.start - by, 0), np.minimum(self.stop + by, self.side), self.side)

    def in_blocks(self) -> "Span":
        """With the rest of the 16×16 pixels that JPEG treats together."""
        return Span(self.start // 16 * 16, np.minimum(-(self.stop // -16) * 16, self.side), self.side)

    def source(self, resize: "Resize") -> "Span":
        """What it is resized from."""
        area = self.start * resize.inside // self.side, -(self.stop * resize.inside // -self.side)
        first, last = ((edge * resize.step - 0.5) for edge in (self.start + 0.5, self.stop - 0.5))
        reach = np.where(resize.mode == 3, operators.reach(resize.step), resize.mode == 2)
        start = np.where(resize.mode == 0, area[0], np.floor(first - reach)).astype(np.int64)
        stop = np.where(resize.mode == 0, area[1], np.floor(last + reach) + 2).astype(np.int64)
        return Span(np.clip(start, 0, resize.inside - 1), np.clip(stop, 1, resize.inside), resize.inside)

    def whole(self) -> "Span":
        """The whole line."""
        return Span(np.zeros_like(self.side), self.side, self.side)

    def of(self, group: Int[np.ndarray, " g"]) -> "Span":
        """That of some samples."""
        return Span(self.start[group], self.stop[group], self.side[group])

    def places(self, device: torch.device, *, margin: int = 0, multiple: int = 1) -> Int[Tensor, "g n"]:
        """The indices along it, as many for all samples as for the longest: rounded up to a multiple, with a margin on each side."""
        count = -(-int((self.stop - self.start).max()) // multiple) * multiple
        return torch.from_numpy(self.start[:, None] - margin + np.arange(count + 2 * margin)).to(device)


Spans = tuple[Span, Span]
"""Of rows and of columns."""


@dataclass(frozen=True)
class Resize:
    """A change of size along one axis: mode as in RESIZE_MODES, samples of the old line in all, and from one new sample to the next."""

    mode: Int[np.ndarray, " b"]
    inside: Int[np.ndarray, " b"]
    step: Float[np.ndarray, " b"]

    def of(self, group: Int[np.ndarray, " g"]) -> "Resize":
        """That of some samples."""
        return Resize(self.mode[group], self.inside[group], self.step[group])


@dataclass(frozen=True)
class Axis:
    """Rows, or columns, on the way: the resizes, and which of a step's results the next steps must see."""

    resizes: tuple[Resize, Resize, Resize]
    blurred1: Span
    first: Span
    """Resized, noisy, and JPEG once."""
    blurred2: Span
    second: Span
    """Resized and noisy again; JPEG, where it comes before the last resize."""
    shrunk: Span
    final: Span
    """Filtered; JPEG, where it comes last."""

    def of(self, group: Int[np.ndarray, " g"]) -> "Axis":
        """That of some samples."""
        spans = (self.blurred1, self.first, self.blurred2, self.second, self.shrunk, self.final)
        one, two, three = (resize.of(group) for resize in self.resizes)
        return Axis((one, two, three), *(span.of(group) for span in spans))


def axis(
    side: int, scale: int, starts: Int[np.ndarray, " b"], count: int, numbers: Mapping[str, np.ndarray], radii: Mapping[str, np.ndarray]
) -> Axis:
    """What `count` LR pixels from `starts` on need, along one axis of pictures of `side` HR pixels."""
    same = np.ones_like(starts)
    small = np.floor(side * numbers["resize1"]).astype(np.int64)
    between = np.maximum(1, np.floor(side / scale * numbers["resize2"]).astype(np.int64))
    last = side // scale * same
    resizes = (
        Resize(numbers["mode1"], side * same, 1 / numbers["resize1"].astype(np.float64)),
        Resize(numbers["mode2"], small, small / between),
        Resize(numbers["tail_mode"], between, between / last),
    )
    jpeg_last = numbers["resize_before_jpeg"]
    window = Span(starts, starts + count, last)
    final = _either(jpeg_last & numbers["jpeg2"], window.in_blocks(), window)
    shrunk = final.widened(radii["sinc"])
    seen = shrunk.source(resizes[2])
    second = _either(~jpeg_last & numbers["jpeg2"], seen.in_blocks(), seen)
    blurred2 = second.source(resizes[1])
    noisy = blurred2.widened(radii["kernel2"])
    first = _either(numbers["jpeg1"], noisy.in_blocks(), noisy)
    spans = [first.source(resizes[0]), first, blurred2, second, shrunk, final]
    # A resize may skip a picture's first pixels; who asks for all of it wants the noise to know all its levels.
    return Axis(resizes, *([span.whole() for span in spans] if count == side // scale else spans))


def _either(which: Bool[np.ndarray, " b"], one: Span, other: Span) -> Span:
    return Span(np.where(which, one.start, other.start), np.where(which, one.stop, other.stop), one.side)


def degrade(
    hr: Float[Tensor, "b 3 h w"], params: Mapping[str, Tensor], scale: int, corners: Int[Tensor, "b 2"], size: tuple[int, int]
) -> tuple[Float[Tensor, "b 3 h2 w2"], Bool[Tensor, " b"]]:
    """Windows of degraded pictures, not yet rounded to 8 bits, and for which samples they are settled: the others have Poisson noise that
    hangs on how many levels the whole picture has, which their windows do not tell."""
    numbers = {name: values.numpy() for name, values in params.items()}
    radii = {name: kernels.radii(numbers[name]) for name in ("kernel1", "kernel2", "sinc")}
    rows, columns = (axis(hr.shape[2 + i], scale, corners.numpy()[:, i], size[i], numbers, radii) for i in (0, 1))
    result, settled = hr.new_empty((len(hr), 3, *size)), torch.ones(len(hr), dtype=torch.bool, device=hr.device)
    for group in _groups(rows, columns, numbers["resize_before_jpeg"], hr.device):
        there = torch.from_numpy(group).to(hr.device)
        # A slice is no copy; on a CPU, groups are single samples.
        pictures = hr[group[0] : group[0] + 1] if len(group) == 1 else hr[there]
        some = {name: values[group] for name, values in numbers.items()}
        way = _Way(pictures, rows.of(group), columns.of(group), some, {name: radius[group] for name, radius in radii.items()})
        lr = way.through()
        have = rows.final.of(group), columns.final.of(group)
        starts = corners.numpy()[group]
        want = tuple(Span(starts[:, i], starts[:, i] + size[i], have[i].side) for i in (0, 1))
        result[there], settled[there] = _window(lr, have, (want[0], want[1]), 0), way.settled
    # Read at the end, so that a GPU is not waited for in between.
    return result, settled.cpu()


def _together(device: torch.device) -> int:
    return GROUP if device.type == "cuda" else 1


def _groups(rows: Axis, columns: Axis, jpeg_last: Bool[np.ndarray, " b"], device: torch.device) -> Iterator[Int[np.ndarray, " g"]]:
    """Samples that take the same steps, and see about as much."""
    size = _together(device)
    area = (rows.first.stop - rows.first.start) * (columns.first.stop - columns.first.start)
    order = np.lexsort((area, jpeg_last))
    for same in (order[~jpeg_last[order]], order[jpeg_last[order]]):
        yield from (same[i : i + size] for i in range(0, len(same), size))


class _Way:
    """The steps of a group of samples, each on what it must see; groups of several are padded to the largest of them."""

    def __init__(
        self,
        pictures: Float[Tensor, "g 3 h w"],
        rows: Axis,
        columns: Axis,
        numbers: Mapping[str, np.ndarray],
        radii: Mapping[str, Int[np.ndarray, " g"]],
    ) -> None:
        self._pictures, self._rows, self._columns, self._numbers, self._radii = pictures, rows, columns, numbers, radii
        self._device = pictures.device
        self.settled = torch.ones(len(pictures), dtype=torch.bool, device=self._device)

    def through(self) -> Float[Tensor, "g 3 n m"]:
        """The whole way, up to the spans `final`."""
        rows, columns = self._rows, self._columns
        canvas = _line(self._pictures.shape[2], rows.final), _line(self._pictures.shape[3], rows.final)
        x = self._blur(self._pictures, canvas, (rows.blurred1, columns.blurred1), "kernel1")
        x = self._resize(x, 0, (rows.blurred1, columns.blurred1), (rows.first, columns.first), 16)
        x = self._noise(x, (rows.first, columns.first), 1)
        x = self._jpeg(x, (rows.first, columns.first), 1)

        x = self._blur(x, (rows.first, columns.first), (rows.blurred2, columns.blurred2), "kernel2")
        x = self._resize(x, 1, (rows.blurred2, columns.blurred2), (rows.second, columns.second), 16)
        x = self._noise(x, (rows.second, columns.second), 2)
        jpeg_last = self._numbers["resize_before_jpeg"].all()
        if not jpeg_last:
            x = self._jpeg(x, (rows.second, columns.second), 2)
        x = self._resize(x, 2, (rows.second, columns.second), (rows.shrunk, columns.shrunk), 1)
        x = self._blur(x, (rows.shrunk, columns.shrunk), (rows.final, columns.final), "sinc")
        return self._jpeg(x.clamp(0, 1), (rows.final, columns.final), 2) if jpeg_last else x

    def _on_device(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(self._device)

    def _blur(self, x: Tensor, have: Spans, want: Spans, name: str) -> Tensor:
        radius = int(self._radii[name].max())
        x = _window(x, have, want, radius)
        if radius == 0:
            return x
        centre = slice(kernels.SIZE // 2 - radius, kernels.SIZE // 2 + radius + 1)
        return operators.correlate(x, self._on_device(self._numbers[name])[:, centre, centre])

    def _resize(self, x: Tensor, which: int, have: Spans, want: Spans, multiple: int) -> Tensor:
        taps = []
        for line, span, target in zip((self._rows, self._columns), have, want, strict=True):
            resize = line.resizes[which]
            places = target.places(self._device, multiple=multiple)
            index, weight = operators.taps(resize.mode, places, resize.inside, target.side, resize.step)
            taps.append((index.sub_(self._on_device(span.start)[:, None, None]), weight))
        return operators.resample(x, *taps)

    def _noise(self, x: Tensor, spans: Spans, order: int) -> Tensor:
        gaussian, noisy = self._numbers[f"gaussian{order}"], self._numbers[f"noisy{order}"]
        kinds = [kind.nonzero()[0] for kind in (gaussian & noisy, ~gaussian & noisy) if kind.any()]
        if len(kinds) == 1 and noisy.all():
            return self._noise_of_one_kind(x, spans, order, kinds[0])
        result = x.clamp(0, 1)  # as noise leaves it
        for kind in kinds:
            there = self._on_device(kind)
            result[there] = self._noise_of_one_kind(x[there], spans, order, kind)
        return result

    def _noise_of_one_kind(self, x: Tensor, spans: Spans, order: int, some: Int[np.ndarray, " g"]) -> Tensor:
        numbers = {name: self._numbers[f"{name}{order}"][some] for name in ("gaussian", "gray", "sigma", "poisson")}
        places = [span.start[some][:, None] + np.arange(count) for span, count in zip(spans, x.shape[2:], strict=True)]
        rows, columns = (self._on_device(index) for index in places)
        if numbers["gaussian"].all():
            # The reference's flaw is in the Gaussian field alone; Poisson noise depends on the picture and is always the sample's own.
            seeds = np.where(numbers["gray"], self._numbers["gray_noise_seed"][some], self._numbers["noise_seed"][some])
            keys = noise.keys(self._on_device(seeds), order)
            return noise.gaussian_noise(x, self._on_device(numbers["sigma"]), numbers["gray"], keys, rows, columns)
        keys = noise.keys(self._on_device(self._numbers["noise_seed"][some]), order)
        inside = [index < span.stop[some][:, None] for index, span in zip(places, spans, strict=True)]
        beyond = not all(part.all() for part in inside)
        seen = self._on_device(inside[0])[:, None, :, None] & self._on_device(inside[1])[:, None, None, :] if beyond else None
        x, levels = noise.poisson_noise(x, self._on_device(numbers["poisson"]), numbers["gray"], keys, rows, columns, seen)
        whole = np.logical_and(*((span.start == 0) & (span.stop == span.side) for span in spans))[some]
        # From 129 levels on, 8 bits it is.
        self.settled[self._on_device(some)] &= (levels > 128) | self._on_device(whole)
        return x

    def _jpeg(self, x: Tensor, spans: Spans, order: int) -> Tensor:
        there = self._numbers[f"jpeg{order}"]
        if not there.any():
            return x
        plain = x
        # What lies beyond the picture is black.
        for dim, span in zip((2, 3), spans, strict=True):
            count = x.shape[dim]
            if (span.start + count > span.side).any():
                beyond = self._on_device(span.start[:, None] + np.arange(count) >= span.side[:, None])
                x = x.masked_fill(beyond[:, None, :, None] if dim == 2 else beyond[:, None, None, :], 0)
        x = operators.jpeg(x, self._on_device(self._numbers[f"quality{order}"]))
        return x if there.all() else torch.where(self._on_device(there)[:, None, None, None], x, plain)


def _line(side: int, like: Span) -> Span:
    return Span(np.zeros_like(like.start), np.full_like(like.start, side), np.full_like(like.start, side))


def _window(x: Float[Tensor, "g 3 h w"], have: Spans, want: Spans, margin: int) -> Float[Tensor, "g 3 n m"]:
    """What is wanted of what there is, with a margin in which the whole pictures are continued evenly."""
    if len(x) == 1:
        # Slices and one padding; indices would be six times slower.
        slices, padding = [], []
        for span, target in zip(have, want, strict=True):
            start, stop, side = int(target.start[0]) - margin, int(target.stop[0]) + margin, int(span.side[0])
            slices.append(slice(max(start, 0) - int(span.start[0]), min(stop, side) - int(span.start[0])))
            padding = [max(-start, 0), max(stop - side, 0), *padding]
        x = x[:, :, slices[0], slices[1]]
        return F.pad(x, padding, mode="reflect") if any(padding) else x
    windows = []
    for span, target in zip(have, want, strict=True):
        places = target.places(x.device, margin=margin)
        places = operators.continued(places, torch.from_numpy(target.side).to(x.device))
        windows.append(places - torch.from_numpy(span.start).to(x.device)[:, None])
    return operators.cut(x, *windows)
