"""The run: a row for every number, with all that is needed to trust it. An interrupted one goes on where it was."""

import itertools
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jaxtyping import UInt8
from torch import Tensor

from wildsr import devices, files, images, metrics
from wildsr.benchmark.contenders import Contender, results
from wildsr.benchmark.inputs import Case, Inputs
from wildsr.benchmark.suites import Suite
from wildsr.errors import UserError
from wildsr.metrics import Metric

Row = dict[str, Any]
Place = tuple[str, str]
Unit = tuple[str, str, str, str]
"""(suite, model, set, image): what is measured at once, and kept or done again as a whole."""


PICTURES = ("hr", "lr", "images")
"""The folders of a plan's pictures."""


@dataclass(frozen=True)
class Plan:
    """What to measure: every contender on every picture of some inputs.

    measures: by name; None: `measures_of` the suite. out: where pictures go: hr/SET/STEM.png, lr/SUITE/SET/DEGRADATION/STEM.png and
    images/SUITE/SET/DEGRADATION/MODEL/STEM.png; None keeps none. known: rows of an earlier run; those that would be measured again under
    the same conditions are taken over."""

    contenders: Sequence[Contender]
    inputs: Inputs
    measures: Mapping[str, Metric] | None = None
    out: Path | None = None
    known: Mapping[Unit, Sequence[Row]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        suite, names = self.inputs.suite, [contender.name for contender in self.contenders]
        for contender in self.contenders:
            if contender.scale != suite.scale:
                raise UserError(f"{contender.name} upscales ×{contender.scale}, suite {suite.name} is ×{suite.scale}")
        if len(set(names)) < len(names):
            raise UserError(f"two models would have the same name in the rows: {', '.join(names)}: rename a file or folder")

    @property
    def units(self) -> int:
        """How many units there are."""
        return len(self.contenders) * len(self.inputs.places)

    def measured(self) -> Mapping[str, Metric]:
        """The measures, by name."""
        return measures_of(self.inputs.suite) if self.measures is None else self.measures


def measures_of(suite: Suite, also: Mapping[str, Metric] | None = None) -> dict[str, Metric]:
    """What the inputs of a suite are measured by: all of ours, and `also`; where there is no ground truth, what needs none. Raises
    UserError where that is nothing."""
    if suite.inputs != "alone":
        return {**metrics.METRICS, **(also or {})}
    found = {**metrics.no_reference(), **{name: metric for name, metric in (also or {}).items() if not metric.needs_hr}}
    if not found:
        raise UserError("measures that need no ground truth are scikit-image's, which is not installed: pip install 'wildsr[bench]'")
    return found


def run(contenders: Sequence[Contender], inputs: Inputs, *, out: Path | None = None) -> Iterator[Row]:
    """Yields a row for every contender, picture, degradation, metric and colour space.

    A contender that fails on a picture gets rows with an `error` and no value. Raises UserError when a contender's scale is not the
    suite's, or two have one name."""
    return itertools.chain.from_iterable(units(Plan(contenders, inputs, out=out)))


def units(plan: Plan, *, ahead: int = 0) -> Iterator[list[Row]]:
    """Yields the rows of one contender on one picture, picture after picture.

    Scores are taken by threads of their own. ahead: how many units may wait for theirs while networks go on: 0 where networks compute on
    the same processors, 1 where they have a GPU."""
    with devices.workers(os.cpu_count() or 1) as pool:
        waiting: list[Callable[[], list[Row]]] = []
        for cases, place in _prefetched(plan, pool):
            for contender in plan.contenders:
                waiting.append(_begin(plan, contender, place, cases, pool))
                while len(waiting) > ahead:
                    yield waiting.pop(0)()
        for finish in waiting:
            yield finish()


def _prefetched(plan: Plan, pool: ThreadPoolExecutor) -> Iterator[tuple[list[Case], Place]]:
    """The cases of every picture, made (and written, where that is asked for) while the ones before are measured."""

    def prepare(place: Place) -> list[Case]:
        cases = plan.inputs.cases(place)
        if plan.out is not None:
            _write_inputs(plan.out, plan.inputs.suite.name, place, cases)
        return cases

    following: Future[list[Case]] | None = None
    places = plan.inputs.places
    for place, after in zip(places, [*places[1:], None], strict=True):
        cases = following.result() if following else prepare(place)
        following = pool.submit(prepare, after) if after else None
        yield cases, place


def _write_inputs(out: Path, suite: str, place: Place, cases: Sequence[Case]) -> None:
    """The ground truth too: once for all inputs of a picture; for an input that it was moved for, in a folder of its own, as far as it
    reaches."""
    name, stem = place
    as_it_is = next((case.hr for case in cases if case.shift is None), None)
    if as_it_is is not None:
        images.write(out / "hr" / name / f"{stem}.png", as_it_is)
    for case in cases:
        if case.shift is not None and case.hr is not None:
            images.write(out / "hr" / name / case.degradation / f"{stem}.png", case.hr)
        images.write(out / "lr" / suite / name / case.degradation / f"{stem}.png", case.lr)


def _begin(plan: Plan, contender: Contender, place: Place, cases: list[Case], pool: ThreadPoolExecutor) -> Callable[[], list[Row]]:
    """Upscales a picture's inputs and sets its scoring going; what is returned waits for the rows."""
    suite = plan.inputs.suite
    shared = {**contender.facts, **plan.inputs.facts, "set": place[0], "image": place[1], "code_version": files.code_version()}
    targets: list[Path | None] = [None] * len(cases)
    if plan.out is not None:
        folder = plan.out / "images" / suite.name / place[0]
        targets = [folder / case.degradation / contender.name / f"{place[1]}.png" for case in cases]
    known = plan.known.get((suite.name, contender.name, *place), ())
    if _still_holds(known, shared, cases, plan.measured()) and all(target is None or target.is_file() for target in targets):
        return lambda: list(known)
    found = iter(results(contender, [case.lr for case in cases if case.problem is None]))
    work = [
        pool.submit(_score, case, case.problem or next(found), shared, plan.measured(), plan.inputs.protocol, target)
        for case, target in zip(cases, targets, strict=True)
    ]
    return lambda: [row for rows in work for row in rows.result()]


def _still_holds(known: Sequence[Row], shared: Row, cases: Sequence[Case], measured: Mapping[str, Metric]) -> bool:
    """Whether earlier rows are what would be measured now: of the same model, inputs, measures and code, and without a failure."""
    inputs = {case.degradation: (case.lr_sha256, case.hr_sha256) for case in cases}
    found = {row.get("degradation"): (row.get("lr_sha256"), row.get("hr_sha256")) for row in known}
    # Ours follow from the code's version; some of them are undefined for some pictures.
    added = measured.keys() - metrics.METRICS.keys()
    return (
        found == inputs
        and added <= {row.get("metric") for row in known}
        and all(row.get("error") is None and row.items() >= shared.items() for row in known)
    )


def _score(
    case: Case, result: UInt8[Tensor, "3 _ _"] | str, shared: Row, measured: Mapping[str, Metric], protocol: str, target: Path | None
) -> list[Row]:
    """One case's rows; the picture is written to `target`."""
    crop, scale = shared["crop"], shared["scale"]
    about = {key: getattr(case, key) for key in ("degradation", "words", "seen", "hr_sha256", "lr_sha256", "shift")}

    def row(metric: Metric, name: str, space: metrics.Space, of: str, value: float | None, error: str | None) -> Row:
        finite = value is not None and math.isfinite(value)
        scored = {"metric": name, "space": space, "lower_better": metric.better == "lower", "protocol": of + protocol}
        return {**shared, **about, **scored, "value": value if finite else None, "infinite": value == math.inf, "error": error}

    if isinstance(result, str):
        return [
            row(metric, name, space, metrics.protocol(name, space, crop, metric.version), None, result)
            for name, metric in measured.items()
            for space in metric.spaces
        ]
    sr = result[:, case.margin : result.shape[-2] - case.margin, case.margin : result.shape[-1] - case.margin]
    if target is not None:
        images.write(target, sr, fast=True)
    left = min(sr.shape[-2:]) - 2 * crop
    fitting = [metric for metric in measured.values() if left >= metric.smallest]
    if not fitting:
        return _score(case, f"UserError: {left} pixels a side are left: too few for every measure", shared, measured, protocol, None)
    return [
        row(metric, score.metric, score.space, score.protocol, score.value, None)
        for metric in fitting
        for score in metric(sr, case.hr, crop=crop, scale=scale)
    ]


def mean_psnr(contender: Contender, inputs: Inputs) -> dict[str, float]:
    """Mean RGB PSNR in dB by degradation, for watching a training run. Raises UserError when the model fails on a picture."""
    sums: dict[str, list[float]] = {}
    plan = Plan([contender], inputs, {"psnr": metrics.METRICS["psnr"]})
    for row in itertools.chain.from_iterable(units(plan)):
        if row["error"]:
            raise UserError(f"{row['set']}/{row['image']} ({row['degradation']}): {row['error']}")
        if row["space"] == "rgb" and row["value"] is not None:
            sums.setdefault(row["degradation"], []).append(row["value"])
    return {f"psnr {degradation}": sum(values) / len(values) for degradation, values in sums.items()}


def unit_of(row: Row) -> Unit:
    """The suite, model, set and image of a row."""
    return str(row.get("suite")), str(row.get("model")), str(row.get("set")), str(row.get("image"))


def by_unit(rows: Sequence[Row]) -> dict[Unit, list[Row]]:
    """Rows by their units."""
    found: dict[Unit, list[Row]] = {}
    for row in rows:
        found.setdefault(unit_of(row), []).append(row)
    return found
