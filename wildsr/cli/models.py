"""Verbs on model files."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from wildsr.cli.parts import app


@app.command()
def info(
    model: Annotated[Path, typer.Argument(help="Model file of any network, run directory, or a name: default, default-x2.")],
    key: Annotated[str | None, typer.Option(help="Which weights, where a file holds several.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON alone.")] = False,
) -> None:
    """Say what a model file is: its network, what tiles cost, which programs open it, what it says of itself."""
    from wildsr import export

    values = export.describe(model, key)
    if as_json:
        print(json.dumps(values, indent=1))
        return
    for name, value in values.items():
        if isinstance(value, dict) and value:
            print(name)
            for inner, told in value.items():
                print(f"  {inner:<25} {_shown(told)}")
        else:
            print(f"{name:<27} {_shown(value)}")


def _shown(value: Any) -> str:
    """A value on one line, whatever stands in a stranger's file."""
    text = str(value) if isinstance(value, str | int | float | None) else json.dumps(value, ensure_ascii=False)
    return "".join(char if char.isprintable() else " " for char in text)


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="Model file, run directory, or default.", metavar="IN")],
    target: Annotated[
        Path,
        typer.Argument(
            help="What to write, told by its ending: .safetensors, .pth, .onnx, .pt2 (torch.export), .json (OpenModelDB), .md (card).",
            metavar="OUT",
        ),
    ],
    key: Annotated[str | None, typer.Option(help="Which weights, where a file holds several.")] = None,
    dtype: Annotated[str, typer.Option(help="fp32 or fp16.")] = "fp32",
    opset: Annotated[int, typer.Option(help="Of ONNX's operators: 18 to 23.")] = 18,
    layout: Annotated[str, typer.Option(help="Key names of SRResNet in .pth: basicsr, or details (RDSR).")] = "basicsr",
    title: Annotated[str, typer.Option(help="The model's name; by default the source's.")] = "",
    author: Annotated[str, typer.Option(help="Who made the model.")] = "",
    license: Annotated[str, typer.Option(help="SPDX name, such as CC-BY-4.0.")] = "",
    description: Annotated[str, typer.Option(help="What the model is for.")] = "",
    tag: Annotated[list[str], typer.Option(help="Tag of catalogues; may be given again.")] = [],  # noqa: B006 (typer copies it)
    url: Annotated[list[str], typer.Option(help="Where the file can be fetched; may be given again.")] = [],  # noqa: B006
    image: Annotated[list[str], typer.Option(help="Address of a sample picture; may be given again.")] = [],  # noqa: B006
    date: Annotated[str, typer.Option(help="yyyy-mm-dd; by default today, in catalogue entries.")] = "",
    table: Annotated[Path | None, typer.Option(help="table.md of wildsr bench, for the card.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.")] = False,
) -> None:
    """Write a model for other programs: weights, ONNX, torch.export, a catalogue entry, a model card."""
    from wildsr import export, files

    for line in export.convert(
        source,
        target,
        key=key,
        dtype=dtype,
        opset=opset,
        layout=layout,
        title=title,
        author=author,
        license=license,
        description=description,
        tags=tag,
        urls=url,
        images=image,
        date=date,
        table=files.read_text(table) if table is not None else "",
        overwrite=overwrite,
    ):
        print(line)
