"""The benchmark: suites of degradations on folders of pictures, and a row for every number, with all that is needed to trust it."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import PIL
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from wildsr import degrade, files, images, metrics
from wildsr.config import nearest
from wildsr.errors import UserError

CROP_HR = 12
"""HR pictures are cut to multiples of this before anything, so that ×2, ×3 and ×4 share them."""


@dataclass(frozen=True)
class Suite:
    """Named degradations at one scale, scored inside a border of `crop` pixels. Its version changes when a byte of its inputs does."""

    name: str
    version: str
    scale: int
    crop: int
    degradations: tuple[str, ...]


EIGHT = ("clean", "blur", "noise", "jpeg", "b+n", "b+j", "n+j", "b+n+j")

SUITES = {
    suite.name: suite
    for suite in (
        Suite("rdsr8", version="1", scale=4, crop=4, degradations=EIGHT),
        Suite("resizers", version="1", scale=4, crop=4, degradations=("clean", "nearest")),
    )
}
"""`rdsr8`: the eight test degradations of Reflash Dropout (CVPR 2022), Table 1, ×4. `resizers`: bicubic and nearest-neighbour resizing
alone, of its Figure 2."""


@dataclass(frozen=True)
class Contender:
    """Something that upscales, and what its rows say of it. `upscale`: float (1, 3, h, w) in [0, 1] -> (1, 3, s·h, s·w)."""

    name: str
    upscale: Callable[[Tensor], Tensor]
    scale: int
    weights_sha256: str | None = None
    weights_key: str | None = None
    tile: int | None = None
    dtype: str = "float32"


def bicubic(scale: int) -> Contender:
    """Plain resizing by PIL's bicubic, on 8 bits: what a network has to beat."""

    def enlarge(lr: Tensor) -> Tensor:
        picture = images.to_pillow(images.to_uint8(lr[0]))
        larger = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.BICUBIC)
        return images.to_float(images.from_pillow(larger)).unsqueeze(0)

    return Contender("bicubic", enlarge, scale, dtype="uint8")


def find_suite(name: str) -> Suite:
    """The suite of a name. Raises UserError listing what there is."""
    if name not in SUITES:
        raise UserError(f"unknown suite {name!r}: {nearest(name, SUITES)}")
    return SUITES[name]


def read_sets(folders: Sequence[Path | str], suite: Suite) -> dict[str, dict[str, Path]]:
    """Set (the folder's name) -> picture (the file's stem) -> path; every picture is read once, and is large enough to be scored.

    Raises UserError with the names for unreadable and small pictures, and for sets or pictures of one name."""
    sets: dict[str, dict[str, Path]] = {}
    smallest = CROP_HR * math.ceil((2 * suite.crop + 11) / CROP_HR)
    problems: list[str] = []
    for folder in folders:
        name = Path(folder).resolve().name
        if name in sets:
            raise UserError(f"two folders are called {name!r}, and a set is known by its folder's name: rename one")
        sets[name] = images.unique_stems(images.find(folder))
        for path in sets[name].values():
            try:
                picture = images.open_picture(path)
            except UserError as error:
                problems.append(str(error))
                continue
            if min(picture.size) < smallest:
                problems.append(
                    f"{path}: {picture.width}×{picture.height} is too small for {suite.name}: {smallest} pixels a side are needed"
                )
    if problems:
        raise UserError(f"{len(problems)} pictures cannot be measured on (remove or mend them): {'; '.join(problems[:10])}")
    return sets


def read_hr(path: Path | str) -> UInt8[Tensor, "3 h w"]:
    """A ground-truth picture: RGB, cut to multiples of 12."""
    return images.crop_to_multiple(images.read(path), CROP_HR)


def run(
    contenders: Sequence[Contender], suite: Suite, sets: dict[str, dict[str, Path]], *, seed: int = 0, out: Path | None = None
) -> Iterator[dict[str, Any]]:
    """Yields a row for every contender, picture, degradation, metric and colour space; see `_rows` for its fields.

    With `out`, writes the pictures that the rows speak of: hr/SET/STEM.png, lr/SET/DEGRADATION/STEM.png and
    images/SET/DEGRADATION/MODEL/STEM.png, and in the end manifest.json: the SHA-256 of every LR file. A contender that fails on a picture
    gets rows with an `error` and no value. Raises UserError when a contender's scale is not the suite's, or two have one name."""
    for contender in contenders:
        if contender.scale != suite.scale:
            raise UserError(f"{contender.name} upscales ×{contender.scale}, suite {suite.name} is ×{suite.scale}")
    names = [contender.name for contender in contenders]
    if len(set(names)) < len(names):
        raise UserError(f"two models would have the same name in the rows: {', '.join(names)}: rename a file or folder")
    manifest: dict[str, str] = {}
    for set_name, pictures in sets.items():
        for stem, path in pictures.items():
            hr = read_hr(path)
            hr_sha256 = images.pixels_sha256(hr)
            if out is not None:
                images.write(out / "hr" / set_name / f"{stem}.png", hr)
            for degradation in suite.degradations:
                lr = degrade.fixed(hr, degradation, seed=seed, scale=suite.scale)
                data = images.png(images.to_pillow(lr))
                if out is not None:
                    files.write_bytes(out / "lr" / set_name / degradation / f"{stem}.png", data)
                lr_sha256 = manifest[f"{set_name}/{degradation}/{stem}.png"] = files.sha256(data)
                shared = {
                    "scale": suite.scale,
                    "suite": suite.name,
                    "suite_version": suite.version,
                    "set": set_name,
                    "image": stem,
                    "degradation": degradation,
                    "crop": suite.crop,
                    "resizer": f"Pillow {PIL.__version__} bicubic",
                    "hr_sha256": hr_sha256,
                    "lr_sha256": lr_sha256,
                    "seed": seed,
                    "code_version": files.code_version(),
                }
                for contender in contenders:
                    target = None if out is None else out / "images" / set_name / degradation / contender.name / f"{stem}.png"
                    yield from _rows(contender, lr, hr, shared, target)
    if out is not None:
        files.write_text(out / "manifest.json", files.to_json(manifest))


def _rows(
    contender: Contender, lr: UInt8[Tensor, "3 h w"], hr: UInt8[Tensor, "3 sh sw"], shared: dict[str, Any], target: Path | None
) -> Iterator[dict[str, Any]]:
    """One contender's rows on one picture: PSNR and SSIM, in RGB and in Y."""
    sr, error = None, None
    try:
        upscaled = contender.upscale(images.to_float(lr).unsqueeze(0))[0].cpu()
        if not upscaled.isfinite().all():
            raise UserError("the result holds values that are not finite")
        sr = images.to_uint8(upscaled)
        if sr.shape != hr.shape:
            raise UserError(f"the result has the shape {list(sr.shape)}, not {list(hr.shape)}")
    except Exception as problem:  # A model may fail in any way; the others' rows must not be lost for it.
        sr, error = None, f"{type(problem).__name__}: {problem}"
    if sr is not None and target is not None:
        images.write(target, sr)
    for metric, measure in metrics.METRICS.items():
        for space in ("rgb", "y"):
            score = None if sr is None else measure(sr, hr, crop=shared["crop"], space=space)
            yield {
                "model": contender.name,
                "weights_sha256": contender.weights_sha256,
                "weights_key": contender.weights_key,
                **shared,
                "metric": metric,
                "space": space,
                "tile": contender.tile,
                "value": score.value if score is not None and math.isfinite(score.value) else None,
                "infinite": score is not None and math.isinf(score.value),
                "dtype": contender.dtype,
                "protocol": metrics.protocol(metric, space, shared["crop"]),
                "error": error,
            }


def mean_psnr(contender: Contender, suite: Suite, sets: dict[str, dict[str, Path]], *, seed: int = 0) -> dict[str, float]:
    """Mean RGB PSNR in dB by degradation, for watching a training run. Raises UserError when the model fails on a picture."""
    sums: dict[str, list[float]] = {degradation: [] for degradation in suite.degradations}
    for row in run([contender], suite, sets, seed=seed):
        if row["error"]:
            raise UserError(f"{row['set']}/{row['image']} ({row['degradation']}): {row['error']}")
        if (row["metric"], row["space"]) == ("psnr", "rgb") and row["value"] is not None:
            sums[row["degradation"]].append(row["value"])
    return {f"psnr {degradation}": sum(values) / len(values) for degradation, values in sums.items() if values}
