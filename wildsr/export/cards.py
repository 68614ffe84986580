"""A catalogue entry for OpenModelDB, and a model card for the Hugging Face hub."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wildsr import checkpoint, files, networks
from wildsr.checkpoint import Checkpoint
from wildsr.export.about import About, readable
from wildsr.export.elsewhere import facts


def write_entry(target: Path, found: Checkpoint, about: About, model: Path) -> list[str]:
    """OpenModelDB's JSON with its 13 required keys, of the model file as it lies there; and what a training of ours says of itself. Returns
    what was done, a line each."""
    config = found.network
    known = facts(config)
    kind = "pth" if checkpoint.kind_of(model) == "pickle" else "safetensors"
    resource = {
        "platform": "pytorch",
        "type": kind,
        "size": model.stat().st_size,
        "sha256": files.sha256_file(model),
        "urls": list(about.urls),
    }
    entry: dict[str, Any] = {
        "name": about.title,
        "author": about.author,
        "license": about.license or None,
        "tags": list(about.tags),
        "description": about.description,
        "date": about.date,
        "architecture": known.catalogue,
        "size": list(known.tags),
        "scale": config.scale,
        "inputChannels": 3,
        "outputChannels": 3,
        "resources": [resource],
        "images": list(about.images),
    }
    entry |= _training(found)
    files.write_text(target, files.to_json(entry))
    name = catalogue_name(about.title, config.scale)
    lines = [f"OpenModelDB entry of {model.name}, sha256 {resource['sha256']}"]
    lines += [] if target.stem == name else [f"its id there is the file's name: {name}.json"]
    empty = [option for option in ("author", "license", "description") if not entry[option]] + ([] if about.urls else ["url"])
    lines += [f"still empty: give {', '.join(f'--{option}' for option in empty)}"] if empty else []
    return lines


def catalogue_name(title: str, scale: int) -> str:
    """OpenModelDB's id: "4x-my-model"."""
    plain = "".join(char if char.isascii() and (char.isalnum() or char in "_.-") else "-" for char in title)
    plain = "-".join(part for part in plain.split("-") if part)
    return f"{scale}x-{plain.removeprefix(f'{scale}x-').removeprefix(f'{scale}x') or 'model'}"


def _training(found: Checkpoint) -> dict[str, Any]:
    config = found.metadata.get("config")
    if not isinstance(config, dict):
        return {}
    values = {"trainingIterations": _steps(found, config), "trainingBatchSize": config.get("batch_size")}
    if isinstance(config.get("lr_patch"), int):
        values["trainingHRSize"] = config["lr_patch"] * found.network.scale
    return {**{key: value for key, value in values.items() if isinstance(value, int)}, "trainingOTF": True}


def _steps(found: Checkpoint, config: Mapping[str, Any]) -> Any:
    """The steps that these weights saw, which are fewer than planned where they come from the middle of a training."""
    seen, batch = found.metadata.get("images_seen"), config.get("batch_size")
    return seen // batch if isinstance(seen, int) and isinstance(batch, int) and batch > 0 else config.get("steps")


def write_card(target: Path, found: Checkpoint, about: About, model: Path, table: str) -> list[str]:
    """A model card: front matter, what the model is, how it was trained, how to use it, the benchmark's table (Markdown, when given), and
    its limits. Returns what was done, a line each."""
    config, known = found.network, facts(found.network)
    net = checkpoint.build(found)
    name = checkpoint.shipped_as(model) or readable(model.name)
    load, option = ("", "") if name == checkpoint.DEFAULT else (f'"{name}"', f" --model {name}")
    tags = ["super-resolution", "image-super-resolution", f"x{config.scale}", config.name, *about.tags]
    front = {
        "license": about.license.lower() or "unknown",
        "library_name": "wildsr",
        "pipeline_tag": "image-to-image",
        "tags": list(dict.fromkeys(tags)),
    }
    # JSON's texts and lists are YAML's too.
    lines = ["---", *(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in front.items()), "---", "", f"# {about.title}", ""]
    if about.description:
        lines += [about.description, ""]
    lines += [
        f"A ×{config.scale} super-resolution network: {networks.describe(config)}, "
        f"{sum(one.numel() for one in net.parameters()):,} parameters; RGB in, RGB out, values in [0, 1].",
        *([f"Author: {about.author}."] if about.author else []),
        "",
        "## Training",
        "",
        *_recipe(found),
        "",
        "## Use",
        "",
        "```python",
        "import wildsr",
        "",
        f"model = wildsr.load({load})",
        "larger = model(picture)  # a Pillow image, a NumPy array or a tensor; the same kind comes back",
        "```",
        "",
        "```",
        f"wildsr upscale photo.jpg{option}",
        "```",
        "",
        f"Other programs: {known.obstacle or 'the file opens in spandrel, chaiNNer and ComfyUI (models/upscale_models)'}.",
        *([f"Download: {', '.join(about.urls)}"] if about.urls else []),
        "",
        "## Benchmark",
        "",
        table.strip() or "Not measured yet.",
        "",
        "## Weights",
        "",
        f"- weights_sha256: `{found.weights_sha256}` ({found.weights_key})",
        f"- {readable(model.name)}: {model.stat().st_size:,} bytes, sha256 `{files.sha256_file(model)}`",
        "",
        "## Limits",
        "",
        *_limits(found, net),
    ]
    files.write_text(target, "\n".join(lines) + "\n")
    return [f"model card of {model.name}" + ("" if table.strip() else ", without a benchmark table")]


def _recipe(found: Checkpoint) -> list[str]:
    told = found.metadata
    config = told.get("config")
    lines = [f"- recipe: {told['recipe']}"] if told.get("recipe") else []
    if isinstance(start := told.get("init"), dict):
        lines.append(f"- started from: weights_sha256 `{start.get('weights_sha256')}` ({start.get('weights_key')})")
    if isinstance(config, dict):
        names = ("steps", "batch_size", "lr_patch", "learning_rate", "seed", "ema", "target_usm")
        shown = {name: config[name] for name in names if name in config}
        if "steps" in shown and (run := _steps(found, config)) != shown["steps"]:
            shown["steps"] = f"{run} of {shown['steps']}"
        lines += [f"- {name}: {value}" for name, value in shown.items()]
        degradation = config.get("degradation")
        if isinstance(degradation, dict) and "name" in degradation:
            drawn = json.dumps({key: value for key, value in degradation.items() if key != "name"}, ensure_ascii=False)
            lines.append(f"- degradation: {degradation['name']}, `{drawn}`")
    regularizers = told.get("regularizers")
    if isinstance(regularizers, list):
        shown = ", ".join(json.dumps(one, ensure_ascii=False, sort_keys=True) for one in regularizers)
        lines.append(f"- regularisers: {f'`{shown}`' if shown else 'none'}")
    lines += [f"- {name}: {told[name]}" for name in ("images_seen", "data_fingerprint", "precision", "code_version") if told.get(name)]
    return lines or ["The file says nothing of its training."]


def _limits(found: Checkpoint, net: networks.Network) -> list[str]:
    scale = found.network.scale
    lines = [
        f"- It enlarges by {scale} and by nothing else; other sizes are resized from that.",
        "- It was made for photographs that were degraded as in its training; other damage may be sharpened with the picture.",
        "- What it adds is a guess from other pictures. It is no evidence of what was there: not for faces, plates or medical pictures.",
    ]
    if net.radius is None:
        lines.append("- A pixel depends on the whole picture: one that is upscaled in tiles differs slightly from one that is not.")
    else:
        lines.append(f"- A pixel depends on {net.radius} pixels around it; tiles that overlap by as much give the whole picture's result.")
    return lines
