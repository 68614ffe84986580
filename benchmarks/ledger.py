"""What stands in docs/results.md: keeps the rows and runs that it speaks of, and makes its tables, cards and pages from them.

    python benchmarks/ledger.py keep NAME BENCH... --run RUN... --machine TEXT --commits TEXT --command TEXT     into results/NAME
    python benchmarks/ledger.py keep NAME BENCH... ... --metric psnr-rgb psnr-high-y        of many models, these metrics alone
    python benchmarks/ledger.py add NAME BENCH... --run RUN... --machine ...           further models beside those kept in results/NAME
    python benchmarks/ledger.py write                                                  all tables and cards anew, and the pages

A table of docs/results.md stands between two comments, the first of which says what it is of:

    <!-- made: values NAME suite=rdsr8 -->           means, with what papers have published
    <!-- made: gains NAME suite=rdsr8 over=plain -->   gains with intervals; only=a,b shows those alone
    <!-- made: aims NAME suite=rdsr8 model=a sets=Set14 noise=1.5 -->   gains over bicubic beside what was aimed at
    <!-- made: trainings NAME -->                    a line for each training, with its weights' hash
    <!-- /made -->

`values` and `gains` also take metric=psnr-high-y. Everything else in the document is written by hand. Of what the document links to as
results/NAME/report.html, a page is written; of the rest, `wildsr report results/NAME --out page.html` makes one."""

import argparse
import functools
import itertools
import json
import lzma
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, Unpack

from wildsr import checkpoint, config, files, recipes, report
from wildsr.errors import UserError
from wildsr.report.methods import methods_of, named
from wildsr.report.runs import Run, read_run, smooth
from wildsr.train import TrainConfig

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT, KEPT = ROOT / "docs" / "results.md", ROOT / "results"
DECIMALS = 4
"""Of kept values: far below what another machine's rounding does."""
BLOCK = re.compile(r"(<!-- made: (?P<asked>[^\n]*?) -->\n)(?P<body>.*?)(<!-- /made -->)", re.DOTALL)


# Keeping


class Facts(TypedDict):
    """What only who keeps a bench knows of it: the machine, the commits that trained and measured, and the command."""

    machine: str
    commits: str
    command: str


def keep(
    name: str, benches: Sequence[Path], runs: Sequence[Path], metrics: Sequence[str] = (), into: Path = KEPT, **facts: Unpack[Facts]
) -> Path:
    """Copies rows (of some metrics, or of all), compressed and rounded to `DECIMALS`, and of each run its configuration, its log and the
    hash of its weights. What a sweep of one axis calls "training=plain,seed=0" becomes "plain-seed0". Raises UserError, before anything
    is replaced, for what cannot be read and for a metric that no row has."""
    rows, trained = _rounded(benches, metrics), [_trained(run) for run in runs]
    folder = into / name
    shutil.rmtree(folder, ignore_errors=True)
    _put(folder, rows, trained, [], facts)
    return folder


def add(
    name: str, benches: Sequence[Path], runs: Sequence[Path], metrics: Sequence[str] = (), into: Path = KEPT, **facts: Unpack[Facts]
) -> Path:
    """Keeps further models beside those of a folder, which may come from another machine; by default, of the metrics that are kept there.
    Resizers that are there already are not kept twice; models of the same facts share them. Raises UserError, before anything is changed,
    for a model that is kept already, for rows that cannot be compared with the kept ones (other inputs, another protocol), and as `keep`
    does."""
    folder = into / name
    if not (folder / "rows.jsonl.xz").is_file():
        raise UserError(f"{folder}: nothing is kept there; keep it first")
    kept, known = report.read_rows([folder]), {model for origin in origins(folder) for model in origin["models"]}
    rows = _rounded(benches, metrics or sorted({f"{row['metric']}-{row['space']}" for row in kept}))
    given = {row["model"] for row in rows if row["weights_sha256"]} | {short(run.resolve().name) for run in runs}
    if given & known:
        raise UserError(f"{', '.join(sorted(given & known))}: kept in {folder} already; keep all of it anew, or use another label")
    there = {_key(row) for row in kept}
    with tempfile.TemporaryDirectory() as aside:
        further = Path(aside) / "rows.jsonl"
        files.write_text(further, "".join(files.to_line(row) for row in rows if _key(row) not in there))
        rows = report.read_rows([folder, further])
    _put(folder, rows, [_trained(run) for run in runs], origins(folder), facts)
    return folder


def _key(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(row[name] for name in report.KEY)


class Trained(NamedTuple):
    """What is kept of a run: under which name, which files, and a card of its weights."""

    name: str
    parts: dict[str, bytes]
    card: dict[str, Any]


def _trained(run: Path) -> Trained:
    found = checkpoint.load(run)
    try:
        parts = {part: (run / part).read_bytes() for part in ("config.json", "log.jsonl", "run.json")}
    except OSError as error:
        raise UserError(f"{files.describe_error(error)}: give a run directory as wildsr train leaves it") from None
    return Trained(short(run.resolve().name), parts, {"weights_sha256": found.weights_sha256, "images_seen": found.metadata["images_seen"]})


def _rounded(benches: Sequence[Path], metrics: Sequence[str]) -> list[dict[str, Any]]:
    rows = report.read_rows(benches)
    measured = {f"{row['metric']}-{row['space']}" for row in rows}
    for metric in metrics:
        if metric not in measured:
            raise UserError(f"--metric {metric}: {config.nearest(metric, measured)}")
    rows = [row for row in rows if f"{row['metric']}-{row['space']}" in (metrics or measured)]
    for row in rows:
        row["model"] = short(row["model"])
        row["value"] = row["value"] if row["value"] is None else round(row["value"], DECIMALS)
    return rows


def _put(
    folder: Path,
    rows: Sequence[dict[str, Any]],
    trained: Sequence[Trained],
    before: Sequence[dict[str, Any]],
    facts: Facts,
) -> None:
    known = {model for origin in before for model in origin["models"]}
    models = {row["model"] for row in rows if row["weights_sha256"]} | {run.name for run in trained}
    folder.mkdir(parents=True, exist_ok=True)
    files.write_bytes(folder / "rows.jsonl.xz", lzma.compress("".join(map(files.to_line, rows)).encode(), preset=9))
    for run in trained:
        for part, data in run.parts.items():
            files.write_bytes(folder / "runs" / run.name / part, data)
        files.write_text(folder / "runs" / run.name / "weights.json", files.to_json(run.card))
    alike = [origin for origin in before if {**origin, **facts} == origin]
    further = {"models": sorted(models - known | {model for origin in alike for model in origin["models"]}), **facts}
    files.write_text(folder / "facts.json", files.to_json([*(origin for origin in before if origin not in alike), further]))


def origins(folder: Path) -> list[dict[str, Any]]:
    """Where a folder's models come from, in the order in which they were kept: their names, machine, commits and command."""
    return files.read_json(folder / "facts.json")


def short(label: str) -> str:
    """A label without the name of a sweep's only axis."""
    return re.sub(r"^[\w.]+=([^,=]+),seed=(\d+)$", r"\1-seed\2", label)


# Making


def values(folder: Path, suite: str, metric: str | None = None) -> str:
    """Means by set and degradation."""
    rows = _rows(folder, suite)
    return f"{report.table_markdown(rows, *_metric(metric))}\n{_origin(folder, rows)}"


def gains(folder: Path, suite: str, over: str, only: str = "", metric: str | None = None) -> str:
    """Gains over a method, with intervals."""
    rows, names = _rows(folder, suite), list(filter(None, only.split(",")))
    table = report.gains_markdown(rows, over, *_metric(metric), only=names)
    methods = methods_of(rows)
    shown = [named(name, methods) for name in (over, *names)] if names else methods
    models = {model for method in shown if method for model in method.models}
    return f"{table}\n{_origin(folder, [row for row in rows if row['model'] in models])}"


def aims(folder: Path, suite: str, model: str, sets: str, **wanted: str) -> str:
    """A model's gains over bicubic beside what was aimed at, in dB of RGB PSNR; bold where it is reached."""
    rows = _rows(folder, suite)
    summary = report.summarize(rows, "psnr", "rgb")
    lines = [f"| gain over bicubic, dB | {' | '.join(wanted)} |", f"| --- |{' ---: |' * len(wanted)}"]
    lines.append(f"| aim | {' | '.join(f'{float(aim):+.2f}' for aim in wanted.values())} |")
    for name in sets.split(","):
        found = []
        for degradation, aim in wanted.items():
            ours, plain = (summary.cell(one, name, degradation).mean for one in (model, "bicubic"))
            if ours is None or plain is None:
                raise UserError(f"{folder}: {model} was not measured on {name} {degradation}")
            gain = ours - plain
            found.append(f"**{gain:+.2f}**" if gain >= float(aim) else f"{gain:+.2f}")
        lines.append(f"| {name} | {' | '.join(found)} |")
    return "\n".join([*lines, "", _origin(folder, [row for row in rows if row["model"] == model])])


def _origin(folder: Path, rows: Sequence[dict[str, Any]]) -> str:
    """Which weights were measured, by which commits, on what."""
    hashes = {row["model"]: row["weights_sha256"][:12] for row in rows if row["weights_sha256"]}
    parts = []
    for origin in origins(folder):
        weights = ", ".join(f"{model} `{sha256}`" for model, sha256 in hashes.items() if model in origin["models"])
        parts += [f"Weights (SHA-256): {weights}. {origin['commits']}. {origin['machine']}."] if weights else []
    return "\n\n".join(parts)


def _rows(folder: Path, suite: str) -> list[dict[str, Any]]:
    rows = [row for row in _read(folder, (folder / "rows.jsonl.xz").stat().st_mtime_ns) if row["suite"] == suite]
    if not rows:
        raise UserError(f"{folder}: no row of suite {suite!r}")
    return rows


@functools.lru_cache(maxsize=1)
def _read(folder: Path, _changed: int) -> list[dict[str, Any]]:
    """A folder's rows, which its tables share."""
    return report.read_rows([folder])


def _metric(text: str | None) -> tuple[str | None, str]:
    name, _, space = (text or "-rgb").rpartition("-")
    return name or None, space


def trainings(folder: Path) -> str:
    """A line for each training."""
    lines = [
        "| training | parameters | steps × LR patches | minutes | loss, last tenth | weights (SHA-256) |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for run in runs_of(folder):
        card = _card(run)
        lines.append(
            f"| [{card['name']}](../results/{folder.name}/trainings.md) | {card['parameters']:,} | {card['steps']:,} × {card['patches']} | "
            f"{card['minutes']:.3g} | {card['loss']:.5f} | `{card['weights'][:12]}` |"
        )
    several = origins(folder)
    for origin in several:
        whose = f"{', '.join(origin['models'])}: " if len(several) > 1 else ""
        lines += ["", f"{whose}{origin['commits']}. {origin['machine']}."]
    return "\n".join([*lines, "", "Minutes are those in steps.", ""])


def cards(folder: Path) -> str:
    """A card for each training of a folder."""
    parts = [
        f"# The trainings of {folder.name}",
        "Made by `python benchmarks/ledger.py write` from what is kept beside this file.",
    ]
    for origin in origins(folder):
        parts += [f"```\n{origin['command']}\n```", f"{origin['commits']}. {origin['machine']}."]
        parts += itertools.chain.from_iterable(_card_parts(run) for run in runs_of(folder) if run.name in origin["models"])
    return "\n\n".join(parts) + "\n"


def _card_parts(run: Path) -> list[str]:
    card = _card(run)
    lines = {
        "Recipe and seed": f"{card['recipe']}, seed {card['seed']}",
        "Network": f"{card['network']}, {card['parameters']:,} parameters",
        "Regularisers": card["regularizers"],
        "Sharpened targets": "yes" if card["usm"] else "no",
        "Started from": f"weights `{card['init']}`" if card["init"] else "random weights",
        "Steps": f"{card['steps']:,} of {card['patches']} LR patches, {card['precision']}",
        "Time in steps": f"{card['minutes']:.3g} minutes",
        "Code": card["code"],
        "Pictures": f"fingerprint `{card['pictures']}`",
        "Weights": f"SHA-256 `{card['weights']}`",
        "Everything else": f"[config.json](runs/{card['name']}/config.json), [log.jsonl](runs/{card['name']}/log.jsonl)",
    }
    table = "\n".join(["| | |", "| --- | --- |", *(f"| {what} | {value} |" for what, value in lines.items())])
    return [f"## {card['name']}", table, f"![Pixel loss over the steps](runs/{card['name']}/curve.svg)"]


def runs_of(folder: Path) -> list[Path]:
    """The kept trainings of a folder, by name."""
    return sorted(path for path in (folder / "runs").glob("*") if path.is_dir())


def _card(run: Path) -> dict[str, Any]:
    training = config.build(TrainConfig, files.read_json(run / "config.json"), str(run))
    facts, weights, log = files.read_json(run / "run.json"), files.read_json(run / "weights.json"), files.read_jsonl(run / "log.jsonl")
    losses = read_run(run).losses["pixel"]
    last = [loss for step, loss in losses if step > 0.9 * losses[-1][0]]
    starts = [record for record in log if record["event"] == "start"]
    network = training.network.model_dump()
    return {
        "name": run.name,
        "recipe": training.recipe,
        "seed": training.seed,
        "network": f"{network.pop('name')} ({', '.join(f'{key} {value}' for key, value in network.items())})",
        "parameters": recipes.cost(training).parameters,
        "usm": training.target_usm,
        "regularizers": ", ".join(json.dumps(one.model_dump()) for one in training.regularizers) or "none",
        "steps": weights["images_seen"] // training.batch_size,
        "patches": training.lr_patches,
        "precision": " and ".join(dict.fromkeys(f"{start['precision']} on {start['device']}, {start['torch']}" for start in starts)),
        "minutes": minutes_of(log),
        "loss": sum(last) / len(last),
        "init": (facts["init"] or {}).get("weights_sha256"),
        "code": ", ".join(dict.fromkeys(segment["code_version"] for segment in facts["segments"])),
        "pictures": facts["data_fingerprint"],
        "weights": weights["weights_sha256"],
    }


def minutes_of(log: Sequence[dict[str, Any]]) -> float:
    """The time that steps took, which are logged as means since the last record; what a resumed run did twice counts twice."""
    at, seconds = 0, 0.0
    for record in log:
        if record["event"] == "start":
            at = record["first_step"]
        elif record["event"] == "step":
            seconds += (record["step"] - at) * sum(record["seconds"].values())
            at = record["step"]
    return seconds / 60


WIDTH, HEIGHT, LEFT, BELOW = 480, 160, 60, 24


def curve(run: Run) -> str:
    """The pixel loss as an SVG picture, smoothed, on an axis from the lowest to the highest value. Small, and the same bytes whatever is
    installed, which a plotting library's are not."""
    points = smooth(run.losses["pixel"])
    low, high, end = min(value for _, value in points), max(value for _, value in points), points[-1][0]
    across, down = WIDTH - LEFT - 10, HEIGHT - BELOW - 10
    places = " ".join(f"{LEFT + across * step / end:.1f},{10 + down * (high - value) / (high - low or 1):.1f}" for step, value in points)
    words = [(LEFT - 6, 16, "end", f"{high:.4f}"), (LEFT - 6, 10 + down, "end", f"{low:.4f}")]
    words += [(LEFT, HEIGHT - 6, "start", "step 0"), (WIDTH - 10, HEIGHT - 6, "end", f"{end:,}")]
    texts = "".join(f'<text x="{x}" y="{y}" text-anchor="{anchor}">{word}</text>' for x, y, anchor, word in words)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="11" fill="#667">'
        f'<rect x="{LEFT}" y="10" width="{across}" height="{down}" fill="none" stroke="#ccd"/>'
        f'<polyline points="{places}" fill="none" stroke="#0a6ebd" stroke-width="1.5"/>{texts}</svg>\n'
    )


KINDS: dict[str, Callable[..., str]] = {"values": values, "gains": gains, "aims": aims, "trainings": trainings}


def made(document: str, kept: Path = KEPT) -> str:
    """A document with every block between its comments made anew. Raises UserError for a block that asks for what is not there."""

    def block(match: re.Match[str]) -> str:
        kind, name, *rest = match["asked"].split()
        if kind not in KINDS:
            raise UserError(f"<!-- made: {match['asked']} -->: {config.nearest(kind, KINDS)}")
        body = KINDS[kind](kept / name, **dict(part.split("=", 1) for part in rest))
        return f"{match[1]}{body.strip()}\n{match[4]}"

    return BLOCK.sub(block, document)


def write() -> None:
    """Makes everything anew."""
    document = made(DOCUMENT.read_text(encoding="utf-8"))
    files.write_text(DOCUMENT, document)
    for folder in sorted(path for path in KEPT.iterdir() if path.is_dir()):
        runs = runs_of(folder)
        for run in runs:
            files.write_text(run / "curve.svg", curve(read_run(run)))
        files.write_text(folder / "trainings.md", cards(folder))
        if f"results/{folder.name}/report.html" in document:
            report.write_page(folder / "report.html", [folder], runs, title=f"wildsr: {folder.name}")


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in (keep, add):
        keeping = verbs.add_parser(verb.__name__)
        keeping.add_argument("name")
        keeping.add_argument("benches", nargs="+", type=Path)
        keeping.add_argument("--run", nargs="+", type=Path, required=verb is keep, default=(), dest="runs")
        keeping.add_argument("--machine", required=True)
        keeping.add_argument("--commits", required=True)
        keeping.add_argument("--command", required=True)
        keeping.add_argument("--metric", nargs="+", default=(), dest="metrics")
        keeping.set_defaults(do=verb)
    verbs.add_parser("write").set_defaults(do=write)
    asked = vars(parser.parse_args())
    del asked["verb"]
    try:
        if (folder := asked.pop("do")(**asked)) is not None:
            print(folder)
    except UserError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
