"""Crops of pictures side by side: the comparison sheets, which the sliders show too, and the best and worst pictures of two methods."""

import base64
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, features

from wildsr.report.duels import Duel, Duels
from wildsr.report.methods import Grid, Method
from wildsr.report.parts import Html, Look, fill
from wildsr.report.tables import Row, Summary, families, number, show

PICTURES = 3
"""Pictures of each set that have a sheet."""
ROWS = 12
"""Degradations of a sheet, at most; of more, each kind has one: the middle of its severities."""
WINDOWS = (192, 128)
"""Sides of a crop in pixels of the ground truth; the second is used where the first would make the page too big."""
CLOSE = 96
"""Side of the crops of best and worst pictures."""
SHARE = 0.25
"""Part of the room for pictures that is kept for best and worst pictures."""

Box = tuple[int, int, int, int]
Place = tuple[str, str, str, str]
"""(suite, set, picture, degradation)."""


@dataclass(frozen=True)
class Shot:
    """The same part of one picture under one degradation, all (h, w, 3) uint8: the input (at h/scale, w/scale), each model's, the truth.

    truth_of: by what the truth is known; that of the picture, or of this input alone."""

    place: Place
    given: np.ndarray | None
    crops: dict[str, np.ndarray]
    truth: np.ndarray | None
    truth_of: str


class Shelf:
    """The pictures beside some rows."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = folders

    def truth(self, of_set: str, image: str) -> np.ndarray | None:
        """Ground truth, (H, W, 3) uint8; None where there is none."""
        return self._read("hr", of_set, image)

    def moved_truth(self, place: Place) -> np.ndarray | None:
        """The ground truth as it was moved for one input; None where it was not."""
        _, of_set, image, degradation = place
        return self._read("hr", of_set, degradation, image)

    def given(self, place: Place) -> np.ndarray | None:
        """The input."""
        suite, of_set, image, degradation = place
        return self._read("lr", suite, of_set, degradation, image)

    def result(self, place: Place, model: str) -> np.ndarray | None:
        """What a model made of it."""
        suite, of_set, image, degradation = place
        return self._read("images", suite, of_set, degradation, model, image)

    def _read(self, *parts: str) -> np.ndarray | None:
        # Names from rows must not lead out of the folder.
        if any(".." in Path(part).parts or Path(part).is_absolute() for part in parts):
            return None
        for folder in self.folders:
            try:
                with Image.open(folder.joinpath(*parts[:-1], parts[-1] + ".png")) as picture:
                    return np.asarray(picture.convert("RGB"))
            except (OSError, SyntaxError, ValueError):
                continue
        return None


def window(picture: np.ndarray, side: int, scale: int) -> Box:
    """(top, left, height, width) of the part of an (H, W, 3) picture with the most detail: at most side × side, multiples of scale."""
    grey = picture.astype(np.float64).mean(axis=2)
    energy = np.zeros_like(grey)
    energy[:-1] += np.diff(grey, axis=0) ** 2
    energy[:, :-1] += np.diff(grey, axis=1) ** 2
    return richest(energy, side, scale)


def richest(energy: np.ndarray, side: int, scale: int) -> Box:
    """(top, left, height, width) of the part of (H, W) numbers with the largest sum: at most side × side, multiples of scale."""
    sums = np.pad(energy.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    height, width = (max(min(side, size) // scale, 1) * scale for size in energy.shape)
    stride = scale * max(1, 16 // scale)
    places = [(y, x) for y in range(0, energy.shape[0] - height + 1, stride) for x in range(0, energy.shape[1] - width + 1, stride)]
    places = places or [(0, 0)]
    found = [sums[y + height, x + width] - sums[y, x + width] - sums[y + height, x] + sums[y, x] for y, x in places]
    return *places[int(np.argmax(found))], height, width


def cut(picture: np.ndarray | None, box: Box, shape: tuple[int, ...], scale: int = 1) -> np.ndarray | None:
    """The box, given in pixels of a (H, W, 3) picture, out of one that is `scale` times smaller; None where the size does not fit."""
    if picture is None or (picture.shape[0] * scale, picture.shape[1] * scale) != shape[:2]:
        return None
    top, left, height, width = (edge // scale for edge in box)
    return picture[top : top + height, left : left + width]


def data_uri(crop: np.ndarray) -> str:
    """The very pixels, as a data address: lossless WebP, or PNG where Pillow has no WebP."""
    buffer, picture = io.BytesIO(), Image.fromarray(np.ascontiguousarray(crop))
    kind = "webp" if features.check("webp") else "png"
    if kind == "webp":
        picture.save(buffer, "WEBP", lossless=True, quality=20, method=0)
    else:
        picture.save(buffer, "PNG", compress_level=9)
    return f"data:image/{kind};base64," + base64.b64encode(buffer.getvalue()).decode()


# Sheets


Scores = Mapping[tuple[Place, str], Mapping[str, tuple[str, float]]]
"""By (place, model) and key of a metric: the value in words, and as a number."""


@dataclass
class Sheets:
    """Sheets and what the sliders need of them. `figures`: HTML; `shots`: JSON values, whose "img" are ids of pictures in the figures;
    `truths`: by `Shot.truth_of` such an id; `left_out`: the places that did not fit; `used`: bytes; `side`: of the crops."""

    side: int
    figures: list[Html] = field(default_factory=list)
    shots: list[dict[str, Any]] = field(default_factory=list)
    truths: dict[str, str] = field(default_factory=dict)
    left_out: list[Place] = field(default_factory=list)
    used: int = 0


def chosen(summary: Summary) -> list[str]:
    """The degradations of a sheet."""
    if len(summary.degradations) <= ROWS:
        return list(summary.degradations)
    return [names[len(names) // 2] for names in families(summary.words).values()]


def _plan(grids: Sequence[Grid]) -> Iterator[tuple[Grid, str, str]]:
    """(grid of the suite, set, picture): the first pictures of each set by name. The first of every set comes first, so that a lack of room
    takes away the last."""
    images = {(grid.summary.suite, name): [image for _, image in grid.summary.images(name)] for grid in grids for name in grid.summary.sets}
    for rank in range(PICTURES):
        for grid in grids:
            for name in grid.summary.sets:
                found = images[grid.summary.suite, name]
                if rank < len(found):
                    yield grid, name, found[rank]


def shots_of(grid: Grid, of_set: str, image: str, shelf: Shelf, side: int) -> list[Shot]:
    """The shots of one picture; a method with several seeds is shown by its first."""
    summary, scale = grid.summary, grid.summary.scale
    truth = shelf.truth(of_set, image)
    boxes: dict[tuple[int, ...], Box] = {}  # one for all degradations, but where pairs were aligned, and each lost a border of its own
    found: list[Shot] = []
    for degradation in (name for name in chosen(summary) if image in summary.pictures.get((of_set, name), ())):
        place = (summary.suite, of_set, image, degradation)
        pictures = {method.models[0]: shelf.result(place, method.models[0]) for method in grid.methods}
        moved = shelf.moved_truth(place)
        own, truth_of = (truth, f"{of_set}/{image}") if moved is None else (moved, f"{of_set}/{image}/{degradation}")
        whole = own if own is not None else next((picture for picture in pictures.values() if picture is not None), None)
        if whole is None:
            continue
        if whole.shape not in boxes:
            boxes[whole.shape] = window(whole, side, scale)
        box = boxes[whole.shape]
        crops = {model: crop for model, picture in pictures.items() if (crop := cut(picture, box, whole.shape)) is not None}
        if crops:
            found.append(Shot(place, cut(shelf.given(place), box, whole.shape, scale), crops, cut(own, box, whole.shape), truth_of))
    return found


def scores_of(rows: Iterable[Row], units: Mapping[tuple[str, str], str], places: set[Place]) -> Scores:
    """The scores at some places. `units`: by (metric, space) of those that the page shows."""
    found: dict[tuple[Place, str], dict[str, tuple[str, float]]] = {}
    for row in rows:
        pair = (row["metric"], row["space"])
        place = (row["suite"], row["set"], row["image"], row["degradation"])
        if pair in units and place in places and (value := number(row)) is not None:
            found.setdefault((place, row["model"]), {})["-".join(pair)] = (show(value, row["metric"]) + units[pair], value)
    return found


def make_sheets(bench: Sequence[Sequence[Grid]], rows: Sequence[Row], shelf: Shelf, room: int, look: Look) -> Sheets:
    """Sheets of at most `room` bytes. `bench`: the grids of each suite; the scores under the pictures are of the first one's metric."""
    firsts = [grids[0] for grids in bench]
    places = {(grid.summary.suite, name, image, one) for grid, name, image in _plan(firsts) for one in chosen(grid.summary)}
    units = {(grid.summary.metric, grid.summary.space): grid.summary.unit for grids in bench for grid in grids}
    scores = scores_of(rows, units, places)
    signs = {grid.summary.key: grid.sign for grids in bench for grid in grids}
    sheets = Sheets(WINDOWS[0])
    for side in WINDOWS:
        sheets = Sheets(side)
        for grid, of_set, image in _plan(firsts):
            if shots := shots_of(grid, of_set, image, shelf, side):
                _Sheet(grid, shots, scores, signs, look).add_to(sheets, room)
            if sheets.left_out and side != WINDOWS[-1]:
                break
        if not sheets.left_out:
            break
    return sheets


class _Sheet:
    """One picture's sheet: a row for each degradation, a column for the input, each model and the truth."""

    def __init__(self, grid: Grid, shots: Sequence[Shot], scores: Scores, signs: Mapping[str, int], look: Look) -> None:
        self.summary, self.shots, self.scores, self.signs, self.look = grid.summary, shots, scores, signs, look
        self.suite, self.of_set, self.image, _ = shots[0].place
        self.key = f"{self.of_set}/{self.image}"
        models = [method.models[0] for method in grid.methods]
        self.models = [model for model in models if any(model in shot.crops for shot in shots)]
        self.with_input = any(shot.given is not None for shot in shots)
        self.with_truth = any(shot.truth is not None for shot in shots)

    def add_to(self, sheets: Sheets, room: int) -> None:
        """Adds the rows for which there is room."""
        rows: list[Html] = []
        for shot in self.shots:
            id_ = f"p{len(sheets.shots)}"
            row, entry = self._row(shot, id_, sheets.truths)
            weight = len(row) + len(json.dumps(entry))
            if sheets.used + weight > room:
                sheets.left_out.append(shot.place)
                continue
            sheets.used += weight
            sheets.shots.append(entry)
            if shot.truth is not None:
                sheets.truths.setdefault(shot.truth_of, f"{id_}-truth")
            rows.append(row)
        if rows:
            height, width = next(iter(self.shots[0].crops.values())).shape[:2]
            texts = {"suite": self.suite, "key": self.key, "name": f"{self.of_set} {self.image}", "size": f"{width} × {height}"}
            shown = "" if sheets.figures else " shown"
            sheets.figures.append(fill("sheet", heads=self._heads(), rows=rows, shown=shown, **texts))

    def _heads(self) -> list[Html]:
        names = [*(["input"] if self.with_input else []), *self.models, *(["ground truth"] if self.with_truth else [])]
        labels = [self.look.label(name) if name in self.models else fill("plain", words=name) for name in names]
        return [fill("sheet-head", label=label) for label in labels]

    def _row(self, shot: Shot, id_: str, truths: Mapping[str, str]) -> tuple[Html, dict[str, Any]]:
        """A row of the sheet, and what the slider needs of it. The truth, the same in all rows, stands in the first that has one."""
        degradation = shot.place[3]
        scores = {model: self.scores.get((shot.place, model), {}) for model in shot.crops}
        keys = {key for by in scores.values() for key in by}
        leaders = {key: _leaders(scores, key, self.signs[key]) for key in keys}
        sides: list[dict[str, Any]] = []
        cells: list[Html] = []
        if self.with_input:
            cells.append(self._picture(shot.given, f"{id_}-input", f"{degradation}: input"))
            sides += [{"id": "input", "name": "input", "img": f"{id_}-input"}] if shot.given is not None else []
        for place, model in enumerate(self.models):
            score, best = scores.get(model, {}).get(self.summary.key), model in leaders.get(self.summary.key, ())
            cells.append(self._picture(shot.crops.get(model), f"{id_}-{place}", f"{degradation}: {model}", score[0] if score else "", best))
            if model in shot.crops:
                words = {key: text for key, (text, _) in scores[model].items()}
                led = [key for key, who in leaders.items() if model in who]
                sides.append({"id": f"model:{model}", "name": model, "img": f"{id_}-{place}", "scores": words, "best": led})
        if self.with_truth and shot.truth is not None and shot.truth_of in truths:
            cells.append(fill("sheet-copy", of=truths[shot.truth_of]))
        elif self.with_truth:
            cells.append(self._picture(shot.truth, f"{id_}-truth", "ground truth"))
        words = self.summary.words[degradation]
        long = fill("sheet-long", words=words) if words.lower() != degradation.lower() else ""
        entry = {"suite": self.suite, "set": self.of_set, "image": self.image, "degradation": degradation}
        entry |= {"key": self.key, "truth": shot.truth_of}
        size = list(next(iter(shot.crops.values())).shape[1::-1])
        return fill("sheet-row", name=degradation, long=long, cells=cells), entry | {"size": size, "sides": sides}

    def _picture(self, crop: np.ndarray | None, id_: str, words: str, score: str = "", best: bool = False) -> Html:
        if crop is None:
            return fill("sheet-empty")
        alt = f"{self.of_set} {self.image}, {words}"
        return fill("sheet-cell", id=id_, uri=data_uri(crop), alt=alt, score=score, best="best" if best else "")


def _leaders(scores: Mapping[str, Mapping[str, tuple[str, float]]], key: str, sign: int) -> list[str]:
    """The models with the best score as it is shown; none where there is only one."""
    there = {model: by[key] for model, by in scores.items() if key in by}
    top = max(there.values(), key=lambda pair: sign * pair[1])[0]
    return [model for model, (words, _) in there.items() if words == top] if len(there) > 1 else []


# Best and worst pictures


def close_ups(duels: Duels, duel: Duel, shelf: Shelf) -> dict[str, Any]:
    """Crops of the best and worst pictures of a duel, where their errors differ most, as JSON values: by
    "SUITE|first-second|degradation|picture" (numbers as in the duels' JSON) those of both methods and of the truth."""
    summary, found = duels.grid.summary, {}
    models = {method.name: method.models[0] for method in duels.grid.methods}
    pair = f"{duels.names.index(duel.first)}-{duels.names.index(duel.second)}"
    for degradation, index in [*duel.gains, *duel.losses]:
        place = (summary.suite, *duels.pictures[index], degradation)
        if crops := _close_up(shelf, place, models[duel.first], models[duel.second], summary.scale):
            found[f"{summary.suite}|{pair}|{summary.degradations.index(degradation)}|{index}"] = crops
    return found


def _close_up(shelf: Shelf, place: Place, first: str, second: str, scale: int) -> dict[str, str]:
    pictures = [shelf.result(place, first), shelf.result(place, second)]
    moved = shelf.moved_truth(place)
    truth = moved if moved is not None else shelf.truth(place[1], place[2])
    shape = next((picture.shape for picture in pictures if picture is not None), None)
    if shape is None or any(picture is None or picture.shape != shape for picture in pictures):
        return {}
    one, two = (np.asarray(picture, dtype=np.float64) for picture in pictures)
    if truth is not None and truth.shape == shape:
        energy = np.abs((one - truth) ** 2 - (two - truth) ** 2).mean(axis=2)
    else:
        energy = ((one - two) ** 2).mean(axis=2)
    box = richest(energy, CLOSE, scale)
    crops = {"first": cut(pictures[0], box, shape), "second": cut(pictures[1], box, shape), "truth": cut(truth, box, shape)}
    return {name: data_uri(crop) for name, crop in crops.items() if crop is not None}


def left_out_words(places: Sequence[Place], shots: Sequence[Mapping[str, Any]]) -> str:
    """What did not fit, picture by picture: of pictures that have a sheet all the same, the degradations."""
    missing: dict[tuple[str, ...], list[str]] = {}
    for *picture, degradation in places:
        missing.setdefault(tuple(picture), []).append(degradation)
    there = {(shot["suite"], shot["set"], shot["image"]) for shot in shots}
    by_suite: dict[str, list[str]] = {}
    for (suite, of_set, image), names in missing.items():
        words = f" ({', '.join(names)})" if (suite, of_set, image) in there else ""
        by_suite.setdefault(suite, []).append(f"{of_set} {image}{words}")
    return "; ".join(f"of {suite}: {', '.join(names)}" for suite, names in by_suite.items())


def represented(methods: Sequence[Method]) -> str:
    """A sentence on methods that are shown by one of their seeds."""
    several = [f"{method.name} by {method.models[0]}" for method in methods if len(method.models) > 1]
    return f"Shown of several seeds: {', '.join(several)}." if several else ""
