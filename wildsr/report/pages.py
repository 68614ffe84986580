"""One self-contained HTML page: tables, charts and pictures side by side. It asks no network for anything."""

import base64
import hashlib
import html
import io
import itertools
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from PIL import Image

from wildsr import files
from wildsr.config import nearest
from wildsr.errors import UserError
from wildsr.report.tables import (
    BICUBIC,
    DEGRADATIONS,
    METRICS,
    Row,
    Summary,
    degradations_of,
    distinct,
    join_cells,
    models_of,
    number,
    plural,
    read_records,
    read_rows,
    rows_file,
    show,
    signed,
    summarize,
)

LIMIT = 14_900_000
"""Bytes of the largest page: under 15 MB."""
PICTURES = 3
"""Pictures of each set in the comparison."""
WINDOWS = (192, 128)
"""Sides of a crop in pixels of the ground truth; the second is used where the first would make the page too big."""
POINTS = 400
"""Most points of one line of a chart."""

Curve = list[tuple[int, float]]


class Html(str):
    """Text that is HTML already; any other is escaped where it enters a page."""


@cache
def _asset(name: str) -> Html:
    return Html(resources.files("wildsr.report").joinpath(name).read_text(encoding="utf-8"))


@cache
def _parts() -> dict[str, Template]:
    pieces = ("\n" + _asset("parts.html")).split("\n@")[1:]
    return {name: Template(body.strip()) for name, _, body in (piece.partition("\n") for piece in pieces)}


def fill(part: str, **values: Any) -> Html:
    """A part of parts.html with its fields filled: Html and lists of Html as they are, all else escaped."""

    def safe(value: Any) -> str:
        return value if isinstance(value, Html) else "".join(map(safe, value)) if isinstance(value, list) else html.escape(str(value))

    return Html(_parts()[part].substitute({name: safe(value) for name, value in values.items()}))


@dataclass(frozen=True)
class Look:
    """What all sections share: the model that gains are shown against (None: there is only bicubic), and each label's colour."""

    baseline: str | None
    colours: dict[str, int]

    def label(self, name: str) -> Html:
        """A name beside its colour."""
        return fill("label", colour=self.colours[name], name=name)

    def views(self) -> dict[str, str]:
        """The views of a table."""
        return {"value": "Value", "bicubic": "Gain over bicubic"} | ({"baseline": f"Gain over {self.baseline}"} if self.baseline else {})


def _table(summary: Summary, of_set: str | None, view: str, look: Look) -> Html:
    """One table; `view` is "value", or "bicubic" or "baseline" for the gain over it."""
    metric, columns = summary.metric, [None, *summary.degradations]
    reference = {"value": None, "bicubic": BICUBIC, "baseline": look.baseline}[view]
    written = show if reference is None else signed
    cells = {(model, column): summary.cell(model, of_set, column, reference) for model in summary.models for column in columns}
    largest = max((abs(cell.mean) for cell in cells.values() if cell.mean is not None and math.isfinite(cell.mean)), default=0) or 1.0

    def best(column: str | None) -> str:
        means = [cell.mean for model in summary.models if (cell := cells[model, column]).complete and cell.mean is not None]
        return written(max(means), metric) if means else ""

    tops = {column: best(column) for column in columns}

    def shown(model: str, column: str | None) -> Html:
        cell, marks, share = cells[model, column], [], 0.0
        words = "0" if model == reference else written(cell.mean, metric)
        classes = ["mean"] * (column is None) + ["best"] * (cell.complete and written(cell.mean, metric) == tops[column] != "–")
        if reference is None and model != BICUBIC and summary.gain(model, BICUBIC, of_set, column).startswith("−"):
            marks.append(fill("below"))
        if reference is not None and cell.mean and words[0] in "+−":
            classes.append("up" if cell.mean > 0 else "down")
            share = min(1.0, abs(cell.mean) / largest)
        if not cell.complete:
            marks.append(fill("fewer", count=cell.count, expected=cell.expected))
        return fill("cell", classes=" ".join(classes), share=f"{share:.2f}", words=words, mark=marks)

    what = {
        "value": summary.title,
        "bicubic": f"Gain over bicubic, {summary.title}; bicubic is PIL’s bicubic enlargement of the same input",
        "baseline": f"Gain over the baseline {look.baseline}, {summary.title}",
    }[view]
    spread = f"mean over {summary.count(of_set)}" if of_set else f"mean over {plural(len(summary.sets), 'set')}, each weighing the same"
    body = []
    for model in summary.models:
        note = [fill("baseline-note")] if model == look.baseline and len(summary.models) > 2 else []
        row = [shown(model, column) for column in columns]
        body.append(fill("table-row", kind="bicubic" if model == BICUBIC else "", label=look.label(model), note=note, cells=row))
    heads = [fill("table-head", name=name, long=DEGRADATIONS.get(name, name)) for name in summary.degradations]
    open_ = " shown" if view == "value" else ""
    texts = {"where": of_set or "all sets", "caption": f"{what}; {spread}", "protocol": summary.protocol}
    return fill("table", view=view, shown=open_, heads=heads, body=body, **texts)


def _tables(summary: Summary, look: Look) -> Html:
    parts = []
    for name in [None] * (len(summary.sets) > 1) + summary.sets:
        views = [_table(summary, name, view, look) for view in look.views()]
        parts.append(fill("set", name=name or "All sets", pictures=summary.count(name), views=views))
    notes = [fill("item", words=note) for note in summary.failure_notes()]
    return Html("".join([*parts, fill("table-notes", failed=fill("failures", items=notes) if notes else "")]))


def _verdict(summary: Summary, look: Look) -> Html:
    """Three cards: which model generalises best, where bicubic wins, and clean against degraded input."""
    metric, best = summary.metric, summary.best()
    cells = [cell for cell in itertools.product(summary.sets, summary.degradations) if cell in summary.pictures]
    winner = fill("nobody")
    if best:
        gains = {"over bicubic": BICUBIC, f"over the baseline {look.baseline}": look.baseline}
        lines = [
            fill("gain-line", gain=summary.gain(best[0], other) + summary.unit, words=words)
            for words, other in gains.items()
            if other is not None and other not in best
        ]
        others = [model for model in summary.models if model not in best]
        if len(best) == 1 and others:
            lead = sum(all(summary.gain(best[0], other, *cell)[0] in "+–" for other in others) for cell in cells)
            lines.append(fill("gain-line", gain=f"{lead} of {len(cells)}", words="cells (set × degradation) led"))
        names = [Html("<span>" + look.label(model) + "</span> ") for model in best] + [Html("<small>tie</small>")] * (len(best) > 1)
        mean = show(summary.cell(best[0]).mean, metric) + (summary.unit or f" {summary.name}")
        winner = fill("winner", names=names, mean=mean, lines=lines)
    losses, levels = [], []
    hard = [degradation for degradation in summary.degradations if degradation != "clean"]
    for model in summary.models:
        degraded = join_cells([summary.cell(model, None, degradation) for degradation in hard]).mean
        clean = summary.cell(model, None, "clean").mean
        levels.append(fill("level", label=look.label(model), clean=show(clean, metric), degraded=show(degraded, metric)))
        if model != BICUBIC:
            lost = [cell for cell in cells if summary.gain(model, BICUBIC, *cell)[0] == "−"]
            where = [degradation for degradation in summary.degradations if any(degradation == cell[1] for cell in lost)]
            losses.append(fill("loss", label=look.label(model), lost=len(lost), cells=len(cells), where=", ".join(where) or "nowhere"))
    over = f"{plural(len(summary.degradations), 'degradation')} and {plural(len(summary.sets), 'set')}"
    return fill("verdict", winner=winner, metric=summary.title, over=over, losses=losses, levels=levels, hard=len(hard))


# Charts


def _ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers within [low, high]."""
    step = 10 ** math.floor(math.log10((high - low) / most))
    step = next(step * factor for factor in (1, 2, 2.5, 5, 10, 20) if (high - low) / (step * factor) <= most)
    return [round(index * step, 12) for index in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten within [low, high]; over many decades the powers alone."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [factor * 10.0**power for power in powers for factor in ((1, 2, 5) if high / low < 300 else (1,))]
    return [tick for tick in ticks if low <= tick <= high]


def _gain_chart(summary: Summary, look: Look) -> Html:
    """Bars: each model's gain over bicubic for each degradation, mean over the sets. Infinite gains have no bar."""
    models, columns = [model for model in summary.models if model != BICUBIC], [None, *summary.degradations]
    cells = {(model, column): summary.cell(model, None, column, BICUBIC).mean for model in models for column in columns}
    gains = {key: gain for key, gain in cells.items() if gain is not None and math.isfinite(gain)}
    if not gains:
        return Html()
    height, low, high = 220, min(0.0, *gains.values()), max(0.0, *gains.values())
    pad = (high - low or 1) * 0.08
    low, high = low - pad, high + pad

    def y(value: float) -> float:
        return round((high - value) / (high - low) * height, 1)

    slot = 100 / len(columns)
    marks = [fill("area", kind="band", x=0, y=0, width=round(slot, 2), height=height, hint="mean over all degradations")]
    marks += [fill("area", kind="losing", x=0, y=y(0), width=100, height=height - y(0), hint="bicubic is better")]
    for tick in _ticks(low, high, 7):
        label = f"{'+' if tick > 0 else '−'}{abs(tick):g}" if tick else "0"
        marks.append(fill("rule", kind="grid" if tick else "zero", y=y(tick), label=label))
    width = min(slot * 0.8 / len(models), slot * 0.24)
    for place, column in enumerate(columns):
        centre = (place + 0.5) * slot
        marks.append(fill("column", kind="" if column else "strong", x=round(centre, 2), y=height, label=column or "mean"))
        for index, model in enumerate(models):
            if (model, column) not in gains:
                continue
            top, bottom = sorted((y(gains[model, column]), y(0)))
            hint = f"{model}, {column or 'mean'}: {summary.gain(model, BICUBIC, None, column)}{summary.unit}"
            x, size = centre + (index - len(models) / 2 + 0.08) * width, round(max(bottom - top, 1), 1)
            kind = f"bar c{look.colours[model]}"
            marks.append(fill("area", kind=kind, x=round(x, 2), y=top, width=round(width * 0.84, 2), height=size, hint=hint))
    legend = [fill("item", words=look.label(model)) for model in models]
    return fill("gain-chart", metric=summary.title, sets=plural(len(summary.sets), "set"), legend=legend, height=height, marks=marks)


def thin(values: Curve, most: int = POINTS) -> Curve:
    """At most `most` (step, value) pairs: of each stretch its lowest and its highest, so that no spike is lost."""
    if len(values) <= most:
        return list(values)
    stretches = np.array_split(np.arange(len(values)), most // 2)
    kept = {int(end) for part in stretches for end in (min(part, key=lambda i: values[i][1]), max(part, key=lambda i: values[i][1]))}
    return [values[index] for index in sorted(kept)]


def smooth(values: Curve) -> Curve:
    """The centred moving mean over a tenth of the pairs, at most POINTS pairs."""
    reach = len(values) // 20
    sums = np.concatenate([[0.0], np.cumsum([value for _, value in values])])
    places = np.unique(np.linspace(0, len(values) - 1, min(POINTS, len(values))).round().astype(int))
    starts, ends = np.maximum(places - reach, 0), np.minimum(places + reach + 1, len(values))
    means = (sums[ends] - sums[starts]) / (ends - starts)
    return [(values[place][0], float(mean)) for place, mean in zip(places, means, strict=True)]


def _line_chart(title: str, note: str, lines: dict[str, Curve], look: Look, noisy: bool) -> Html:
    """A line for each run over the steps, smoothed where noisy; logarithmic where positive values span a factor of 3."""
    main = {run: smooth(values) if noisy else thin(values) for run, values in lines.items()}
    logged = [value for values in lines.values() for _, value in values]
    # One early spike must not flatten the rest: what was logged may be cut off, its mean never.
    bounds = [value for values in main.values() for _, value in values] + [float(bound) for bound in np.percentile(logged, [0.5, 99.5])]
    log = min(bounds) > 0 and max(bounds) / min(bounds) > 3
    bottom, top = (math.log10(bound) if log else bound for bound in (min(bounds), max(bounds)))
    pad = (top - bottom or abs(top) or 1) * 0.05
    bottom, top, height = bottom - pad, top + pad, 190
    first, last = min(0, *(values[0][0] for values in lines.values())), max(1, *(values[-1][0] for values in lines.values()))

    def at(step: float, value: float) -> tuple[float, float]:
        share = (math.log10(max(value, 1e-30)) if log else value) - bottom
        return round((step - first) / (last - first) * 100, 2), round((1 - share / (top - bottom)) * height, 1)

    def line(run: str, values: Curve, kind: str) -> Html:
        points = "L".join(f"{x * 10:.1f} {y}" for x, y in (at(*pair) for pair in values))
        return fill("path", kind=f"{kind} c{look.colours[run]}", points=points)

    ticks = _log_ticks(10**bottom, 10**top) if log else _ticks(bottom, top)
    marks = [fill("rule", kind="grid", y=at(0, tick)[1], label=f"{tick:g}") for tick in ticks]
    for tick in _ticks(first, last, 4):
        label = f"{tick / 1e6:g}M" if tick >= 1e6 else f"{tick / 1e3:g}k" if tick >= 1e4 else f"{tick:g}"
        marks.append(fill("column", kind="", x=at(tick, 1)[0], y=height, label=label))
    paths = [line(run, thin(values), "raw") for run, values in lines.items() if noisy]
    paths += [line(run, values, "line") for run, values in main.items()]
    dots = []
    for run, step, value in ((run, *pair) for run, values in main.items() for pair in values if not noisy and len(values) <= 40):
        x, y = at(step, value)
        dots.append(fill("dot", colour=look.colours[run], x=x, y=y, hint=f"{run}, step {step}: {value:g}"))
    note += ", logarithmic" * log
    return fill("line-chart", title=title, note=note, height=height, marks=marks, paths=paths, dots=dots)


# Training runs


@dataclass(frozen=True)
class Run:
    """A training run's log: each loss and each validation score as (step, value) pairs in the order of steps."""

    name: str
    recipe: str
    losses: dict[str, Curve]
    scores: dict[str, Curve]


def read_run(folder: Path) -> Run:
    """Reads `log.jsonl` and, where there is one, `config.json`. Of a step that stands twice the later record counts; steps beyond the
    one that a resumed run began from are dropped, as it went on without them. Raises UserError naming the file."""
    steps: dict[str, dict[int, dict[str, Any]]] = {"losses": {}, "scores": {}}
    for record in read_records(Path(folder) / "log.jsonl"):
        kind, step = {"step": "losses", "val": "scores"}.get(str(record.get("event"))), record.get("step")
        first = record.get("first_step")
        if record.get("event") == "start" and isinstance(first, int):
            steps = {name: {step: found for step, found in known.items() if step <= first} for name, known in steps.items()}
        elif kind and isinstance(step, int) and isinstance(record.get(kind), dict):
            steps[kind][step] = record[kind]
    curves: dict[str, dict[str, Curve]] = {"losses": {}, "scores": {}}
    for kind, known in steps.items():
        for step, name, value in ((at, name, value) for at in sorted(known) for name, value in known[at].items()):
            if isinstance(value, int | float) and math.isfinite(value):
                curves[kind].setdefault(name, []).append((step, float(value)))
    config, recipe = Path(folder) / "config.json", ""
    if config.is_file():
        try:
            recipe = json.loads(config.read_text(encoding="utf-8")).get("recipe", "")
        except (ValueError, AttributeError):
            raise UserError(f"{config}: not a JSON object") from None
    return Run(Path(folder).resolve().name, recipe if isinstance(recipe, str) else "", curves["losses"], curves["scores"])


def _training(runs: Sequence[Run], look: Look) -> Html:
    charts = []
    for kind, note, noisy in (("losses", "loss, over steps", True), ("scores", "validation, over steps", False)):
        for name in dict.fromkeys(name for run in runs for name in getattr(run, kind)):
            lines = {run.name: getattr(run, kind)[name] for run in runs if name in getattr(run, kind)}
            charts.append(_line_chart(name, note, lines, look, noisy))
    legend = [fill("run", label=look.label(run.name), recipe=f"recipe {run.recipe}" if run.recipe else "") for run in runs]
    return fill("training", legend=legend, charts=charts or "The logs hold no losses yet.") if runs else Html()


# The comparison


@dataclass(frozen=True)
class Shot:
    """The same part of one picture under one degradation, all (h, w, 3) uint8: the input (at h/scale, w/scale), each model's, the truth."""

    place: tuple[str, str, str]
    given: np.ndarray | None
    crops: dict[str, np.ndarray]
    truth: np.ndarray | None


def _picture(folders: Iterable[Path], *parts: str) -> np.ndarray | None:
    """The first picture that is there, (H, W, 3) uint8, or None. Names from rows must not lead out of the folder."""
    if any(".." in Path(part).parts or Path(part).is_absolute() for part in parts):
        return None
    for folder in folders:
        try:
            with Image.open(folder.joinpath(*parts[:-1], parts[-1] + ".png")) as picture:
                return np.asarray(picture.convert("RGB"))
        except (OSError, SyntaxError, ValueError):
            continue
    return None


def window(picture: np.ndarray, side: int, scale: int) -> tuple[int, int, int, int]:
    """(top, left, height, width) of the part of an (H, W, 3) picture with the most detail: at most side × side, multiples of scale."""
    grey = picture.astype(np.float64).mean(axis=2)
    energy = np.zeros_like(grey)
    energy[:-1] += np.diff(grey, axis=0) ** 2
    energy[:, :-1] += np.diff(grey, axis=1) ** 2
    sums = np.pad(energy.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    height, width = (max(min(side, size) // scale, 1) * scale for size in grey.shape)
    stride = scale * max(1, 16 // scale)
    places = [(y, x) for y in range(0, grey.shape[0] - height + 1, stride) for x in range(0, grey.shape[1] - width + 1, stride)]
    places = places or [(0, 0)]
    found = [sums[y + height, x + width] - sums[y, x + width] - sums[y + height, x] + sums[y, x] for y, x in places]
    return *places[int(np.argmax(found))], height, width


def _shots(rows: Sequence[Row], folders: Sequence[Path], side: int) -> Iterator[Shot]:
    """The first pictures of each set by name; the first of every set comes first, so that a cap cuts the last."""
    scale, models, degradations = int(rows[0]["scale"]), models_of(rows), degradations_of(rows)
    images: dict[str, list[str]] = {name: sorted({row["image"] for row in rows if row["set"] == name}) for name in distinct(rows, "set")}
    measured = {(row["set"], row["image"], row["degradation"]) for row in rows}
    for name, image in ((name, found[rank]) for rank in range(PICTURES) for name, found in images.items() if rank < len(found)):
        truth = whole = _picture(folders, "hr", name, image)
        box: tuple[int, int, int, int] | None = None
        for degradation in (degradation for degradation in degradations if (name, image, degradation) in measured):
            pictures = {model: _picture(folders, "images", name, degradation, model, image) for model in models}
            whole = whole if whole is not None else next((picture for picture in pictures.values() if picture is not None), None)
            if whole is None:
                continue
            box = box or window(whole, side, scale)
            crops = {model: crop for model, picture in pictures.items() if (crop := _cut(picture, box, whole.shape)) is not None}
            given = _cut(_picture(folders, "lr", name, degradation, image), box, whole.shape, scale)
            if crops:
                yield Shot((name, image, degradation), given, crops, _cut(truth, box, whole.shape))


def _cut(picture: np.ndarray | None, box: tuple[int, ...], shape: tuple[int, ...], scale: int = 1) -> np.ndarray | None:
    """The box, given in pixels of a (H, W, 3) picture, out of one that is `scale` times smaller; None where the size does not fit."""
    if picture is None or (picture.shape[0] * scale, picture.shape[1] * scale) != shape[:2]:
        return None
    top, left, height, width = (edge // scale for edge in box)
    return picture[top : top + height, left : left + width]


def _data_uri(crop: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(crop)).save(buffer, "PNG", compress_level=9)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _payload(rows: Sequence[Row], summaries: Sequence[Summary], folders: Sequence[Path], room: int) -> dict[str, Any]:
    """What the comparison shows, as JSON values of at most `room` bytes; "left_out" names what did not fit."""
    scores: dict[tuple[str, ...], dict[str, str]] = {}
    units = {(summary.metric, summary.space): summary.unit for summary in summaries}
    for row in rows:
        score = show(number(row), row["metric"]) + units[row["metric"], row["space"]]
        scores.setdefault((row["set"], row["image"], row["degradation"], row["model"]), {})[f"{row['metric']}-{row['space']}"] = score
    payload: dict[str, Any] = {}
    for side in WINDOWS:
        payload, used, largest = {"shots": [], "truths": {}, "left_out": []}, 0, 0
        for shot in _shots(rows, folders, side):
            sides: list[dict[str, Any]] = [] if shot.given is None else [{"id": "input", "name": "input", "uri": _data_uri(shot.given)}]
            for model, crop in shot.crops.items():
                measured = scores.get((*shot.place, model), {})
                sides.append({"id": f"model:{model}", "name": model, "uri": _data_uri(crop), "scores": measured})
            name, image, degradation = shot.place
            key = f"{name}/{image}"
            truth = {} if shot.truth is None or key in payload["truths"] else {key: _data_uri(shot.truth)}
            size = list(next(iter(shot.crops.values())).shape[1::-1])
            entry = {"set": name, "image": image, "degradation": degradation, "key": key, "size": size, "sides": sides}
            # The page repeats one entry for a reader without script, so there is room kept for the largest.
            weight = len(json.dumps([entry, truth]))
            if used + weight + max(largest, weight) > room:
                payload["left_out"].append(shot.place)
                continue
            used, largest = used + weight, max(largest, weight)
            payload["truths"] |= truth
            payload["shots"].append(entry)
        if not payload["left_out"]:
            break
    return payload


def _comparison(payload: dict[str, Any], summary: Summary, look: Look) -> Html:
    """The section with the slider. Its pictures stand in the page's JSON; one set of them stands still for a reader without script."""
    if not payload["shots"]:
        return fill("no-pictures")
    missing: dict[str, list[str]] = {}
    for name, image, degradation in payload["left_out"]:
        missing.setdefault(f"{name} {image}", []).append(degradation)
    names = "; ".join(f"{name} ({', '.join(found)})" for name, found in missing.items())
    shot = [shot for shot in payload["shots"] if shot["key"] == payload["shots"][0]["key"]][-1]
    truth = [{"name": "ground truth", "uri": payload["truths"][shot["key"]]}] if shot["key"] in payload["truths"] else []
    best = next((model for model in summary.best() if model != BICUBIC), look.baseline or BICUBIC)
    return fill(
        "comparison",
        side=max(max(shot["size"]) for shot in payload["shots"]),
        count=PICTURES,
        degradations=[fill("degradation", name=name, long=DEGRADATIONS.get(name, name)) for name in degradations_of(payload["shots"])],
        right=f"model:{best}",
        first=f"{shot['set']} {shot['image']}, {shot['degradation']}",
        stills=[fill("still", uri=side["uri"], name=side["name"]) for side in [*shot["sides"], *truth]],
        left_out=fill("left-out", names=names) if names else "",
    )


# The page


def _method(rows: Sequence[Row], summaries: Sequence[Summary], look: Look) -> Html:
    """How it was measured, and with which weights."""

    def listed(key: str, some: Sequence[Row] = rows, none: str = "not recorded") -> str:
        return ", ".join(map(str, distinct(some, key))) or none

    facts = {key: listed(key) for key in ("suite", "suite_version", "scale", "seed", "crop", "resizer", "code_version")}
    protocols = "; ".join(f"{summary.name}: {summary.protocol}" for summary in summaries)
    pictures = "; ".join(f"{name}: {summaries[0].count(name)}" for name in summaries[0].sets)
    models = []
    for model in models_of(rows):
        mine = [row for row in rows if row["model"] == model]
        hashes = [fill("hash", full=value, short=str(value)[:12]) for value in distinct(mine, "weights_sha256")]
        words = {"key": listed("weights_key", mine, "–"), "dtype": listed("dtype", mine, "–"), "tile": listed("tile", mine, "none")}
        models.append(fill("weights", label=look.label(model), hashes=hashes or "none", **words))
    return fill("method", protocols=protocols, pictures=pictures, models=models, **facts)


def _switch(kind: str, label: str, choices: dict[str, str]) -> Html:
    pressed = {value: "true" if value == next(iter(choices)) else "false" for value in choices}
    buttons = [fill("switch-button", kind=kind, value=value, name=name, pressed=pressed[value]) for value, name in choices.items()]
    return fill("switch", label=label, buttons=buttons)


def page(rows_paths: Sequence[Path], run_dirs: Sequence[Path] = (), *, baseline: str | None = None, title: str | None = None) -> str:
    """The whole report as one HTML text under 15 MB: `rows_paths` as in `read_rows`, `run_dirs` as in `read_run`.

    `baseline` is the label against which gains are shown; without one, the first model that is not bicubic. Raises UserError: as
    `read_rows`, `summarize` and `read_run` do, and for a baseline that no row has."""
    rows = read_rows(rows_paths)
    found = sorted(set(map(tuple, ([row["metric"], row["space"]] for row in rows))), key=lambda pair: (pair[0] not in METRICS, pair))
    summaries = [summarize(rows, metric, space) for metric, space in found]
    models, first, summary = models_of(rows), rows[0], summaries[0]
    if baseline is not None and baseline not in models:
        raise UserError(f"baseline {baseline!r} is no model of these rows: {nearest(baseline, models)}")
    runs: list[Run] = []
    for run in map(read_run, run_dirs):
        known = [other.name for other in runs]
        runs.append(run if run.name not in known else replace(run, name=f"{run.name} ({len(runs) + 1})"))
    names = [name for name in dict.fromkeys([*models, *(run.name for run in runs)]) if name != BICUBIC]
    chosen = baseline or next((model for model in models if model != BICUBIC), None)
    look = Look(None if chosen == BICUBIC else chosen, {BICUBIC: 0} | {name: index % 8 + 1 for index, name in enumerate(names)})
    title = title or f"Super-resolution ×{first['scale']}, measured on {first['suite']}"
    about = (
        f"{plural(len(models) - 1, 'model')} against bicubic on {plural(len(summary.sets), 'set')} ({summary.count()}) under "
        f"{plural(len(summary.degradations), 'degradation')}. "
        f"Suite {first['suite']}, version {first['suite_version']}, seed {first['seed']}."
    )

    def block(one: Summary, body: str) -> Html:
        shown = " shown" if one is summary else ""
        return fill("metric", key=one.key, name=one.title, protocol=one.protocol, shown=shown, body=Html(body))

    training = _training(runs, look)
    sections = {"glance": "At a glance", "compare": "Pictures", "tables": "Tables"} | ({"training": "Training"} if runs else {})
    metrics = {one.key: one.name for one in summaries}
    fields = {
        "title": title,
        "about": about,
        "style": _asset("page.css"),
        "script": _asset("page.js"),
        # Only this one script may run, whatever a name in the rows tries to be.
        "digest": base64.b64encode(hashlib.sha256(_asset("page.js").encode()).digest()).decode(),
        "metrics": _switch("metric", "Metric", metrics),
        "views": _switch("view", "Table view", look.views()),
        "links": [fill("link", target=target, label=label) for target, label in (sections | {"method": "Method"}).items()],
        "glance": [block(one, _verdict(one, look) + _gain_chart(one, look)) for one in summaries],
        "tables": [block(one, _tables(one, look)) for one in summaries],
        "training": training,
        "method": _method(rows, summaries, look),
    }
    room = LIMIT - 200_000 - len(fill("page", comparison="", data="", **fields).encode())
    payload = _payload(rows, summaries, [rows_file(path).parent for path in rows_paths], room)
    # Escaping every "<" keeps a name from ending the script block; JSON reads it back the same.
    data = json.dumps(payload | {"metrics": metrics}, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    return fill("page", comparison=_comparison(payload, summary, look), data=Html(data), **fields) + "\n"


def write_page(
    out: Path, rows_paths: Sequence[Path], run_dirs: Sequence[Path] = (), *, baseline: str | None = None, title: str | None = None
) -> None:
    """Writes `page` to the file `out`, whole or not at all. Raises UserError as `page` does."""
    files.write_text(out, page(rows_paths, run_dirs, baseline=baseline, title=title))
