"""Tables as text: Markdown, and LaTeX with booktabs."""

import html
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wildsr.config import nearest
from wildsr.errors import UserError
from wildsr.report.charts import BAR_CHART
from wildsr.report.grids import BETTER
from wildsr.report.methods import Cell, Grid, Method, bounds, methods_of, named, seeds_notes
from wildsr.report.published import SOURCE, published
from wildsr.report.tables import Row, Summary, distinct, plural, require_measured, show, signed, summaries, summarize


def table_markdown(
    rows: Sequence[Row], metric: str | None = None, space: str = "rgb", *, intervals: bool = False, beside: bool = True
) -> str:
    """Markdown: for each suite a line that says what was measured and how, and a table for each set (and for all), bicubic first, models
    that differ by their seed as one. A † marks a mean over fewer pictures.

    metric: passes over suites that lack it; None is the first of each suite: PSNR in RGB where there is ground truth. intervals: with 95 %
    intervals in brackets. beside: with what papers have published, in italics, where the protocol is theirs. Raises UserError as
    `summarize` does, and where nothing was measured."""
    return "\n".join(line for grid in _grids(rows, metric, space) for line in _markdown(grid, rows, intervals, beside))


def table_latex(rows: Sequence[Row], metric: str | None = None, space: str = "rgb", *, intervals: bool = False, beside: bool = True) -> str:
    """LaTeX for the package booktabs: for each suite a table, the best of each column bold, what papers have published in italics. Asks for
    no other package.

    Parameters and errors as for `table_markdown`; intervals are written as what is to be added and taken away."""
    return "\n".join(line for grid in _grids(rows, metric, space) for line in _latex(grid, rows, intervals, beside))


def gains_markdown(rows: Sequence[Row], over: str, metric: str | None = None, space: str = "rgb", *, only: Sequence[str] = ()) -> str:
    """Markdown: for each suite the gains over one method, with 95 % intervals, bold where an interval excludes 0: the mean over all
    degradations for each set and for all, and, where few enough stand side by side, each degradation over all sets.

    over: a model's or a method's name. only: the models or methods to show, in this order; by default all others. metric and space as for
    `table_markdown`. Raises UserError as that does, and for methods that no row has."""
    lines: list[str] = []
    for whole in _grids(rows, metric, space):
        base = _method(whole, over)
        shown = [_method(whole, name) for name in only] or [method for method in whole.methods if method != base]
        grid = Grid(whole.summary, [base, *shown])
        of_sets: list[tuple[str, str | None, str | None]] = [(name or "all sets", name, None) for name in _sets(grid)]
        heads = {f"mean over {plural(len(grid.summary.degradations), 'degradation')}": of_sets}
        if len(grid.summary.degradations) <= BAR_CHART:
            heads[f"each degradation, {of_sets[-1][0]}"] = [(name, None, name) for name in grid.summary.degradations]
        lines += [_plain(f"Gain over {base.name}, bold where its interval excludes 0. {_facts(grid, rows)}"), ""]
        for head, columns in heads.items():
            lines += [f"| {_plain(head)} | {' | '.join(_plain(word) for word, _, _ in columns)} |", "| --- |" + " ---: |" * len(columns)]
            for method in shown:
                cells = [_gain(grid.cell(method.name, of_set, degradation, base.name), grid) for _, of_set, degradation in columns]
                lines.append(f"| {_plain(_label(method))} | {' | '.join(cells)} |")
            lines.append("")
        lines += [part for note in _notes(grid, beside=False, intervals=True) for part in (_plain(note), "")]
    return "\n".join(lines)


def _method(grid: Grid, name: str) -> Method:
    method = named(name, grid.methods)
    if method is None:
        raise UserError(f"no row is of {name!r}: {nearest(name, grid.names)}")
    return method


def _gain(cell: Cell, grid: Grid) -> str:
    metric = grid.summary.metric
    text = signed(cell.mean, metric) + "†" * (not cell.complete)
    if cell.low is None:
        return text
    text += f" ({bounds(cell, metric, gain=True)})"
    return f"**{text}**" if cell.certain else text


def _label(method: Method) -> str:
    return f"{method.name} ({method.seeds})" if len(method.models) > 1 else method.name


def _grids(rows: Sequence[Row], metric: str | None, space: str) -> list[Grid]:
    methods = methods_of(rows)
    if metric is None:
        first: dict[str, Summary] = {}
        for summary in summaries(rows):
            first.setdefault(summary.suite, summary)
        found = list(first.values())
        require_measured(found)
    else:
        chosen = [row for row in rows if (row["metric"], row["space"]) == (metric, space)]
        # Without such rows, `summarize` says which there are.
        found = [summarize(rows, metric, space, suite) for suite in distinct(chosen or rows, "suite")]
    return [Grid(summary, methods) for summary in found]


@dataclass(frozen=True)
class _Line:
    """A row of a table, before it is written: what it is of, and its cells (None: a published number has no interval)."""

    name: str
    cells: list[tuple[str, Cell]]
    best: list[bool]
    foreign: bool = False


def _lines(grid: Grid, of_set: str | None, columns: Sequence[str | None], beside: bool) -> list[_Line]:
    metric = grid.summary.metric
    leads = {column: grid.lead({name: grid.cell(name, of_set, column) for name in grid.names}) for column in columns}
    lines = []
    for method in grid.methods:
        cells = [grid.cell(method.name, of_set, column) for column in columns]
        texts = [(show(cell.mean, metric) + "†" * (not cell.complete), cell) for cell in cells]
        lines.append(_Line(_label(method), texts, [method.name in leads[column] for column in columns]))
    sets = grid.summary.sets if of_set is None else [of_set]
    for one in published(grid.summary, sets) if beside else ():
        means = [one.mean(sets, grid.summary.degradations if column is None else [column]) for column in columns]
        lines.append(
            _Line(f"{one.name}, published", [(show(mean, metric), Cell(mean, 0, 0)) for mean in means], [False] * len(columns), True)
        )
    return lines


def _facts(grid: Grid, rows: Sequence[Row]) -> str:
    summary, mine = grid.summary, [row for row in rows if row["suite"] == grid.summary.suite]
    code = ", ".join(map(str, distinct(mine, "code_version"))) or "unknown"
    facts = f"suite {summary.suite} {summary.version}, ×{summary.scale}, seed {mine[0]['seed']}, protocol {summary.protocol}"
    return f"{summary.title}, {BETTER[summary.about.better]}; {facts}, code {code}."


def _sets(grid: Grid) -> list[str | None]:
    """Every set, and all together where there are several."""
    return [*grid.summary.sets, *([None] if len(grid.summary.sets) > 1 else [])]


def _notes(grid: Grid, beside: bool, intervals: bool) -> list[str]:
    notes = []
    if grid.summary.failures:
        notes.append(f"† mean over fewer pictures, as the model failed: {'; '.join(grid.summary.failure_notes())}.")
    if beside and any(published(grid.summary, [name]) for name in grid.summary.sets):
        notes.append(f"Published, not measured here: {SOURCE}. Their inputs have other noise, of the same kind: hundredths mean little.")
    if intervals or any(len(method.models) > 1 for method in grid.methods):
        over = seeds_notes(grid.methods, intervals)
        notes.append(" ".join(["95 % intervals."] * intervals + [f"{over}."] * bool(over)))
    return notes


# Markdown


def _plain(words: str) -> str:
    return html.escape(" ".join(words.split()), quote=False).replace("|", "\\|").replace("*", "\\*").replace("`", "\\`")


def _markdown(grid: Grid, rows: Sequence[Row], intervals: bool, beside: bool) -> list[str]:
    summary, metric = grid.summary, grid.summary.metric
    lines = [_plain(_facts(grid, rows)), ""]
    columns: list[str | None] = [*summary.degradations, None]

    def word(text: str, cell: Cell) -> str:
        there = intervals and cell.low is not None and cell.high is not None
        return f"{text} [{show(cell.low, metric)}, {show(cell.high, metric)}]" if there else text

    for of_set in _sets(grid):
        lines += [f"**{_plain(of_set or 'All sets')}** ({summary.count(of_set)}{'' if of_set else ', each set weighing the same'})", ""]
        found = _lines(grid, of_set, columns, beside)
        table = [[_plain(line.name), *(word(*cell) for cell in line.cells)] for line in found]
        table = [[f"*{cell}*" for cell in row] if line.foreign else row for row, line in zip(table, found, strict=True)]
        heads = ["model", *map(_plain, summary.degradations), "mean"]
        if len(summary.degradations) > BAR_CHART:  # too many for columns
            long = [_plain(summary.words[name]) for name in summary.degradations]
            table = [list(column) for column in zip(*[["degradation", *long, "mean"], *table], strict=True)]
            heads, table = table[0], table[1:]
        lines += ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
        lines += ["| " + " | ".join(row) + " |" for row in table] + [""]
    return lines + [part for note in _notes(grid, beside, intervals) for part in (_plain(note), "")]


# LaTeX

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "×": r"$\times$",
    "–": "--",
    "†": r"$^\dagger$",
    "∞": r"$\infty$",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"\textbar{}",
    "σ": r"$\sigma$",
    "’": "'",
}
_ESCAPES = re.compile(r"[\\~^×–†∞<>|σ’#$%&_{}]")


def escape_latex(words: str) -> str:
    """Words in which nothing is a command."""
    return _ESCAPES.sub(lambda match: _SPECIAL.get(match[0], "\\" + match[0]), " ".join(words.split()))


def _latex(grid: Grid, rows: Sequence[Row], intervals: bool, beside: bool) -> list[str]:
    summary = grid.summary
    columns: list[str | None] = [*summary.degradations, None]
    tall = len(summary.degradations) > BAR_CHART
    parts = {of_set: _lines(grid, of_set, columns, beside) for of_set in _sets(grid)}
    body: list[str] = []
    if tall:
        heads = ["degradation", *(line.name for line in parts[None if None in parts else summary.sets[0]])]
    else:
        heads = ["model", *summary.degradations, "mean"]
    for of_set, found in parts.items():
        table = [[_latex_name(line), *_latex_cells(line, summary.metric, intervals)] for line in found]
        if tall:
            long = [escape_latex(summary.words[name]) for name in summary.degradations]
            table = [list(column) for column in zip(*[[*long, "mean"], *(row[1:] for row in table)], strict=True)]
        title = f"{of_set or 'All sets'} ({summary.count(of_set)})"
        body += [r"\midrule", rf"\multicolumn{{{len(heads)}}}{{l}}{{{escape_latex(title)}}} \\", r"\midrule"]
        body += [" & ".join(row) + r" \\" for row in table]
    caption = " ".join([_facts(grid, rows), *_notes(grid, beside, intervals)])
    return [
        r"% \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        r"\small",
        rf"\caption{{{escape_latex(caption)}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}",
        r"\toprule",
        " & ".join(map(escape_latex, heads)) + r" \\",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
        "",
    ]


def _latex_name(line: _Line) -> str:
    return rf"\textit{{{escape_latex(line.name)}}}" if line.foreign else escape_latex(line.name)


def _latex_cells(line: _Line, metric: str, intervals: bool) -> list[str]:
    found = []
    for (text, cell), best in zip(line.cells, line.best, strict=True):
        words = escape_latex(text)
        wrap: Callable[[str], str] = (lambda w: rf"\textit{{{w}}}") if line.foreign else (lambda w: rf"\textbf{{{w}}}") if best else str
        ends = ""
        if intervals and cell.mean is not None and cell.low is not None and cell.high is not None:
            up, down = (signed(end - cell.mean, metric).replace("−", "-").replace("±", r"\pm ") for end in (cell.high, cell.low))
            ends = rf"$^{{{up}}}_{{{down}}}$"
        found.append(wrap(words) + ends)
    return found
