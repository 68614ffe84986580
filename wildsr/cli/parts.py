"""What the verbs share: the program, options that several have, and how failures are told."""

import sys
from typing import Annotated

import typer

from wildsr import __version__

app = typer.Typer(
    name="wildsr",
    help="Train super-resolution networks that hold up on degradations they never saw, measure that, and upscale pictures.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Places = Annotated[
    list[str],
    typer.Option("--data", help="Folder of pictures, packed file, or Parquet shards (also hf://datasets/OWNER/NAME); may be given again."),
]
Seed = Annotated[int, typer.Option(help="Seed of the noise.")]


@app.callback(invoke_without_command=True)
def _top(version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit


def finish(failed: list[str], of: int | None = None) -> None:
    """Prints what failed; exit status 3, or 2 when nothing succeeded."""
    for line in failed:
        print(f"wildsr: {line}", file=sys.stderr)
    if failed:
        raise typer.Exit(2 if len(failed) == of else 3)
