"""Measuring: what `wildsr bench` does."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from wildsr import benchmark, checkpoint, devices, files, metrics, report, upscale
from wildsr.errors import UserError
from wildsr.jobs.common import name_of, require, silent

Row = dict[str, Any]
Known = Mapping[benchmark.Unit, Sequence[Row]]


def contenders(model: Path | str, scale: int, device: str = "auto", precision: str = "fp32") -> list[benchmark.Contender]:
    """What a MODEL of the command line stands for: a model file, a run directory, a model that spandrel opens, or a resizer's name
    (`benchmark.RESIZERS`), at `scale`. A .pth file with averaged and raw weights gives both, the raw ones as NAME-params.

    A contender has the name of the run or the file."""
    if str(model) in benchmark.RESIZERS:
        return [benchmark.resizer(str(model), scale)]
    keys = checkpoint.weights_keys(model)
    loaded = [upscale.load(model, device=device, precision=precision, key=key) for key in (keys if len(keys) > 1 else [None])]
    found = []
    for i, one in enumerate(loaded):
        training, seed = _training(one.metadata)
        found.append(
            benchmark.Contender(
                name_of(model) if i == 0 else f"{name_of(model)}-{one.weights_key}",
                one,
                one.scale,
                one.weights_sha256,
                one.weights_key,
                one.tile,
                one.dtype,
                batched=True,
                training=training,
                training_seed=seed,
            )
        )
    return found


def _training(metadata: Mapping[str, Any]) -> tuple[str | None, int | None]:
    """A name for a training that all its seeds share, and the seed; None of a model that does not say."""
    config = metadata.get("config")
    if not isinstance(config, dict) or not isinstance(config.get("seed"), int):
        return None, None
    what = {key: metadata.get(key) for key in ("data_fingerprint", "init", "images_seen")} | {**config, "seed": None}
    return files.sha256(files.to_line(dict(sorted(what.items()))).encode())[:16], config["seed"]


@dataclass(frozen=True)
class Pairs:
    """Folders for the suite `paired`: the i-th of low resolution with the i-th of high; `align` as in `benchmark.paired`."""

    lr: Sequence[Path] = ()
    hr: Sequence[Path] = ()
    align: str = "none"


def bench(
    models: Sequence[Path | str],
    suites: str | Sequence[str],
    data: Sequence[Path],
    out: Path,
    *,
    pairs: Pairs | None = None,
    also: Sequence[str] = (),
    seed: int = 0,
    device: str = "auto",
    precision: str = "fp32",
    cache: Path | None = None,
    pictures: bool = True,
    page: bool = False,
    console: Console | None = None,
) -> list[Row]:
    """Measures models on suites and writes to `out` rows.jsonl, table.md and manifest.json, with `pictures` what the rows speak of, and
    with `page` report.html; returns the rows.

    Bicubic resizing is always among them. also: perceptual measures by pyiqa's names. cache: a folder that keeps made inputs. What an
    earlier, interrupted bench measured there under the same conditions is taken over; its rows of other models and suites stay. On a CPU,
    the whole process keeps from then on the memory that it frees (`devices.keep_memory`).

    Raises UserError, before anything is measured: for what is unknown or does not fit together; while another process measures into
    `out`; and where pictures to be measured on lie where `out` has its own."""
    require(seed >= 0, "seed", seed, "use 0 or more")
    place = devices.pick(device)  # also where bicubic alone is measured, a mistake is said
    asked = [benchmark.find_suite(name) for name in dict.fromkeys([suites] if isinstance(suites, str) else suites)]
    loaded = [contenders(model, 0, device, precision) for model in models if str(model) not in benchmark.RESIZERS]
    for several in loaded:
        if len(several) > 1 and console is not None:
            keys = " and ".join(str(one.weights_key) for one in several)
            console.print(f"{several[0].name}.pth holds {keys}: both are measured", highlight=False, markup=False, soft_wrap=True)
    scale = next((found[0].scale for found in loaded), 4)
    # Folders of pairs, and photographs, have the scale of whom they are given to.
    asked = [suite if suite.inputs == "made" else replace(suite, scale=scale, crop=scale * (suite.inputs == "paired")) for suite in asked]
    words = [str(model) for model in models if str(model) in benchmark.RESIZERS]
    added = {name: metrics.perceptual(name) for name in also}
    for name, metric in added.items():
        if metric.needs_hr and all(suite.inputs == "alone" for suite in asked):
            raise UserError(
                f"--metric {name} compares with a ground truth, and suite {asked[0].name} has none: name another suite beside it"
            )
    if len({suite.scale for suite in asked}) > 1:
        raise UserError(
            f"{' and '.join(f'{suite.name} is ×{suite.scale}' for suite in asked)}: bench them one by one, each with its own --out"
        )
    given = [_inputs(suite, data, pairs or Pairs(), seed, cache) for suite in asked]
    if pictures:
        _require_apart(out, [path for inputs in given for path in inputs.sources])
    plans = []
    for inputs in given:
        plain = [benchmark.resizer(word, inputs.suite.scale) for word in dict.fromkeys(["bicubic", *words])]
        every = [*plain, *itertools.chain.from_iterable(loaded)]
        plans.append(benchmark.Plan(every, inputs, benchmark.measures_of(inputs.suite, added), out if pictures else None))
    with files.exclusive(out / ".bench.lock", f"{out}: another process is measuring into it: wait for it, or use another --out"):
        rows = _measure(plans, out, ahead=int(place.type != "cpu"), console=console)
        if page:
            report.write_page(out / "report.html", [out / "rows.jsonl"])
    return rows


def _require_apart(out: Path, sources: Sequence[Path]) -> None:
    """Raises UserError where pictures that are read lie in the folders into which a bench writes its own."""
    own = [(out / name).resolve() for name in benchmark.PICTURES]
    for path in sources:
        if within := next((folder for folder in own if folder in path.resolve().parents), None):
            raise UserError(f"{path}: would be among the pictures that are written to {within}: use another --out")


def _measure(plans: Sequence[benchmark.Plan], out: Path, ahead: int, console: Console | None) -> list[Row]:
    """Measures what is not known yet, and writes all rows, their table and their manifest."""
    found_in = report.rows_file(out)
    known = _known(found_in, out)
    kept, outdated = _kept(known, plans, out)
    if outdated and console is not None:
        console.print(
            f"{', '.join(outdated)}: {out} holds rows of other weights under this name, which go",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    rows: list[Row] = []
    if not ahead:
        devices.keep_memory()
    measuring = itertools.chain.from_iterable(benchmark.units(replace(plan, known=known), ahead=ahead) for plan in plans)
    total = sum(plan.units for plan in plans)
    for found in track(measuring, "measuring", total, console=console, disable=silent(console)):
        if known.get(benchmark.unit_of(found[0])) != found:  # nothing is written down twice
            files.append_jsonl(out / JOURNAL, [{"rows": found}])
        rows += found
    rows = _together(kept, rows)
    files.write_text(out / "rows.jsonl", "".join(files.to_line(row) for row in rows))
    files.write_text(out / "manifest.json", files.to_json(benchmark.manifest_of(rows)))
    files.write_text(out / "table.md", report.table_markdown(rows))
    (out / JOURNAL).unlink(missing_ok=True)
    if found_in.suffix == ".xz":  # all that counts of it stands in rows.jsonl now
        found_in.unlink(missing_ok=True)
    return rows


JOURNAL = "rows.partial.jsonl"
"""In a bench's folder until it is finished: what was measured so far, a unit a line."""


def _inputs(suite: benchmark.Suite, data: Sequence[Path], pairs: Pairs, seed: int, cache: Path | None) -> benchmark.Inputs:
    if suite.inputs == "paired":
        if data:
            raise UserError(f"suite {suite.name} takes its pictures from --lr FOLDER and --hr FOLDER, not from --data")
        return benchmark.paired(pairs.lr, pairs.hr, suite, align=pairs.align, seed=seed)
    if pairs.lr or pairs.hr or pairs.align != "none":
        raise UserError(f"--lr, --hr and --align are for the suite paired; {suite.name} takes --data FOLDER")
    if not data:
        raise UserError("no pictures to measure on: add --data FOLDER")
    return benchmark.alone(data, suite, seed=seed) if suite.inputs == "alone" else benchmark.made(data, suite, seed=seed, cache=cache)


def _known(finished: Path, out: Path) -> dict[benchmark.Unit, list[Row]]:
    """The rows of earlier benches in a folder, finished ones and the interrupted one; the later ones count."""
    rows = files.read_jsonl(finished) if finished.is_file() else []
    found = benchmark.by_unit(rows)
    for line in files.read_jsonl(out / JOURNAL) if (out / JOURNAL).is_file() else []:
        found |= benchmark.by_unit(line.get("rows", []))
    return found


def _kept(known: Known, plans: Sequence[benchmark.Plan], out: Path) -> tuple[list[Row], list[str]]:
    """Earlier rows of models, suites and pictures that are not measured now, and the names whose earlier rows go because the model has
    other weights now. Raises UserError where rows cannot stand beside new ones."""
    now = {
        (plan.inputs.suite.name, contender.name, *place) for plan in plans for contender in plan.contenders for place in plan.inputs.places
    }
    everywhere = {key: plans[0].inputs.facts[key] for key in ("scale", "seed")}
    versions = {plan.inputs.suite.name: plan.inputs.suite.version for plan in plans}
    weights = {contender.name: contender.weights_sha256 for plan in plans for contender in plan.contenders}
    rows, outdated = [], []
    for row in (row for unit, found in known.items() if unit not in now for row in found):
        name = row.get("model")
        same = name not in weights or row.get("weights_sha256") == weights[name]
        (rows if same else outdated).append(row)
    for row in rows:
        for key, wanted in (everywhere | {"suite_version": versions.get(str(row.get("suite")), row.get("suite_version"))}).items():
            if row.get(key) != wanted:
                raise UserError(f"{out} holds rows of {row.get('model')} with {key} {row.get(key)!r}, not {wanted!r}: use another --out")
    return rows, list(dict.fromkeys(str(row["model"]) for row in outdated))


def _together(kept: Sequence[Row], rows: Sequence[Row]) -> list[Row]:
    """Rows in one order, whatever the order of work: by suite, set, picture, model. Of the kept ones, those of other inputs go."""

    def case(row: Row) -> tuple[Any, ...]:
        return tuple(row.get(key) for key in ("suite", "set", "image", "degradation"))

    def pixels(row: Row) -> tuple[Any, Any]:
        return row.get("lr_sha256"), row.get("hr_sha256")

    inputs = {case(row): pixels(row) for row in rows}
    fitting = [row for row in kept if inputs.get(case(row), pixels(row)) == pixels(row)]
    both = [*fitting, *rows]
    ranks = {key: {name: rank for rank, name in enumerate(dict.fromkeys(row[key] for row in both))} for key in ("suite", "set", "model")}
    return sorted(
        both, key=lambda row: (ranks["suite"][row["suite"]], ranks["set"][row["set"]], row["image"], ranks["model"][row["model"]])
    )


def failures(rows: Sequence[Row]) -> list[str]:
    """What failed in a benchmark, a line each."""
    lines = (f"{row['model']} failed on {row['set']}/{row['image']} ({row['degradation']}): {row['error']}" for row in rows if row["error"])
    return list(dict.fromkeys(lines))
