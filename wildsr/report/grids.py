"""What one metric says under one suite, as HTML: the verdict, the table of means, and the map of gains."""

import itertools
import math
from collections.abc import Sequence

from wildsr.report.charts import BAR_CHART
from wildsr.report.methods import Cell, Grid, bounds
from wildsr.report.parts import Html, Look, fill
from wildsr.report.published import SOURCE, Published, published
from wildsr.report.tables import BICUBIC, families, plural, show, signed

STEPS = 6
"""Shades of a map's cells, to each side."""
NAMED = 4
"""Kinds of degradations that a card names, at most."""
BETTER = {"higher": "higher is better", "lower": "lower is better", "zero": "0 is best"}


# The verdict


def verdict(grid: Grid, look: Look) -> Html:
    """Three cards: who is best, where bicubic wins, and clean against degraded input (or the best and the worst degradation)."""
    summary = grid.summary
    cards = [fill("card", title="Best mean", body=_winner(grid, look), foot=_over(grid))]
    others = [name for name in grid.names if name != BICUBIC]
    if others:
        cards.append(
            fill(
                "card",
                title="Where bicubic wins",
                body=_losses(grid, look, others),
                foot="Cells (set × degradation) in which plain enlargement is better",
            )
        )
        hard = [name for name in summary.degradations if name != "clean"]
        if "clean" in summary.degradations and hard:
            foot = f"{summary.title}: the clean column, and the mean over the other {len(hard)}"
            cards.append(fill("card", title="Clean against degraded", body=_levels(grid, look, hard), foot=foot))
        elif len(hard) > 1:
            foot = f"Gain over bicubic, {summary.title}, mean over sets"
            cards.append(fill("card", title="Easiest and hardest", body=_extremes(grid, look, others), foot=foot))
    return fill("cards", cards=cards)


def _over(grid: Grid) -> str:
    summary = grid.summary
    over = f"{plural(len(summary.degradations), 'degradation')} and {plural(len(summary.sets), 'set')}"
    trained = [method for method in grid.methods if method.trained]
    alone = trained and all(len(method.models) == 1 for method in trained)
    chance = ". Each model is a single run: intervals are over pictures alone" if alone else ""
    return f"{summary.title}, mean over {over}; in brackets 95 % intervals{chance}"


def _winner(grid: Grid, look: Look) -> Html:
    metric, best = grid.summary.metric, grid.best()
    if not best:
        return fill("nobody")
    lines = []
    references = {"over bicubic": BICUBIC, f"over the baseline {look.baseline}": look.baseline}
    rest = {name: cell.mean for name in grid.names if name not in best and (cell := grid.cell(name)).complete and cell.mean is not None}
    second = max(rest, key=lambda name: grid.merit(rest[name]), default=None)
    if len(best) == 1 and second is not None:
        references.setdefault(f"over the second, {second}", second)
    told = set()
    for words, other in references.items():
        if other is not None and other not in best and other in grid.names and other not in told:
            told.add(other)
            lines.append(_gain_line(grid, grid.cell(best[0], over=other), words))
    cells = [place for place in itertools.product(grid.summary.sets, grid.summary.degradations) if place in grid.summary.pictures]
    others = [name for name in grid.names if name not in best]
    if len(best) == 1 and others and len(cells) > 1:
        lead = sum(
            all(grid.better(grid.cell(best[0], *place, over=other)) >= 0 and _differs(grid, best[0], other, place) for other in others)
            for place in cells
        )
        lines.append(fill("gain-line", gain=f"{lead} of {len(cells)}", between="", words="cells (set × degradation) led"))
    names = [Html("<span>" + look.label(name) + "</span> ") for name in best] + [Html("<small>tie</small>")] * (len(best) > 1)
    cell = grid.cell(best[0])
    mean = show(cell.mean, metric) + (grid.summary.unit or f" {grid.summary.name}")
    return fill("winner", names=names, mean=mean, between=_bracket(bounds(cell, metric)), lines=lines)


def _differs(grid: Grid, name: str, other: str, place: tuple[str, str]) -> bool:
    return grid.better(grid.cell(name, *place, over=other)) != 0 or grid.cell(name, *place, over=other).mean is None


def _gain_line(grid: Grid, cell: Cell, words: str) -> Html:
    metric = grid.summary.metric
    chance = "; may be chance" if cell.low is not None and not cell.certain else ""
    gain = signed(cell.mean, metric) + grid.summary.unit
    return fill("gain-line", gain=gain, between=_bracket(bounds(cell, metric, gain=True)), words=words + chance)


def _bracket(words: str) -> str:
    return f"[{words}]" if words else ""


def _losses(grid: Grid, look: Look, others: Sequence[str]) -> Html:
    summary, lines = grid.summary, []
    cells = [place for place in itertools.product(summary.sets, summary.degradations) if place in summary.pictures]
    for name in others:
        lost = [place for place in cells if grid.better(grid.cell(name, *place, over=BICUBIC)) < 0]
        # Of many degradations the kinds are named.
        kinds = families(summary.words) if len(summary.degradations) > BAR_CHART else {one: [one] for one in summary.degradations}
        where = [kind for kind, members in kinds.items() if any(place[1] in members for place in lost)]
        many = len(summary.degradations) > BAR_CHART and len(where) > NAMED
        words = f"{', '.join(where[: NAMED - 1])} and {len(where) - NAMED + 1} other kinds" if many else ", ".join(where)
        lines.append(fill("loss", label=look.label(name), lost=len(lost), cells=len(cells), where=words or "nowhere"))
    return fill("losses", lines=lines)


def _levels(grid: Grid, look: Look, hard: Sequence[str]) -> Html:
    metric, lines = grid.summary.metric, []
    for name in grid.names:
        clean, degraded = grid.cell(name, None, "clean").mean, grid.mean_over(name, hard).mean
        lines.append(fill("level", label=look.label(name), clean=show(clean, metric), degraded=show(degraded, metric)))
    return fill("levels", lines=lines)


def _extremes(grid: Grid, look: Look, others: Sequence[str]) -> Html:
    metric, lines = grid.summary.metric, []
    for name in others:
        gains = {one: cell.mean for one in grid.summary.degradations if (cell := grid.cell(name, None, one, BICUBIC)).mean is not None}
        if gains:
            high, low = (pick(gains, key=lambda one: grid.sign * gains[one]) for pick in (max, min))
            lines.append(
                fill(
                    "extreme",
                    label=look.label(name),
                    high=signed(gains[high], metric),
                    high_words=grid.summary.words[high],
                    low=signed(gains[low], metric),
                    low_words=grid.summary.words[low],
                )
            )
    return fill("extremes", lines=lines)


# Tables


def value_tables(grid: Grid, look: Look) -> Html:
    """Means, with intervals, and beside them what papers have published. Few degradations stand in columns, set below set; many in rows."""
    body = _wide(grid, look, None) if len(grid.summary.degradations) <= BAR_CHART else _tall(grid, look, None)
    notes = [fill("item", words=note) for note in grid.summary.failure_notes()]
    beside = any(published(grid.summary, [name]) for name in grid.summary.sets)
    source = fill("published-note", source=SOURCE) if beside else ""
    return Html(body + fill("table-notes", published=source, failed=fill("failures", items=notes) if notes else ""))


def gain_tables(grid: Grid, look: Look) -> Html:
    """Maps of the gains over bicubic and over the baseline."""
    draw = _wide if len(grid.summary.degradations) <= BAR_CHART else _tall
    views = [
        fill("view", view=view, shown=" shown" * (view == "bicubic"), body=draw(grid, look, over))
        for view, over in gain_views(grid, look).items()
    ]
    return Html("".join(views))


def gain_views(grid: Grid, look: Look) -> dict[str, str]:
    """Against whom gains are shown, by the name of the view."""
    return {"bicubic": BICUBIC} | ({"baseline": look.baseline} if look.baseline in grid.names else {})


def _caption(grid: Grid, over: str | None, of_set: str | None = None) -> str:
    summary = grid.summary
    what = summary.title if over is None else f"Gain over {'' if over == BICUBIC else 'the baseline '}{over}, {summary.title}"
    spread = f"; mean over {summary.count(of_set)}" if of_set else ""
    return f"{what}{spread}; {BETTER[summary.about.better]}; protocol {summary.protocol}"


class _Writer:
    """Writes the cells of one table: marks, and shades that its largest gain sets."""

    def __init__(self, grid: Grid, over: str | None, sets: Sequence[str | None], columns: Sequence[str | None]) -> None:
        self.grid, self.over, self.metric = grid, over, grid.summary.metric
        self.names = [name for name in grid.names if name != over]
        self.cells = {
            (name, of_set, column): grid.cell(name, of_set, column, over) for of_set in sets for column in columns for name in self.names
        }
        sizes = [abs(cell.mean) for cell in self.cells.values() if cell.mean is not None and math.isfinite(cell.mean)]
        self.largest = max(sizes, default=0) or 1.0
        columns_of = [(of_set, column) for of_set in sets for column in columns if over is None]
        self.leads = {place: grid.lead({name: self.cells[name, *place] for name in self.names}) for place in columns_of}

    def cell(self, name: str, of_set: str | None, column: str | None) -> Html:
        cell, marks, classes = self.cells[name, of_set, column], [], ["mean"] * (column is None)
        if name in self.leads.get((of_set, column), ()):
            classes.append("best")
        if self.over is None:
            words = show(cell.mean, self.metric)
            if name != BICUBIC and self.grid.better(self.grid.cell(name, of_set, column, BICUBIC)) < 0:
                marks.append(fill("below"))
        else:
            words = signed(cell.mean, self.metric)
            way = self.grid.better(cell)
            if way:
                share = min(1.0, abs(cell.mean or 0) / self.largest)
                classes.append(f"{'up' if way > 0 else 'down'} s{max(1, math.ceil(share * STEPS))}")
            if cell.certain:
                classes.append("sure")
                marks.append(fill("sure"))
        if not cell.complete:
            marks.append(fill("fewer", count=cell.count, expected=cell.expected))
        between = bounds(cell, self.metric, gain=self.over is not None)
        return fill("cell", classes=" ".join(classes), words=words, mark=marks, between=fill("between", words=between) if between else "")


def _seeds(grid: Grid, look: Look, name: str) -> Html:
    method = next(method for method in grid.methods if method.name == name)
    pills = [fill("pill", words=method.seeds)] if method.seeds else []
    pills += [fill("pill", words="baseline")] if name == look.baseline and len(grid.names) > 2 else []
    return Html(" ".join(pills))


def _wide(grid: Grid, look: Look, over: str | None) -> Html:
    """Degradations in columns, methods in rows, a group of rows for each set."""
    summary = grid.summary
    columns: list[str | None] = [*([None] if len(summary.degradations) > 1 else []), *summary.degradations]
    sets = [*([None] if len(summary.sets) > 1 else []), *summary.sets]
    writer = _Writer(grid, over, sets, columns)
    groups = []
    for of_set in sets:
        rows = []
        for name in (name for name in grid.names if name != over):
            cells = [writer.cell(name, of_set, column) for column in columns]
            kind = "bicubic" if name == BICUBIC else ""
            rows.append(fill("table-row", kind=kind, label=look.label(name), note=_seeds(grid, look, name), cells=cells))
        if over is None:
            chosen = summary.sets if of_set is None else [of_set]
            rows += [_published_row(one, chosen, columns, grid) for one in published(summary, chosen)]
        spread = summary.count(of_set) + (", each set weighing the same" if of_set is None else "")
        groups.append(fill("group", name=of_set or "All sets", pictures=spread, columns=len(columns) + 1, rows=rows))
    heads = [fill("mean-head")] * (None in columns)
    heads += [fill("table-head", name=name, long=_long(grid, name)) for name in summary.degradations]
    kind = "values" if over is None else "gains"
    return fill("wide", kind=kind, heads=heads, groups=groups, caption=_caption(grid, over))


def _long(grid: Grid, degradation: str) -> str:
    kind = grid.summary.seen[degradation]
    return grid.summary.words[degradation] + (f" ({kind} in training)" if kind else "")


def _published_row(one: Published, sets: Sequence[str], columns: Sequence[str | None], grid: Grid) -> Html:
    metric, degradations = grid.summary.metric, grid.summary.degradations
    means = [one.mean(sets, degradations if column is None else [column]) for column in columns]
    cells = [
        fill("cell", classes="mean" * (column is None), words=show(mean, metric), mark="", between="")
        for column, mean in zip(columns, means, strict=True)
    ]
    return fill("published-row", name=one.name, cells=cells)


def _tall(grid: Grid, look: Look, over: str | None) -> Html:
    """Degradations in rows, by kind; methods in columns. All sets are open, each set can be opened."""
    summary = grid.summary
    sets = [None] * (len(summary.sets) > 1) + summary.sets
    rows_of = [None, *summary.degradations]
    names = [name for name in grid.names if name != over]
    heads = [fill("tall-head", label=look.label(name), note=_seeds(grid, look, name)) for name in names]
    kind, parts = "values" if over is None else "gains", []
    mixed = len(set(summary.seen.values())) > 1
    for of_set in sets:
        writer = _Writer(grid, over, [of_set], rows_of)

        def row(column: str | None, label: Html, writer: _Writer = writer, of_set: str | None = of_set) -> Html:
            cells = [writer.cell(name, of_set, column) for name in names]
            return fill("tall-row", kind="" if column else "all", label=label, cells=cells)

        groups = [fill("tall-group", rows=row(None, Html("mean")))]
        for family, members in families(summary.words).items():
            lines = []
            for rank, name in enumerate(members):
                tag = fill("pill", words=summary.seen[name]) if mixed and summary.seen[name] and rank == 0 else ""
                severity = f"{rank + 1} of {len(members)}" if len(members) > 1 else ""
                lines.append(row(name, fill("tall-label", again=" again" * (rank > 0), words=family, severity=severity, tag=tag)))
            groups.append(fill("tall-group", rows=lines))
        spread = summary.count(of_set) + (", each set weighing the same" if of_set is None else "")
        table = fill("tall", kind=kind, heads=heads, groups=groups, caption=_caption(grid, over, of_set), where=of_set or "all sets")
        part = "open-set" if of_set is None or len(sets) == 1 else "closed-set"
        parts.append(fill(part, name=of_set or "All sets", pictures=spread, table=table))
    return Html("".join(parts))
