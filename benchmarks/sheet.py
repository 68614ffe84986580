"""A sheet of photographs without ground truth: the middle of each, enlarged bicubically and by a model, side by side.

    python benchmarks/sheet.py MODEL FOLDER OUT.jpg [--side 96] [--columns 3] [--width 2400]

Each pair is of the middle SIDE x SIDE pixels of the picture; the whole picture goes through the model, on the CPU, in float32. Bicubic
(Pillow) stands on the left, the model on the right, the file's name below them."""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from wildsr import images, upscale

GAP, LINE = 12, 34


def middle(picture: Image.Image, side: int) -> Image.Image:
    """The middle side x side pixels, or what there is of them."""
    width, height = picture.size
    left, top = max(0, (width - side) // 2), max(0, (height - side) // 2)
    return picture.crop((left, top, min(left + side, width), min(top + side, height)))


def pair(model: upscale.Model, path: Path, side: int) -> Image.Image:
    """Bicubic and the model's, of one size, with a white line between them."""
    photo = images.read_photo(path)
    result = upscale.enlarge(model, photo)
    ours = Image.fromarray(np.concatenate(list(result.rows)).squeeze()).convert("RGB")
    plain = Image.fromarray(photo.pixels.squeeze()).convert("RGB").resize(ours.size, Image.Resampling.BICUBIC)
    parts = [middle(one, side * model.scale) for one in (plain, ours)]
    joined = Image.new("RGB", (2 * parts[0].width + 4, parts[0].height), "white")
    joined.paste(parts[0], (0, 0))
    joined.paste(parts[1], (parts[0].width + 4, 0))
    return joined


def sheet(model: upscale.Model, paths: list[Path], side: int, columns: int) -> Image.Image:
    """All pairs, row by row."""
    width, height = 2 * side * model.scale + 4, side * model.scale
    rows = -(-len(paths) // columns)
    whole = Image.new("RGB", (columns * (width + GAP) + GAP, rows * (height + LINE + GAP) + GAP), "white")
    draw, font = ImageDraw.Draw(whole), ImageFont.load_default(24)
    for n, path in enumerate(paths):
        left, top = GAP + n % columns * (width + GAP), GAP + n // columns * (height + LINE + GAP)
        whole.paste(pair(model, path, side), (left, top))
        draw.text((left, top + height + 2), f"{path.name}: bicubic, model", fill="black", font=font)
    return whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--side", type=int, default=96, help="LR pixels of a picture that are shown")
    parser.add_argument("--columns", type=int, default=3)
    parser.add_argument("--width", type=int, default=2400, help="of the sheet, at most")
    given = parser.parse_args()
    made = sheet(upscale.load(given.model, device="cpu"), images.find(given.folder), given.side, given.columns)
    if made.width > given.width:
        made = made.resize((given.width, round(made.height * given.width / made.width)), Image.Resampling.LANCZOS)
    made.save(given.out, quality=84, optimize=True)
    print(given.out, made.size)


if __name__ == "__main__":
    main()
