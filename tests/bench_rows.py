"""Rows and pictures as `wildsr bench` leaves them, and what a page made of them holds."""

import base64
import html
import io
import json
import re
from pathlib import Path

import numpy as np
from PIL import Image

HOSTILE = "<script>alert(1)</script>"


def row(model="bicubic", image="a", degradation="clean", value: float | None = 20.0, **other):
    """One row as `wildsr bench` writes it."""
    metric, space = other.get("metric", "psnr"), other.get("space", "rgb")
    return {
        "model": model,
        "training": None,
        "training_seed": None,
        "weights_sha256": None if model == "bicubic" else f"{model} weights",
        "weights_key": None if model == "bicubic" else "ema",
        "scale": 4,
        "suite": "rdsr8",
        "suite_version": "1",
        "set": "Set5",
        "image": image,
        "degradation": degradation,
        "words": degradation,
        "seen": None,
        "metric": metric,
        "space": space,
        "crop": 4,
        "resizer": "pil-bicubic",
        "tile": None,
        "hr_sha256": None,
        "lr_sha256": None,
        "value": value,
        "dtype": "float32",
        "seed": 0,
        "code_version": "0.1.0+src.abc",
        "protocol": f"{metric}-{space}-crop4-uint8/1",
        "error": None,
    } | other


def write(folder: Path, rows, name="rows.jsonl") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return path


def grid(values: dict[str, dict[str, tuple[float, ...]]], **other):
    """Rows from {model: {degradation: (value of picture a, of b, ...)}}."""
    return [
        row(model, "abcdefghijkl"[index], degradation, value, **other)
        for model, by in values.items()
        for degradation, found in by.items()
        for index, value in enumerate(found)
    ]


def two_models(**other):
    """Bicubic 21 clean, 19 noise; plain 23, 17; robust 22, 20 dB."""
    return grid(
        {
            "plain": {"clean": (22.0, 24.0), "noise": (16.0, 18.0)},
            "robust": {"clean": (21.0, 23.0), "noise": (19.0, 21.0)},
            "bicubic": {"clean": (20.0, 22.0), "noise": (18.0, 20.0)},
        },
        **other,
    )


def seeds(name: str, values: list[dict[str, tuple[float, ...]]], **other):
    """Rows of one training with a seed for each of some values."""
    return [
        one | {"training": name, "training_seed": seed}
        for seed, by in enumerate(values)
        for one in grid({f"{name}-seed{seed}": by}, **other)
    ]


def pictures(folder: Path, rows, seed=0, size=(40, 48), hr=True, lr=True):
    """Random pictures beside the rows, as the bench leaves them."""
    chance = np.random.default_rng(seed)

    def save(path: Path, height: int, width: int):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(chance.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)

    places = dict.fromkeys((one["suite"], one["set"], one["degradation"], one["model"], one["image"]) for one in rows)
    for suite, name, degradation, model, image in places:
        save(folder / "images" / suite / name / degradation / model / f"{image}.png", *size)
        if hr:
            save(folder / "hr" / name / f"{image}.png", *size)
        if lr:
            save(folder / "lr" / suite / name / degradation / f"{image}.png", size[0] // 4, size[1] // 4)


def payload(page: str):
    """The JSON that the page's script reads."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def section(page: str, name: str) -> str:
    """One section of the page."""
    found = re.search(rf'<section id="{name}".*?(?=<section id="|<footer>)', page, re.DOTALL)
    return found[0] if found else ""


def block(page: str, name: str, metric="psnr-rgb", suite="rdsr8") -> str:
    """What one section shows of one suite and metric."""
    found = re.search(
        rf'<div class="block[^"]*" data-suite="{suite}" data-metric="{metric}">(.*?)(?=<div class="block|\Z)',
        section(page, name),
        re.DOTALL,
    )
    assert found, f"no block of {suite} {metric}"
    return found[1]


def words(part: str) -> str:
    """HTML as its words."""
    return html.unescape(" ".join(re.sub("<[^>]*>", " ", part).split()))


def cells(page: str, over: str | None = None, metric="psnr-rgb", group=0, suite="rdsr8") -> dict[str, list[str]]:
    """{model: its cells} of one group of the table of means, or of the map of gains over "bicubic" or "baseline"."""
    part = block(page, "tables" if over is None else "gains", metric, suite)
    if over is not None:
        found = re.search(rf'data-view="{over}">(.*?)(?=<div class="view|<div class="notes|\Z)', part, re.DOTALL)
        assert found, f"no view {over}"
        part = found[1]
    body = re.findall(r"<tbody>(.*?)</tbody>", part, re.DOTALL)[group]
    return {
        words(re.sub("<small.*?</small>", "", head)): [
            words(re.sub("<i>.*?</i>", "", cell)).replace(" ", "") for cell in re.findall("<td.*?</td>", rest)
        ]
        for head, rest in re.findall(r'<tr class="(?!group)[^"]*"><th scope="row">(.*?)</th>(.*?)</tr>', body, re.DOTALL)
    }


def intervals(page: str, over: str | None = None, metric="psnr-rgb", group=0) -> dict[str, list[str]]:
    """As `cells`, but the intervals under them."""
    part = block(page, "tables" if over is None else "gains", metric)
    if over is not None:
        part = part[part.index(f'data-view="{over}"') :]
    body = re.findall(r"<tbody>(.*?)</tbody>", part, re.DOTALL)[group]
    return {
        words(re.sub("<small.*?</small>", "", head)): [
            words("".join(re.findall("<i>(.*?)</i>", cell))) for cell in re.findall("<td.*?</td>", rest)
        ]
        for head, rest in re.findall(r'<tr class="(?!group)[^"]*"><th scope="row">(.*?)</th>(.*?)</tr>', body, re.DOTALL)
    }


def source(page: str, id_: str) -> str:
    """The data address of one picture of the page."""
    found = re.search(rf'<img id="{id_}"[^>]* src="([^"]*)"', page)
    assert found, f"no picture {id_}"
    return found[1]


def decode(uri: str) -> np.ndarray:
    """The pixels of a data address."""
    assert re.match("data:image/(png|webp);base64,", uri)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB"))


def log(folder: Path, records, config: str | None = '{"recipe": "psnr"}') -> Path:
    """A training run's folder."""
    folder = write(folder, records, "log.jsonl").parent
    if config is not None:
        (folder / "config.json").write_text(config)
    return folder


def step(number, **losses):
    """A record of a training step."""
    return {"event": "step", "step": number, "images": number, "lr": 1e-4, "losses": losses}
