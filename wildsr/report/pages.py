"""One self-contained HTML page: tables, charts and pictures side by side. It asks no network for anything."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wildsr import files
from wildsr.config import nearest
from wildsr.errors import UserError
from wildsr.report import detail, duels, generalisation, grids
from wildsr.report.charts import gain_chart, line_chart
from wildsr.report.duels import Duels
from wildsr.report.inside import ROOM, Inside, inside, names_of
from wildsr.report.inside.explained import read_explained
from wildsr.report.methods import Grid, methods_of, named, seeds_notes
from wildsr.report.parts import Block, Html, Look, asset, fill, switch
from wildsr.report.published import published
from wildsr.report.runs import Run, read_run
from wildsr.report.sheets import PICTURES, SHARE, Sheets, Shelf, close_ups, left_out_words, make_sheets, represented
from wildsr.report.tables import (
    BAND,
    BICUBIC,
    Row,
    distinct,
    families,
    models_of,
    plural,
    read_rows,
    require_measured,
    rows_file,
    summaries,
)

LIMIT = 14_900_000
"""Bytes of the largest page: under 15 MB."""
COLOURS = 12
"""Colours that the style sheet has for methods, beside bicubic's grey."""
SCRIPTS = ("page.js", "pictures.js", "duel.js", "inside.js")


@dataclass(frozen=True)
class _Bench:
    """What the rows hold: grids by suite, of the metrics that have tabs and of all, and what sections share."""

    rows: Sequence[Row]
    by_suite: dict[str, list[Grid]]
    look: Look

    @property
    def tabs(self) -> dict[str, list[Grid]]:
        return {suite: [grid for grid in found if not BAND.fullmatch(grid.summary.metric)] for suite, found in self.by_suite.items()}

    @property
    def metrics(self) -> dict[str, str]:
        """Key -> name of every metric that has a tab in some suite."""
        return {grid.summary.key: grid.summary.name for found in self.tabs.values() for grid in found}

    @property
    def first(self) -> list[Grid]:
        """The grid that each suite opens with."""
        return [found[0] for found in self.tabs.values()]


def page(
    rows_paths: Sequence[Path] = (),
    run_dirs: Sequence[Path] = (),
    *,
    explain: Sequence[Path] = (),
    baseline: str | None = None,
    title: str | None = None,
) -> str:
    """The whole report as one HTML text under 15 MB: `rows_paths` as in `read_rows`, `run_dirs` as in `read_run`, `explain` as in
    `read_explained`. Without rows the page shows what is inside the networks alone.

    `baseline` is the label of the model or method against which gains are shown; without one, the first that is not bicubic. Raises
    UserError: as `read_rows`, `summaries`, `read_run` and `read_explained` do, where nothing was measured, and for a baseline that no row
    has."""
    if explain and not rows_paths:
        return _explained_page(run_dirs, explain, title)
    rows = read_rows(rows_paths)
    runs = _runs(run_dirs)
    bench = _bench(rows, runs, baseline)
    look, metrics = bench.look, bench.metrics
    blocks = [Block(grid, grid is bench.first[0]) for found in bench.tabs.values() for grid in found]
    all_duels = _duels(bench)
    alone = len(look.methods) < 2
    sections = {"glance": "Glance", "compare": "Pictures", "tables": "Tables"}
    sections |= {} if alone else {"gains": "Gains", "generalisation": "Carrying over", "duel": "Two models"}
    sections |= {"detail": "Detail"} | ({"inside": "Inside"} if explain else {})
    failed = _failed(rows)
    scale = bench.first[0].summary.scale
    frame = _frame(title or f"Super-resolution ×{scale}, measured on {_and(list(bench.by_suite))}", "glance", _about(bench))
    frame["choices"] = [switch("suite", "Suite", {suite: suite for suite in bench.by_suite}), switch("metric", "Metric", metrics)]
    fields = {
        "toggles": _toggles(bench),
        "glance": [block.wrap(_lead(block.grid) + grids.verdict(block.grid, look) + gain_chart(block.grid, look)) for block in blocks],
        "tables": [block.wrap(grids.value_tables(block.grid, look)) for block in blocks],
        "gains": "" if alone else _gains(bench, blocks),
        "generalisation": "" if alone else fill("generalisation", body=_generalisation(bench)),
        "duel": duels.section(all_duels, look, _left_out_of(all_duels, bench)) if all_duels else "",
        "detail": [_suite_block(suite, bench, detail.section(found, look)) for suite, found in bench.by_suite.items()],
        "failed": fill("failed", items=[fill("item", words=words) for words in failed]) if failed else "",
        "training": _training(runs, look),
        "method": _method(bench),
    }
    data: dict[str, Any] = {
        "metrics": metrics,
        "suites": {suite: [grid.summary.key for grid in found] for suite, found in bench.tabs.items()},
    }
    data["duels"] = {found[0].grid.summary.suite: duels.payload(found, look) for found in all_duels}
    room = LIMIT - 200_000 - len(json.dumps(data))
    room -= len(fill("page", links="", data="", main=fill("bench", comparison="", sheets="", inside="", **fields), **frame).encode())
    within = _inside(explain, look, min(ROOM, room // 2))
    deeper = within.section()
    data["inside"] = within.data
    room -= len(deeper.encode()) + len(json.dumps(data["inside"]))
    shelf = Shelf([rows_file(path).parent for path in rows_paths])
    close = _close_ups(bench, all_duels, shelf, int(room * SHARE))
    sheets = _sheets(bench, shelf, room - len(json.dumps(close)))
    data |= {"close": close, "shots": sheets.shots, "truths": sheets.truths}
    sections |= (
        ({"sheets": "Sheets"} if sheets.figures else {})
        | ({"failed": "Failed"} if failed else {})
        | ({"training": "Training"} if runs else {})
    )
    main = fill("bench", comparison=_comparison(bench, sheets), sheets=_sheet_section(bench, sheets), inside=deeper, **fields)
    return _whole(frame, sections | {"method": "Method"}, main, data)


def write_page(
    out: Path,
    rows_paths: Sequence[Path] = (),
    run_dirs: Sequence[Path] = (),
    *,
    explain: Sequence[Path] = (),
    baseline: str | None = None,
    title: str | None = None,
) -> None:
    """Writes `page` to the file `out`, whole or not at all. Raises UserError as `page` does."""
    files.write_text(out, page(rows_paths, run_dirs, explain=explain, baseline=baseline, title=title))


def _explained_page(run_dirs: Sequence[Path], explain: Sequence[Path], title: str | None) -> str:
    """A page of what is inside the networks, and of training runs where there are some."""
    runs = _runs(run_dirs)
    look = Look([], None, _coloured({}, [run.name for run in runs]))
    within = _inside(explain, look, ROOM)
    links = within.links
    frame = _frame(title or "Inside the network", next(iter(links)), f"{plural(len(within.models), 'network')}: {_and(within.models)}.")
    # The facts close the page.
    *parts, facts = within.sections()
    data = {"metrics": {}, "suites": {}, "duels": {}, "close": {}, "shots": [], "truths": {}, "inside": within.data}
    *rest, last = links.items()
    links = dict(rest) | ({"training": "Training"} if runs else {}) | dict([last])
    return _whole(frame | {"choices": ""}, links, [*parts, _training(runs, look), facts], data)


def _frame(title: str, first: str, about: str) -> dict[str, Any]:
    script = asset(*SCRIPTS)
    return {
        "title": title,
        "about": about,
        "first": first,
        "style": asset("page.css"),
        "script": script,
        # Only this one script may run, whatever a name in the rows tries to be.
        "digest": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }


def _whole(frame: Mapping[str, Any], links: Mapping[str, str], main: Html | list[Html], data: Mapping[str, Any]) -> str:
    return (
        fill(
            "page",
            links=[fill("link", target=target, label=label) for target, label in links.items()],
            main=main,
            # Escaping every "<" keeps a name from ending the script block; JSON reads it back the same.
            data=Html(json.dumps(data, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")),
            **frame,
        )
        + "\n"
    )


def _coloured(colours: Mapping[str, int], names: Sequence[str]) -> dict[str, int]:
    """Colours by name, with one for each name that has none."""
    found = dict(colours)
    for name in names:
        found.setdefault(name, len(set(found.values()) - {0}) % COLOURS + 1)
    return found


def _inside(explain: Sequence[Path], look: Look, room: int) -> Inside:
    if not explain:
        return Inside()
    found = read_explained(explain)
    return inside(found, replace(look, colours=_coloured(look.colours, names_of(found))), room)


def _bench(rows: Sequence[Row], runs: Sequence[Run], baseline: str | None) -> _Bench:
    methods = methods_of(rows)
    chosen = named(baseline, methods) if baseline is not None else next((method for method in methods if method.models != (BICUBIC,)), None)
    if baseline is not None and chosen is None:
        known = {name for method in methods for name in (method.name, *method.models)}
        raise UserError(f"baseline {baseline!r} is no model of these rows: {nearest(baseline, known)}")
    names = [method.name for method in methods if method.name != BICUBIC]
    colours = {BICUBIC: 0} | {name: index % COLOURS + 1 for index, name in enumerate(names)}
    colours |= {model: colours[method.name] for method in methods for model in method.models}
    for run in runs:
        colours.setdefault(run.name, len(set(colours.values())) % COLOURS + 1)
    by_suite: dict[str, list[Grid]] = {}
    found = summaries(rows)
    require_measured(found)
    for summary in found:
        by_suite.setdefault(summary.suite, []).append(Grid(summary, methods))
    look = Look(methods, None if chosen is None or chosen.name == BICUBIC else chosen.name, colours)
    return _Bench(rows, by_suite, look)


def _runs(run_dirs: Sequence[Path]) -> list[Run]:
    runs: list[Run] = []
    for run in map(read_run, run_dirs):
        known = [other.name for other in runs]
        runs.append(run if run.name not in known else replace(run, name=f"{run.name} ({len(runs) + 1})"))
    return runs


# Words


def _and(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def _about(bench: _Bench) -> str:
    many = len([method for method in bench.look.methods if method.name != BICUBIC])
    suites = [
        f"{grid.summary.suite} (version {grid.summary.version}): {plural(len(grid.summary.degradations), 'degradation')} "
        f"on {plural(len(grid.summary.sets), 'set')}, {grid.summary.count()}"
        for grid in bench.first
    ]
    who = f"{plural(many, 'method')} against bicubic" if many else "Bicubic alone"
    return f"{who}. {'; '.join(suites)}. Seed {bench.rows[0]['seed']}."


def _lead(grid: Grid) -> Html:
    return fill("lead", name=grid.summary.title, better=grids.BETTER[grid.summary.about.better], protocol=grid.summary.protocol)


def _gains(bench: _Bench, blocks: Sequence[Block]) -> Html:
    notes = seeds_notes(bench.look.methods)
    note = fill("gain-notes", seeds=f"{notes[0].upper()}{notes[1:]}." if notes else "")
    views = switch("view", "Gains over", {view: f"Over {name}" for view, name in grids.gain_views(bench.first[0], bench.look).items()})
    toggle = fill("toggle", what="intervals", name="95 % intervals")
    return fill(
        "gains", views=views, toggle=toggle, body=[block.wrap(grids.gain_tables(block.grid, bench.look) + note) for block in blocks]
    )


def _toggles(bench: _Bench) -> list[Html]:
    having = [grid for found in bench.tabs.values() for grid in found if any(published(grid.summary, [name]) for name in grid.summary.sets)]
    suites = dict.fromkeys(grid.summary.suite for grid in having)
    shown = {suite: " shown" * (suite == next(iter(bench.by_suite))) for suite in suites}
    toggles = [fill("suite-toggle", suite=suite, what="published", name="Published numbers", shown=shown[suite]) for suite in suites]
    return [fill("toggle", what="intervals", name="95 % intervals"), *toggles]


def _failed(rows: Sequence[Row]) -> list[str]:
    found = (
        f"{row['model']}: {row['suite']} {row['set']} {row['image']}, {row['degradation']}: {row['error']}"
        for row in rows
        if row.get("error")
    )
    return list(dict.fromkeys(found))


def _method(bench: _Bench) -> Html:
    """How it was measured, and with which weights."""
    # Half a million rows differ in few of these facts.
    facts: tuple[str, ...] = ("model", "weights_sha256", "weights_key", "dtype", "tile", "scale", "seed", "crop", "resizer", "code_version")
    known = dict.fromkeys(tuple(row.get(fact) for fact in facts) for row in bench.rows)
    rows: list[Row] = [dict(zip(facts, values, strict=True)) for values in known]

    def listed(key: str, some: Sequence[Row] = rows, none: str = "not recorded") -> str:
        return ", ".join(map(str, distinct(some, key))) or none

    suites, models = [], []
    for suite, found in bench.by_suite.items():
        summary = found[0].summary
        words = ", ".join(
            f"{kind} ({len(names)} severities)" if len(names) > 1 else f"{names[0]}: {kind}" if kind != names[0] else kind
            for kind, names in families(summary.words).items()
        )
        pictures = "; ".join(f"{name}: {summary.count(name)}" for name in summary.sets)
        protocols = ", ".join(grid.summary.protocol for grid in found if not BAND.fullmatch(grid.summary.metric))
        protocols += f"; {plural(len(found) - len(bench.tabs[suite]), 'band')} of energy" if len(found) > len(bench.tabs[suite]) else ""
        suites.append(fill("suite-facts", suite=suite, version=summary.version, degradations=words, pictures=pictures, protocols=protocols))
    for model in models_of(rows):
        mine = [row for row in rows if row["model"] == model]
        hashes = [fill("hash", full=value, short=str(value)[:12]) for value in distinct(mine, "weights_sha256")]
        words = {"key": listed("weights_key", mine, "–"), "dtype": listed("dtype", mine, "–"), "tile": listed("tile", mine, "none")}
        models.append(fill("weights", label=bench.look.label(model), hashes=hashes or "none", **words))
    notes = seeds_notes(bench.look.methods)
    shared = {key: listed(key) for key in facts[5:]}
    return fill("method", suites=suites, models=models, seeds=f". {notes[0].upper()}{notes[1:]}" if notes else "", **shared)


# Sections


def _suite_block(suite: str, bench: _Bench, body: Html) -> Html:
    return fill("suite-block", suite=suite, body=body, shown=" shown" * (suite == next(iter(bench.by_suite))))


def _generalisation(bench: _Bench) -> list[Html]:
    parts = []
    known = any(kind for found in bench.by_suite.values() for grid in found for kind in grid.summary.seen.values())
    for key in bench.metrics:
        found = [grid for grids_ in bench.tabs.values() for grid in grids_ if grid.summary.key == key]
        shown = " shown" * (key == bench.first[0].summary.key)
        parts.append(fill("metric-block", metric=key, shown=shown, body=generalisation.section(found, bench.look, known)))
    return parts


def _duels(bench: _Bench) -> list[list[Duels]]:
    """Of each suite, the duels of every metric that has all the pictures of the first."""
    if len(bench.look.methods) < 2:
        return []
    found = []
    for tabs in bench.tabs.values():
        names = duels.duelists(tabs[0], bench.look)
        alike = [
            grid
            for grid in tabs
            if grid.summary.degradations == tabs[0].summary.degradations and set(grid.summary.images()) <= set(tabs[0].summary.images())
        ]
        if len(names) > 1:
            found.append([Duels(grid, names) for grid in alike])
    return found


def _left_out_of(all_duels: Sequence[Sequence[Duels]], bench: _Bench) -> list[str]:
    shown = {name for found in all_duels for name in found[0].names}
    return [method.name for method in bench.look.methods if method.name not in shown]


def _close_ups(bench: _Bench, all_duels: Sequence[Sequence[Duels]], shelf: Shelf, room: int) -> dict[str, Any]:
    """Of each suite's first metric: the pairs that the page opens with, then the others with the baseline, then those with bicubic. A pair
    has all its pictures or none."""
    look, ranked = bench.look, []
    openings = [set(duels.opening(found[0].grid, found[0].names, look)) for found in all_duels]
    for place, found in enumerate(all_duels):
        for pair in found[0].pairs():
            # A pair that was chosen stays when another suite is.
            first = set(pair) in (openings[place], openings[0])
            rank = 0 if first else 1 if look.baseline in pair else 2
            if first or look.baseline in pair or BICUBIC in pair:
                ranked.append((rank, found[0], pair))
    close: dict[str, Any] = {}
    for _, found, pair in sorted(ranked, key=lambda one: one[0]):
        crops = close_ups(found, found.duel(*pair), shelf)
        weight = len(json.dumps(crops))
        if weight <= room:
            close, room = close | crops, room - weight
    return close


def _sheets(bench: _Bench, shelf: Shelf, room: int) -> Sheets:
    return make_sheets(list(bench.tabs.values()), bench.rows, shelf, room, bench.look)


def _comparison(bench: _Bench, sheets: Sheets) -> Html:
    if not sheets.shots:
        return fill("no-pictures")
    grid, look = bench.first[0], bench.look
    best = next((name for name in grid.best() if name != BICUBIC), look.baseline)
    right = next((f"model:{method.models[0]}" for method in look.methods if method.name == best), "truth")
    return fill("comparison", count=PICTURES, right=right)


def _sheet_section(bench: _Bench, sheets: Sheets) -> Html:
    if not sheets.figures:
        return Html()
    left = fill("left-out", names=left_out_words(sheets.left_out, sheets.shots)) if sheets.left_out else ""
    seeds = represented(bench.look.methods)
    metric = fill("metric-name", words=bench.first[0].summary.name)
    return fill("sheets", count=PICTURES, side=sheets.side, metric=metric, seeds=seeds, sheets=sheets.figures, left_out=left)


def _training(runs: Sequence[Run], look: Look) -> Html:
    charts = []
    for kind, note, noisy in (("losses", "loss, over steps", True), ("scores", "validation, over steps", False)):
        for name in dict.fromkeys(name for run in runs for name in getattr(run, kind)):
            lines = {run.name: getattr(run, kind)[name] for run in runs if name in getattr(run, kind)}
            charts.append(line_chart(name, note, lines, look, noisy))
    legend = [fill("run", label=look.label(run.name), recipe=f"recipe {run.recipe}" if run.recipe else "") for run in runs]
    return fill("training", legend=legend, charts=charts or "The logs hold no losses yet.") if runs else Html()
