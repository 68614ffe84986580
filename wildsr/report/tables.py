"""Rows of a benchmark, their means, and Markdown tables of them."""

import html
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wildsr import files
from wildsr.errors import UserError

BICUBIC = "bicubic"
DEGRADATIONS = {
    "clean": "made smaller, nothing else",
    "blur": "blur",
    "noise": "noise",
    "jpeg": "JPEG compression",
    "b+n": "blur and noise",
    "b+j": "blur and JPEG compression",
    "n+j": "noise and JPEG compression",
    "b+n+j": "blur, noise and JPEG compression",
}
METRICS = {"psnr": ("PSNR", " dB", 2), "ssim": ("SSIM", "", 4)}
"""For each metric its name, its unit and its decimals."""
TEXTS = ("model", "suite", "suite_version", "set", "image", "degradation", "metric", "space", "protocol")
KEY = ("model", "set", "image", "degradation", "metric", "space")
Row = dict[str, Any]


def read_rows(paths: Sequence[Path]) -> list[Row]:
    """Reads the rows of one or more `rows.jsonl` (a folder stands for the `rows.jsonl` in it), each measurement once.

    Raises UserError naming the file: missing, empty, a key that lacks or has a wrong type, and rows that cannot be compared: another
    suite, version, scale or seed, another protocol of one metric, one label for two weights, another input or ground truth, two values
    for one measurement. A failure that another row mends is dropped."""
    rows: dict[tuple[str, ...], Row] = {}
    seen: dict[tuple[str, ...], tuple[Any, Path]] = {}
    for path in (rows_file(path) for path in paths):
        for row in read_records(path):
            _check_row(row, path)
            _check_agreement(seen, row, path)
            key = tuple(row[name] for name in KEY)
            old, new = number(rows[key]) if key in rows else None, number(row)
            if old is not None and new is not None and old != new:
                raise UserError(f"{path}: two values for {' / '.join(key)}: {old} and {new}: keep one of the two runs")
            if old is None:
                rows[key] = row
    if not rows:
        raise UserError("no rows.jsonl was given: pass the one that `wildsr bench` writes")
    return list(rows.values())


def rows_file(path: Path) -> Path:
    """A file of rows; a folder stands for the `rows.jsonl` in it."""
    return Path(path) / "rows.jsonl" if Path(path).is_dir() else Path(path)


def read_records(path: Path) -> list[Row]:
    """The records of one file. Raises UserError naming it when it is missing or holds none."""
    try:
        records = files.read_jsonl(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    if not records:
        raise UserError(f"{path}: holds no records")
    return records


def _check_row(row: Row, path: Path) -> None:
    for key in (*TEXTS, "scale", "value", "seed"):
        if key not in row:
            raise UserError(f"{path}: a row has no {key!r}: {json.dumps(row, ensure_ascii=False)[:200]}")
        is_number = isinstance(row[key], int | float) and not isinstance(row[key], bool)
        if not (isinstance(row[key], str) and row[key] if key in TEXTS else is_number or (key == "value" and row[key] is None)):
            raise UserError(f"{path}: {key} = {row[key]!r} is not a {'text' if key in TEXTS else 'number'}")


def _check_agreement(seen: dict[tuple[str, ...], tuple[Any, Path]], row: Row, path: Path) -> None:
    """Raises UserError where `row` differs from an earlier one in what makes two results comparable."""
    everywhere: dict[str, tuple[str, ...]] = dict.fromkeys(("suite", "suite_version", "scale", "seed"), ())
    within = {"protocol": ("metric", "space"), "weights_sha256": ("model",)}
    pixels = {"hr_sha256": ("set", "image"), "lr_sha256": ("set", "image", "degradation")}
    for key, scope in (everywhere | within | pixels).items():
        value, place = row.get(key), [row[name] for name in scope]
        # Only hashes may lack: bicubic has no weights, a failed row may have no input.
        if value is None:
            continue
        old, file = seen.setdefault((key, *place), (value, path))
        if old != value:
            both = f"{old!r} in {file} and {value!r} in {path}" if file != path else f"{old!r} and {value!r}, both in {path}"
            raise UserError(f"{key}{' of ' if place else ''}{' '.join(place)} differs: {both}: such results cannot be compared on one page")


def number(row: Row) -> float | None:
    """The measured value of a row; infinite for identical pictures, None for a failure."""
    value = row["value"]
    if row.get("error"):
        return None
    if row.get("infinite") or value == math.inf:
        return math.inf
    return float(value) if value is not None and math.isfinite(value) else None


# Means


@dataclass(frozen=True)
class Cell:
    """A mean (None: nothing to average), the measurements that went into it, and those that were asked for."""

    mean: float | None
    count: int
    expected: int

    @property
    def complete(self) -> bool:
        """False where the model failed on a picture, so that its mean is over fewer than the others'."""
        return self.count == self.expected


@dataclass(frozen=True)
class Summary:
    """The measurements of one metric in one colour space, and their means. `models` starts with bicubic where there is one.

    `values` and `failures` have by (model, set, degradation) each picture's value or reason; `pictures` has by (set, degradation)
    those that any model was measured on."""

    metric: str
    space: str
    protocol: str
    models: list[str]
    sets: list[str]
    degradations: list[str]
    values: dict[tuple[str, str, str], dict[str, float]]
    failures: dict[tuple[str, str, str], dict[str, str]]
    pictures: dict[tuple[str, str], set[str]]

    @property
    def key(self) -> str:
        return f"{self.metric}-{self.space}"

    @property
    def name(self) -> str:
        return f"{METRICS.get(self.metric, (self.metric.upper(),))[0]} {self.space.upper()}"

    @property
    def unit(self) -> str:
        return METRICS[self.metric][1] if self.metric in METRICS else ""

    @property
    def title(self) -> str:
        return f"{self.name} in{self.unit}" if self.unit else self.name

    def cell(self, model: str, of_set: str | None = None, degradation: str | None = None, over: str | None = None) -> Cell:
        """A model's mean over pictures, or with `over` its mean gain over that model on the pictures that both have. None for the set or
        the degradation: the mean over them, each weighing the same. An infinite value makes a mean infinite."""
        if of_set is None:
            return join_cells([self.cell(model, name, degradation, over) for name in self.sets])
        if degradation is None:
            return join_cells([self.cell(model, of_set, name, over) for name in self.degradations])
        mine, expected = self.values.get((model, of_set, degradation), {}), len(self.pictures.get((of_set, degradation), ()))
        if over is None:
            return Cell(_mean(mine.values()), len(mine), expected)
        theirs = self.values.get((over, of_set, degradation), {})
        shared = sorted(mine.keys() & theirs.keys())
        ours, others = _mean(mine[image] for image in shared), _mean(theirs[image] for image in shared)
        return Cell(None if ours is None or others is None else _mean([ours - others]), len(shared), expected)

    def gain(self, model: str, over: str, of_set: str | None = None, degradation: str | None = None) -> str:
        """A gain as it is shown, with its sign."""
        return signed(self.cell(model, of_set, degradation, over).mean, self.metric)

    def count(self, of_set: str | None = None) -> str:
        """How many distinct pictures a set has, or all sets have, in words."""
        found = {(name, image) for (name, _), images in self.pictures.items() for image in images if of_set in (None, name)}
        return plural(len(found), "picture")

    def best(self) -> list[str]:
        """The models with the highest mean over everything, as shown, among those that answered every picture; several where they tie."""
        means = {model: cell.mean for model in self.models if (cell := self.cell(model)).complete and cell.mean is not None}
        return [model for model, mean in means.items() if show(mean, self.metric) == show(max(means.values()), self.metric)]

    def failure_notes(self) -> list[str]:
        """A sentence for each model, set and degradation with failed pictures."""
        return [
            f"{model} on {name} {degradation}: {len(found)} of {len(self.pictures[name, degradation])} failed "
            f"({', '.join(dict.fromkeys(found.values()))[:300]})"
            for (model, name, degradation), found in self.failures.items()
        ]


def _mean(values: Iterable[float]) -> float | None:
    values = list(values)
    mean = sum(values) / len(values) if values else math.nan
    return None if math.isnan(mean) else mean


def join_cells(cells: list[Cell]) -> Cell:
    """The mean of means, each weighing the same."""
    means = [cell.mean for cell in cells if cell.mean is not None]
    return Cell(_mean(means), sum(cell.count for cell in cells), sum(cell.expected for cell in cells))


def summarize(rows: Sequence[Row], metric: str, space: str) -> Summary:
    """The rows of one metric and space by model, set and degradation; failures are kept apart, out of the means.

    Raises UserError where no row has this metric and space, or bicubic has none: plain enlargement must be visible in each table."""
    chosen = [row for row in rows if (row["metric"], row["space"]) == (metric, space)]
    if not chosen:
        there = ", ".join(sorted({f"{row['metric']} {row['space']}" for row in rows}))
        raise UserError(f"no rows of {metric} {space}: there is {there or 'nothing'}")
    if all(row["model"] != BICUBIC for row in chosen):
        raise UserError(f"no bicubic rows of {metric} {space}: add the word bicubic to the bench command")
    values: dict[tuple[str, str, str], dict[str, float]] = {}
    failures: dict[tuple[str, str, str], dict[str, str]] = {}
    pictures: dict[tuple[str, str], set[str]] = {}
    for row in chosen:
        key, value = (row["model"], row["set"], row["degradation"]), number(row)
        pictures.setdefault(key[1:], set()).add(row["image"])
        if value is None:
            failures.setdefault(key, {})[row["image"]] = str(row.get("error") or "no value")
        else:
            values.setdefault(key, {})[row["image"]] = value
    sets, degradations = distinct(chosen, "set"), degradations_of(chosen)
    return Summary(metric, space, chosen[0]["protocol"], models_of(rows), sets, degradations, values, failures, pictures)


def distinct(rows: Iterable[Row], key: str) -> list[Any]:
    """The values of a key in their order of appearance, without None."""
    return list(dict.fromkeys(row[key] for row in rows if row.get(key) is not None))


def models_of(rows: Iterable[Row]) -> list[str]:
    """Labels in the order of their appearance, bicubic first."""
    return sorted(distinct(rows, "model"), key=lambda model: model != BICUBIC)


def degradations_of(rows: Iterable[Row]) -> list[str]:
    """Degradations in the papers' order, unknown ones last."""
    known = list(DEGRADATIONS)
    return sorted(distinct(rows, "degradation"), key=lambda name: known.index(name) if name in known else len(known))


def show(value: float | None, metric: str) -> str:
    """A number as it is shown: PSNR with 2 decimals, others with 4; ∞; – for none."""
    decimals = METRICS[metric][2] if metric in METRICS else 4
    return "–" if value is None else "∞" if value == math.inf else f"{value:.{decimals}f}"


def signed(value: float | None, metric: str) -> str:
    """A difference as it is shown, with +, − or, where it rounds to nothing, ±."""
    size = show(None if value is None else abs(value), metric)
    return size if value is None else f"±{size}" if not size.strip("0.") else f"+{size}" if value > 0 else f"−{size}"


def plural(count: int, word: str) -> str:
    """A count and its noun: 1 set, 2 sets."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def table_markdown(rows: Sequence[Row], metric: str = "psnr", space: str = "rgb") -> str:
    """Markdown: a line that says what was measured and how, and a table for each set, bicubic first; a † marks a mean over fewer
    pictures. Raises UserError as `summarize` does."""

    def plain(words: str) -> str:
        return html.escape(" ".join(words.split()), quote=False).replace("|", "\\|").replace("*", "\\*").replace("`", "\\`")

    summary, first = summarize(rows, metric, space), rows[0]
    code = ", ".join(map(str, distinct(rows, "code_version"))) or "unknown"
    facts = f"suite {first['suite']} {first['suite_version']}, ×{first['scale']}, seed {first['seed']}, protocol {summary.protocol}"
    lines = [plain(f"{summary.title}, higher is better; {facts}, code {code}."), ""]
    for name in summary.sets:
        lines += [f"**{plain(name)}** ({summary.count(name)})", ""]
        lines += ["| " + " | ".join(["model", *map(plain, summary.degradations), "mean"]) + " |"]
        lines += ["| --- |" + " ---: |" * (len(summary.degradations) + 1)]
        for model in summary.models:
            cells = [summary.cell(model, name, degradation) for degradation in [*summary.degradations, None]]
            lines += ["| " + " | ".join([plain(model), *(show(cell.mean, metric) + "†" * (not cell.complete) for cell in cells)]) + " |"]
        lines += [""]
    if summary.failures:
        lines += [f"† mean over fewer pictures, as the model failed: {plain('; '.join(summary.failure_notes()))}.", ""]
    return "\n".join(lines)
