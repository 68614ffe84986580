"""Verbs that train."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from wildsr.cli.parts import Device, Places, app, finish
from wildsr.errors import UserError


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for all that the demo makes.")] = Path("wildsr-demo"), device: Device = "auto"
) -> None:
    """Train three small networks, measure them on held-out photographs, and write one page to look at (3 to 7 minutes on two cores)."""
    from wildsr.demo import demo as run

    finish(run(out, device=device))


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A recipe's name, or a .toml or .yaml file.", metavar="RECIPE|FILE")] = "",
    data: Places = [],  # noqa: B006 (typer copies it)
    run_dir: Annotated[Path | None, typer.Option(help="Folder of the run; the same command again continues it.")] = None,
    val: Annotated[Path | None, typer.Option(help="Folder of pictures to score the run on.")] = None,
    init: Annotated[Path | None, typer.Option(help="Model to start from, of the same network; its scale may be another.")] = None,
    overrides: Annotated[list[str], typer.Option("--set", metavar="KEY.PATH=VALUE", help="Override; may be given again.")] = [],  # noqa: B006
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved configuration as JSON and stop.")] = False,
    list_recipes: Annotated[bool, typer.Option("--list", help="Print the recipes and what they cost, and stop.")] = False,
    device: Device = "auto",
) -> None:
    """Train a network, or continue a run."""
    from wildsr import jobs, recipes

    if list_recipes:
        print(jobs.recipes_text())
        return
    if not recipe:
        raise UserError("no recipe: name one, or a .toml or .yaml file (wildsr train --list shows the recipes)")
    config, notes = recipes.load(recipe, overrides)
    first = os.environ.get("RANK", "0") == "0"  # of several processes, one speaks
    for note in notes if first else []:
        print(f"wildsr: {note}", file=sys.stderr)
    if dry_run:
        print(json.dumps(config.dump(), indent=1))
        return
    if not data:
        raise UserError("no pictures to train on: add --data FOLDER")
    if run_dir is None:
        raise UserError("no place for the run: add --run-dir FOLDER")
    model = jobs.train(config, data, run_dir, val=val, init=init, device=device)
    if first:
        print(model)


@app.command()
def sweep(
    file: Annotated[Path, typer.Argument(help="The grid, a .toml or .yaml file.", metavar="FILE")],
    data: Places = [],  # noqa: B006 (typer copies it)
    test: Annotated[list[Path], typer.Option(help="Folder of pictures to measure on; may be given again.")] = [],  # noqa: B006
    out: Annotated[Path | None, typer.Option(help="Folder of the runs, their table and plot; the same command again continues.")] = None,
    overrides: Annotated[list[str], typer.Option("--set", metavar="KEY.PATH=VALUE", help="Override for all runs.")] = [],  # noqa: B006
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the runs and what they cost, and stop.")] = False,
    device: Device = "auto",
) -> None:
    """Train and measure a grid of configurations, and make one table and one plot of them.

    The same command again continues. Several processes of it share the runs, one for each GPU (CUDA_VISIBLE_DEVICES=0 wildsr sweep ...)."""
    from wildsr import sweep as sweeps
    from wildsr.config import parse_overrides

    asked = sweeps.read(file)
    runs = sweeps.plan(asked, parse_overrides(overrides))
    if dry_run:
        print(sweeps.plan_text(runs))
        return
    if not data:
        raise UserError("no pictures to train on: add --data FOLDER")
    if not test:
        raise UserError("no pictures to measure on: add --test FOLDER")
    if out is None:
        raise UserError("no place for the runs: add --out FOLDER")
    failed = sweeps.run(runs, asked.suite, data, test, out, device=device)
    print((out / "table.md").read_text(encoding="utf-8"))
    print(out / "report.html")
    finish(failed)
