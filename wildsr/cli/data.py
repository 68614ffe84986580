"""Verbs on the pictures to train and measure on."""

from pathlib import Path
from typing import Annotated

import typer

from wildsr.cli.parts import app, finish
from wildsr.errors import UserError

data_app = typer.Typer(help="Pictures to train and measure on.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(data_app, name="data")


@data_app.command("list")
def data_list() -> None:
    """List the photographs that need no download, and the sets that can be fetched by name, or how to come by them."""
    from wildsr import datasets, images

    try:
        samples, missing = datasets.samples(), []
    except UserError as error:
        samples, missing = [], [str(error)]
    for path in samples:
        width, height = images.open_picture(path).size
        print(f"{path.stem:<20}{width:>5}×{height:<6}{'held out' if path.stem in datasets.HELD_OUT else 'training':<10}{path}")
    for chosen in datasets.NAMED.values():
        print(f"{chosen.name:<26}{chosen.count or '?':>4} pictures  {chosen.how:<32}{chosen.terms}")
    finish(missing)


@data_app.command("fetch")
def data_fetch(
    name: Annotated[str, typer.Argument(help="A set that wildsr data list shows.", metavar="NAME")],
    root: Annotated[Path, typer.Option(help="Folder of the sets; this one becomes ROOT/NAME.")] = Path("data"),
    url: Annotated[str | None, typer.Option(help="Another place: an archive, or hf://datasets/OWNER/NAME[@REVISION][/PATH].")] = None,
) -> None:
    """Fetch a set by its name, verify and unpack it. The same command again continues what was interrupted."""
    from rich.console import Console

    from wildsr import datasets

    for line in datasets.fetch(name, root, url=url, console=Console(stderr=True))[1]:
        print(line)


@data_app.command("check")
def data_check(
    place: Annotated[str, typer.Argument(help="Folder of pictures, packed file, or Parquet shards.", metavar="PLACE")],
) -> None:
    """Read every picture of a folder, a packed file or Parquet shards, and say which cannot be used, and which sets are there."""
    from wildsr import datasets, jobs

    records, problems = jobs.check([place])
    sides = [min(record.width, record.height) for record in records if not record.problem]
    print(f"{len(records)} pictures, {len(problems)} unreadable" + (f"; the shortest side is {min(sides)} pixels" if sides else ""))
    lines, wrong = datasets.survey(Path(place)) if Path(place).is_dir() else ([], [])
    for line in lines:
        print(line)
    finish([*problems, *wrong], of=len(records) + len(wrong))


@data_app.command("pack")
def data_pack(
    folders: Annotated[list[Path], typer.Argument(help="Folders of pictures, searched recursively.", metavar="FOLDER...")],
    out: Annotated[Path, typer.Option(help="The file to write.", metavar="FILE.safetensors")],
    max_bytes: Annotated[int | None, typer.Option(help="Largest size of the file; of the pictures, as many are drawn as fit.")] = None,
    side: Annotated[int | None, typer.Option(help="Cut each picture to its middle SIDE x SIDE pixels at most.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the drawing.")] = 0,
) -> None:
    """Decode the pictures of folders into one file, from which training reads without decoding."""
    from wildsr import datasets

    taken, found = datasets.pack(folders, out, max_bytes=max_bytes, side=side, seed=seed)
    print(f"{out}: {taken} of {found} pictures, {out.stat().st_size:,} bytes")


@data_app.command("shards")
def data_shards(
    folders: Annotated[list[Path], typer.Argument(help="Folders of pictures, searched recursively.", metavar="FOLDER...")],
    out: Annotated[Path, typer.Option(help="Folder for the shards.")],
    rows: Annotated[int, typer.Option(help="Pictures a shard.")] = 1000,
) -> None:
    """Write the pictures of folders, unchanged, as Parquet shards, which training reads in sequence."""
    from wildsr import datasets

    print(f"{out}: {datasets.write_shards(folders, out, rows=rows)} shards")
