"""Frozen bytes: a manifest of inputs by the hashes of their pixels, and the folders that other projects' tools read them from."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wildsr import files, images
from wildsr.benchmark.inputs import Case, Inputs
from wildsr.errors import UserError

ALIASES = {
    "clean": "bicubic",
    "blur": "blur2_bicubic",
    "noise": "bicubic_noise20",
    "jpeg": "bicubic_jepg50",
    "b+n": "blur2_bicubic_noise20",
    "b+j": "blur2_bicubic_jepg50",
    "n+j": "bicubic_noise20_jepg50",
    "b+n+j": "blur2_bicubic_noise20_jepg50",
}
"""What Reflash Dropout's option files call the folders of the eight (so misspelt there)."""

Manifest = dict[str, Any]


def manifest_of(rows: Sequence[dict[str, Any]]) -> list[Manifest]:
    """A manifest for each suite that rows speak of."""
    found: dict[str, Manifest] = {}
    for row in rows:
        manifest = found.setdefault(row["suite"], _empty(row))
        picture = manifest["sets"].setdefault(row["set"], {}).setdefault(row["image"], {})
        if row["hr_sha256"]:
            picture["hr"] = row["hr_sha256"]
        picture[row["degradation"]] = row["lr_sha256"]
    return list(found.values())


def _empty(facts: dict[str, Any]) -> Manifest:
    kept = {key: facts[key] for key in ("suite", "suite_version", "scale", "seed", "resizer")}
    return {"format": 1, **kept, "numpy": np.__version__, "hashes": "SHA-256 of the pixels, RGB, row by row", "sets": {}}


def _hashes(inputs: Inputs) -> Iterator[tuple[tuple[str, str], dict[str, str]]]:
    for place in inputs.places:
        yield place, _hashes_of(inputs.cases(place))


def _hashes_of(cases: Sequence[Case]) -> dict[str, str]:
    hr = {"hr": cases[0].hr_sha256} if cases[0].hr_sha256 else {}
    return {**hr, **{case.degradation: case.lr_sha256 for case in cases}}


def read_manifest(path: Path) -> list[Manifest]:
    """The manifests of a file. Raises UserError naming it when it holds none."""
    found = files.read_json(path)
    manifests = found if isinstance(found, list) else [found]
    for one in manifests:
        if not isinstance(one, dict) or not {"suite", "suite_version", "scale", "seed", "sets"} <= one.keys() or one.get("format") != 1:
            raise UserError(f"{path}: not a manifest of inputs (wildsr degrade --suite writes one)")
    return manifests


def find_manifest(path: Path, inputs: Inputs) -> Manifest:
    """The one of a file's manifests that speaks of some inputs' suite. Raises UserError where there is none, or of another version,
    scale or seed."""
    suite = inputs.suite
    found = next((one for one in read_manifest(path) if one["suite"] == suite.name), None)
    if found is None:
        raise UserError(f"{path}: a manifest of {', '.join(one['suite'] for one in read_manifest(path))}, not of {suite.name}")
    for key in ("suite_version", "scale", "seed"):
        if found[key] != inputs.facts[key]:
            raise UserError(f"{path}: {key} {found[key]!r}, not {inputs.facts[key]!r}: such inputs cannot be compared")
    return found


def verify(against: Manifest, inputs: Inputs) -> tuple[int, list[str]]:
    """Makes inputs and compares them with a manifest: how many agree, and what differs, a line each: a picture that it does not name,
    another ground truth, another input; one that it names and its set, where that is here, lacks."""
    agree, problems = _compare(against, _hashes(inputs))
    named = {(name, stem) for name in {name for name, _ in inputs.places} for stem in against["sets"].get(name, {})}
    lacking = sorted(named - set(inputs.places))
    return agree, [*problems, *(f"{name}/{stem}: the manifest names it, the set lacks it" for name, stem in lacking)]


def verify_folder(against: Manifest, folder: Path) -> tuple[int, list[str]]:
    """Compares files in the folders of `write_layout` with a manifest."""

    def hashes() -> Iterator[tuple[tuple[str, str], dict[str, str]]]:
        for name, pictures in against["sets"].items():
            for stem, wanted in pictures.items():
                paths = {key: _place(folder, name, key, stem, against["scale"]) for key in wanted}
                yield (name, stem), {key: images.pixels_sha256(images.read(path)) for key, path in paths.items() if path.exists()}

    return _compare(against, hashes())


def _compare(against: Manifest, found: Iterator[tuple[tuple[str, str], dict[str, str]]]) -> tuple[int, list[str]]:
    agree, problems = 0, []
    for (name, stem), hashes in found:
        wanted = against["sets"].get(name, {}).get(stem)
        if wanted is None:
            problems.append(f"{name}/{stem}: the manifest does not name this picture")
            continue
        for key, expected in wanted.items():
            if key not in hashes:
                problems.append(f"{name}/{stem} {key}: missing")
            elif hashes[key] != expected:
                problems.append(f"{name}/{stem} {key}: other pixels ({hashes[key][:12]}, not {expected[:12]})")
            else:
                agree += 1
    return agree, problems


def _place(out: Path, name: str, key: str, stem: str, scale: int) -> Path:
    folder = out / name / "HR" / f"x{scale}" if key == "hr" else out / name / "LR_degra" / ALIASES.get(key, key)
    return folder / f"{stem}.png"


def write_layout(inputs: Inputs, out: Path) -> Iterator[str]:
    """Writes ground truth and inputs as Reflash Dropout's option files expect them: SET/HR/x4/STEM.png and
    SET/LR_degra/FOLDER/STEM.png, and manifest.json beside the sets. Yields each picture's name when it is done.

    Folders have the reference's names (`ALIASES`), or the degradation's own where it has none. Raises UserError where another picture is
    there already, be it the ground truth itself (`images.write_once`)."""
    made = _empty(inputs.facts)
    for name, stem in inputs.places:
        cases = inputs.cases((name, stem))
        if cases[0].hr is not None:
            images.write_once(_place(out, name, "hr", stem, inputs.suite.scale), cases[0].hr)
        for case in cases:
            images.write_once(_place(out, name, case.degradation, stem, inputs.suite.scale), case.lr)
        made["sets"].setdefault(name, {})[stem] = _hashes_of(cases)
        yield f"{name}/{stem}"
    files.write_text(out / "manifest.json", files.to_json(made))
