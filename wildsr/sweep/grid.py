"""A sweep's file, and the runs that it asks for."""

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, Field, field_validator

from wildsr import benchmark, config, files, recipes
from wildsr.config import Strict
from wildsr.errors import UserError
from wildsr.report.tables import BICUBIC
from wildsr.train import TrainConfig, require_sites


class Sweep(Strict, frozen=True):
    """A sweep's file. Overrides are dotted keys of a TrainConfig, or tables of them; `recipe` among them changes the recipe.

    An axis of `grid` is a dotted key with its values, or a name of one's own with a table for each label: what that label overrides."""

    recipe: str
    """A recipe's name or file, where no override names another."""
    suite: Annotated[tuple[str, ...], BeforeValidator(lambda given: [given] if isinstance(given, str) else given), Field(min_length=1)]
    """What the runs are measured on: a suite's name, or several; table and plot are of the first, the page of all."""
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (0,)
    set: dict[str, Any] = Field(default_factory=dict)
    """Overrides for all runs."""
    grid: dict[str, dict[str, dict[str, Any]] | list[Any]]
    """The axes in order; the plot has the first on x."""
    points: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Points beside the grid, label -> overrides; the plot draws them as horizontal lines."""

    @field_validator("seeds")
    @classmethod
    def _check_seeds(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len({*seeds}) < len(seeds):
            raise ValueError(f"{list(seeds)} names a seed twice")
        return seeds

    @field_validator("grid", mode="before")
    @classmethod
    def _check_axes(cls, grid: Any) -> Any:
        if not isinstance(grid, Mapping) or not grid:
            raise ValueError('there is no axis: write [grid], and for example "regularizers.0.p" = [0.1, 0.2]')
        for axis, values in grid.items():
            if not isinstance(values, Mapping | list | tuple) or not values:
                raise ValueError(f"axis {axis!r} = {values!r}: give it a list of values, or a table of labels, and one at least")
            for label, over in values.items() if isinstance(values, Mapping) else ():
                if not isinstance(over, Mapping):
                    raise ValueError(
                        f"axis {axis!r}: label {label!r} has {over!r}, not a table of what it overrides. "
                        f'Is it a key? Then quote it: "{axis}.{label}" = [...]'
                    )
        return grid


class Point(NamedTuple):
    """A point of the grid, or beside it (without axes): its label, axis -> value or label, and what it overrides, by dotted keys."""

    label: str
    axes: dict[str, Any]
    overrides: dict[str, Any]


class Run(NamedTuple):
    """A training of a sweep, with what its recipe's file has to say."""

    label: str
    point: Point
    seed: int
    config: TrainConfig
    notes: list[str]


def read(path: Path) -> Sweep:
    """Reads a sweep's file. Raises UserError for unknown and missing keys, and for what is no axis."""
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    return config.build(Sweep, config.read_file(path), str(path))


def points(sweep: Sweep) -> list[Point]:
    """The points beside the grid, then the grid's, its last axis running fastest. Raises UserError for labels that are not unique."""
    ends = [axis.rpartition(".")[2] for axis in sweep.grid]
    axes: list[list[tuple[str, Any, dict[str, Any]]]] = []
    for (axis, values), end in zip(sweep.grid.items(), ends, strict=True):
        name = end if ends.count(end) == 1 else axis
        labelled = values.items() if isinstance(values, dict) else [(_scalar(value), {axis: value}) for value in values]
        axes.append([(name, label, over) for label, over in labelled])
    found = [Point(_safe(label), {}, _flat(over)) for label, over in sweep.points.items()]
    for choice in itertools.product(*axes):
        label = ",".join(f"{_safe(name)}={_safe(value)}" for name, value, _ in choice)
        overrides = {key: value for _, _, over in choice for key, value in _flat(over).items()}
        found.append(Point(label, {name: value for name, value, _ in choice}, overrides))
    seen: set[str] = {BICUBIC}
    for point in found:
        if point.label.casefold() in seen:  # some file systems do not tell "A" from "a"
            raise UserError(f"two points would be called {point.label!r}: rename one")
        seen.add(point.label.casefold())
    return found


def plan(sweep: Sweep, overrides: Mapping[str, Any]) -> list[Run]:
    """The runs, all points of the first seed first, each with a configuration that has been built and whose sites have been found.

    `overrides` come on top of the file. Raises UserError, with the run's label, for the first mistake in any of them."""
    suites = [benchmark.find_suite(name) for name in sweep.suite]
    if others := [suite.name for suite in suites if suite.inputs != "made"]:
        able = [suite.name for suite in benchmark.SUITES.values() if suite.inputs == "made"]
        raise UserError(f"suite {others[0]}: a sweep measures on inputs made from ground truth: use {', '.join(able)}")
    for key in overrides:
        axes = [axis for axis, values in sweep.grid.items() if isinstance(values, list) and f"{axis}.".startswith(f"{key}.")]
        if axes or key == "seed":
            raise UserError(f"--set {key}: the sweep itself sets {', '.join(axes) or 'seeds'}: change its file")
    runs: list[Run] = []
    same: dict[str, str] = {}
    for seed, point in itertools.product(sweep.seeds, points(sweep)):
        label = f"{point.label},seed={seed}"
        try:
            training, notes = _configure(_on_top({"recipe": sweep.recipe, **_flat(sweep.set)}, point.overrides, overrides), seed)
            for suite in suites:
                if training.scale != suite.scale:
                    raise UserError(f"scale = {training.scale}, but suite {suite.name} is ×{suite.scale}")
            require_sites(training)
        except UserError as error:
            message = str(error).removeprefix("--set ").removeprefix("configuration: ")
            raise UserError(f"run {label}: {message}") from None
        # The recipe is a name alone: two of one content are one training.
        twin = same.setdefault(json.dumps({**training.identity(), "recipe": ""}, sort_keys=True), label)
        if twin != label:
            raise UserError(f"{twin} and {label} would be the same training: take one away, or look what overrides their difference")
        runs.append(Run(label, point, seed, training, notes))
    return runs


def _configure(overrides: dict[str, Any], seed: int) -> tuple[TrainConfig, list[str]]:
    if "seed" in overrides:
        raise UserError(f"seed = {overrides['seed']!r}: name the seeds once for all runs: seeds = [0, 1, 2]")
    base, notes = recipes.load(str(overrides.pop("recipe")))
    return config.build(TrainConfig, {**config.override(base.dump(), overrides), "seed": seed}), notes


def _on_top(*levels: Mapping[str, Any]) -> dict[str, Any]:
    """Levels of dotted keys as one, later ones winning: a part that a later level replaces whole goes with what reached into it."""
    found: dict[str, Any] = {}
    for level in levels:
        found = {key: value for key, value in found.items() if not any(key.startswith(f"{over}.") for over in level)} | dict(level)
    return found


def _flat(values: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Tables within tables as dotted keys: TOML reads `network.blocks = 4` as a table."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _flat(value, f"{path}{key}.") if isinstance(value, dict) and value else {f"{path}{key}": value}
    return found


def _scalar(value: Any) -> Any:
    return value if isinstance(value, str | int | float) else json.dumps(value)


def words(value: Any) -> str:
    """A value as it is shown: text as it is, the rest as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def _safe(value: Any) -> str:
    """A part of a file's name on any system."""
    name = re.sub(r"[^A-Za-z0-9_.+-]+", "-", words(value)).strip(".-") or "-"
    return name if len(name) <= 60 else f"{name[:50]}-{files.sha256(words(value).encode())[:8]}"


def plan_text(runs: Sequence[Run]) -> str:
    """The runs, each with what its point overrides, and what they cost together."""
    lines = []
    for run in runs:
        changed = " ".join(f"{key}={words(value)}" for key, value in run.point.overrides.items())
        lines.append(f"{run.label}  {changed}".rstrip())
    one = recipes.find("real-srresnet")
    share = sum(recipes.cost(run.config).macs * run.config.steps for run in runs) / (recipes.cost(one).macs * one.steps)
    return "\n".join([*lines, f"{len(runs)} runs, which cost as much as {share:.2g} trainings by the recipe real-srresnet"])
