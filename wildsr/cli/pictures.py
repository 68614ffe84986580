"""Verbs that upscale."""

import math
import sys
from pathlib import Path
from typing import Annotated

import typer

from wildsr.cli.parts import Device, app, finish
from wildsr.errors import UserError


@app.command()
def upscale(
    inputs: Annotated[
        list[str],
        typer.Argument(help="Pictures, folders of them (searched recursively), clips, or - for standard input.", metavar="INPUT..."),
    ],
    model: Annotated[
        list[Path],
        typer.Option(help="Model file, run directory, or a model that comes with wildsr; a second one of the same network for --blend."),
    ] = [Path("default")],  # noqa: B006 (typer copies it)
    blend: Annotated[float | None, typer.Option(help="Weight of the second model's weights, from 0 to 1.")] = None,
    out: Annotated[
        str | None,
        typer.Option(
            help="Folder for the results, which keeps an input folder's tree; a picture's or clip's name for one input; - for standard "
            "output. Without it, STEM_x4.png beside each input.",
            metavar="FOLDER|FILE|-",
        ),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            help="png, jpeg, webp, tiff, avif, bmp, or same: the input's. By default png, and tiff for float samples. What a format cannot "
            "hold (16 bits, transparency) is refused."
        ),
    ] = None,
    suffix: Annotated[str | None, typer.Option(help="Put at the end of a result's name, in place of _x4.", metavar="TEXT")] = None,
    quality: Annotated[int | None, typer.Option(help="1 to 100, of formats that lose something.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Make results again that are there already.")] = False,
    workers: Annotated[int | None, typer.Option("--jobs", help="Threads that encode results; by default 1 to 4.")] = None,
    tile: Annotated[int | None, typer.Option(help="Side in pixels of what is upscaled at once; by default what suits the network.")] = None,
    overlap: Annotated[int | None, typer.Option(help="Pixels of context around a tile; by default what the network needs.")] = None,
    precision: Annotated[str, typer.Option(help="fp32, bf16, fp16, or auto: bf16 where the device computes in it.")] = "auto",
    ensemble: Annotated[bool, typer.Option("--ensemble", help="Mean of eight turned and mirrored results: eight times the work.")] = False,
    outscale: Annotated[float | None, typer.Option(help="How many times larger, such as 2.5; by default the model's.")] = None,
    alpha: Annotated[str, typer.Option(help="How transparency is enlarged: premultiplied, or by the model.")] = "premultiplied",
    max_pixels: Annotated[int, typer.Option(help="Refuse larger inputs.")] = 178_956_970,
    device: Device = "auto",
) -> None:
    """Upscale pictures and clips. What is there already is skipped, so that the same command again goes on."""
    from rich.console import Console

    from wildsr import jobs

    piped = out == "-" or (out is None and "-" in inputs)
    outcome = jobs.upscale_files(
        inputs,
        model,
        out,
        blend=blend,
        format=format,
        suffix=suffix,
        quality=quality,
        overwrite=overwrite,
        jobs=workers,
        device=device,
        tile=tile,
        overlap=overlap,
        precision=precision,
        ensemble=ensemble,
        outscale=outscale,
        alpha=alpha,
        max_pixels=max_pixels,
        say=lambda line: print(line, file=sys.stderr if piped else sys.stdout, flush=True),
        console=Console(stderr=True),
    )
    finish(list(outcome.failed), of=len(outcome.failed) + len(outcome.done) + len(outcome.skipped))


@app.command("app")
def serve(
    model: Annotated[
        list[Path],
        typer.Option(help="Model file or run directory to choose; may be given again. Without one, the model that comes with wildsr."),
    ] = [],  # noqa: B006
    models: Annotated[Path | None, typer.Option(help="Folder whose model files can be chosen.")] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen at; others than this machine's open the page to everybody there.")
    ] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="By default a free one from 7860 on.")] = None,
    max_megapixels: Annotated[float, typer.Option(help="Refuse larger pictures.")] = 16,
    time_limit: Annotated[float, typer.Option(help="Seconds that a picture may take.")] = 600,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
    device: Device = "auto",
) -> None:
    """Serve a page on this machine: drop a picture, choose a model, compare, download."""
    from wildsr import app as page
    from wildsr import jobs

    if not 0 < max_megapixels < math.inf:
        raise UserError(f"max-megapixels = {max_megapixels:g}: use a positive number, such as 64")
    limits = page.Limits(round(max_megapixels * 1e6), time_limit)
    page.serve([*model, *jobs.model_files(models)], host=host, port=port, limits=limits, device=device, browser=browser)
