"""What a stranger needs to know of a model file."""

import json
import zipfile
from pathlib import Path
from typing import Any

from wildsr import checkpoint, files, networks, upscale
from wildsr.errors import UserError
from wildsr.export.elsewhere import facts
from wildsr.export.onnx import describe_onnx
from wildsr.export.program import facts_from

PROGRAM = "extra/wildsr.json"
"""Where a torch.export program of ours keeps its facts."""


def describe(path: Path | str, key: str | None = None) -> dict[str, Any]:
    """A model file as plain values: the file, the network and its size, weights, what tiles cost, which programs open it, and what it says
    of itself. Files of any network that spandrel knows are described too, and those that nothing here can use, with the reason.

    key: which of a file's weights. Raises UserError for what is missing, damaged or unsafe."""
    path = checkpoint.model_file(path, key)
    about: dict[str, Any] = {"file": str(path), "format": "", "bytes": path.stat().st_size, "file_sha256": files.sha256_file(path)}
    if path.with_suffix(".md").is_file():
        about["card"] = str(path.with_suffix(".md"))
    if path.suffix.lower() == ".onnx":
        return {**about, "format": "ONNX", **describe_onnx(path)}
    if _is_program(path):
        return {**about, "format": "torch.export program", **_program(path)}
    stored = checkpoint.read(path)
    weights, picked = stored.pick(key)
    about |= {"format": stored.format}
    own = {
        "parameters": checkpoint.parameter_count(weights),
        "dtype": ", ".join(sorted({str(one.dtype).removeprefix("torch.") for one in weights.values() if one.is_floating_point()})),
        "weights_key": picked,
        "weights_keys": list(stored.groups),
        "weights_sha256": checkpoint.weights_sha256(weights),
    }
    said = {name: text for name, text in stored.metadata.items() if not name.startswith("wildsr.")}
    try:
        found = checkpoint.interpret(stored, key)
    except checkpoint.UnknownNetworkError as error:
        return {**about, **_foreign(path, str(error)), **own, "file_metadata": said}
    except UserError as error:
        return {**about, "architecture": "unknown", "usable": False, "why": _without(path, str(error)), **own, "file_metadata": said}
    config = found.network
    known = facts(config)
    net = checkpoint.build(found)
    return {
        **found.metadata,
        **about,
        "architecture": config.name,
        "network": config.model_dump(mode="json"),
        "size": config.size,
        "scale": config.scale,
        **own,
        "parameters": sum(one.numel() for one in net.parameters()),
        "weights_sha256": found.weights_sha256,
        **_reach(net, found.weights_sha256),
        "opens_in": ["wildsr"] if known.obstacle else ["wildsr", "spandrel", "chaiNNer", "ComfyUI"],
        **({"other_programs": known.obstacle} if known.obstacle else {}),
        "file_metadata": said,
    }


def _reach(net: networks.Network | upscale.Adapted, weights_sha256: str) -> dict[str, Any]:
    """How far a pixel sees, whether tiles are exact, and what sides have to be multiples of in exported programs."""
    overlap = upscale.overlap(net)
    exact = net.radius is not None and net.radius <= overlap
    measured = None if exact else upscale.known_seams(weights_sha256, overlap)
    if exact:
        tiles = f"equal to the whole picture, with an overlap of {overlap}"
    else:
        tiles = str(measured) if measured else f"close to the whole picture, with an overlap of {overlap}; upscaling measures how close"
    return {
        "receptive_radius": _radius(net),
        "tiles": tiles,
        "tiles_exact": exact,
        "multiple_of": net.grid,
    }


def _radius(net: networks.Network | upscale.Adapted) -> int | str:
    if net.radius is not None:
        return net.radius
    return f"more than {upscale.OVERLAP}, as measured" if isinstance(net, upscale.Adapted) else "whole picture"


def _foreign(path: Path, why: str) -> dict[str, Any]:
    """What spandrel says of a file."""
    try:
        model = upscale.load_foreign(path, device="cpu")
    except UserError as error:
        return {"architecture": "unknown", "usable": False, "why": _without(path, f"{why}; {_without(path, str(error))}")}
    return {
        "architecture": model.architecture,
        "scale": model.scale,
        **_reach(model, model.sha256),
        "opens_in": ["wildsr (through spandrel)", "spandrel", "chaiNNer", "ComfyUI"],
    }


def _without(path: Path, text: str) -> str:
    return text.removeprefix(f"{path}: ")


def _is_program(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/archive_format") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError):
        return False


def _program(path: Path) -> dict[str, Any]:
    """What a torch.export program of ours says. The program itself is not opened."""
    with zipfile.ZipFile(path) as archive:
        entry = next((one for one in archive.infolist() if one.filename.endswith(PROGRAM)), None)
        if entry is None or entry.file_size > 1_000_000:
            return {}
        try:
            told = json.loads(archive.read(entry))
        except (ValueError, RecursionError, zipfile.BadZipFile):
            raise UserError(f"{path}: damaged, or half a download") from None
    return facts_from(told) if isinstance(told, dict) else {}
