"""Arrays as `wildsr explain` leaves them, small and with numbers that are easy to follow."""

import json
from pathlib import Path
from typing import Any

import numpy as np

SIDE = 16


def save(
    folder: Path, kind: str, model: str, name: str, about: dict[str, Any] | None = None, folder_name: str | None = None, **arrays
) -> Path:
    """One npz file in its place."""
    path = folder / "arrays" / kind / (folder_name or model.replace("/", "_")) / f"{name}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {"kind": kind, "model": model, "weights_sha256": "ab" * 32, "site": "last", "image": name, "side": SIDE, "scale": 4}
    if kind not in ("channels", "lam"):
        facts["image"] = None
    np.savez(path, about=json.dumps(facts | {"code_version": "0.1.0+src.abc"} | (about or {})), **arrays)
    return path


def channels(width=4, seed=0, **other) -> dict[str, Any]:
    """What one model's channels on one picture have: scores 1, 2, 3 and drops 0.1, 0.2, 0.3 and so on, noise as maps."""
    chance = np.random.default_rng(seed)
    steps = np.arange(1, width + 1)
    curve = 30.0 - np.arange(width + 1)
    found = {
        "feature": chance.normal(size=(width, SIDE, SIDE)).astype(np.float16),
        "map": chance.random((width, SIDE, SIDE)).astype(np.float16),
        "scores": steps * 1.0,
        "drops": steps / 10,
        "psnr": 30.0,
        "rank": 1.0,
        "gini_scores": 0.25,
        "gini_drops": 0.5,
        "index": curve,
        "saliency": curve - 1,
        "reverse": curve + 1,
        "random": np.stack([curve + shift for shift in (-0.5, 0.0, 0.5)]),
        "hr": np.zeros((3, SIDE, SIDE), np.uint8),
        "lr": np.zeros((3, SIDE // 4, SIDE // 4), np.uint8),
        "sr": np.full((3, SIDE, SIDE), 200, np.uint8),
    }
    return found | other


def clusters(kinds=("clean", "noise"), many=6, seeds=2, **other) -> dict[str, Any]:
    """Points of two degradations far from each other."""
    chance = np.random.default_rng(0)
    n = len(kinds) * many
    places = np.repeat(np.arange(len(kinds)) * 10.0, many)
    found = {
        "scores": np.stack([places, chance.normal(size=n), chance.normal(size=n)], axis=1),
        "labels": np.repeat(kinds, many),
        "names": np.tile([f"photo{place}" for place in range(many)], len(kinds)),
        "explained": np.array([0.9, 0.06, 0.04]),
        "chi": np.array([120.0, 100.0, 150.0]),
        "chi_tsne": np.array([200.0, 220.0])[:seeds],
        "embeddings": np.stack([np.stack([places * (seed + 1), chance.normal(size=n)], axis=1) for seed in range(seeds)]),
        "farthest": kinds[-1],
    }
    return found | other


def lam(diffusion=12.5, **other) -> dict[str, Any]:
    """An attribution map of 8 × 8 pixels with one pixel that counts, and a window of 8 pixels of the output."""
    signed = np.zeros((8, 8), np.float32)
    signed[2, 3] = -1.0
    found = {
        "signed": signed,
        "diffusion": diffusion,
        "gini": 0.9,
        "window": np.array([8, 16, 16, 24]),
        "lr": np.zeros((3, 8, 8), np.uint8),
    }
    return found | other


def everything(folder: Path, models=("plain", "dropout"), pictures=("baby", "bird"), kinds=("clean", "noise"), width=4) -> Path:
    """A folder with arrays of every kind."""
    for place, model in enumerate(models):
        where = f"model{place}"
        for number, picture in enumerate(pictures):
            about = {"image": picture}
            save(folder, "channels", model, f"p{number}", about, where, **channels(width, seed=10 * place + number))
            save(folder, "lam", model, f"p{number}", about, where, **lam(10.0 * (place + 1) + number))
        save(folder, "ddr", model, "all", None, where, **clusters(kinds))
        for step in (0, 500):
            save(
                folder,
                "ddr",
                model,
                f"step-{step:06d}",
                None,
                where,
                **clusters(kinds, chi=np.array([step / 10 + 1, step / 10, step / 10 + 2])),
            )
        for kind in ("srga", "cosine"):
            save(
                folder, kind, model, "all", {"reference": kinds[0]}, where, names=np.array(kinds), values=np.array([0.5, 0.25]) + place / 10
            )
    (folder / "rows.jsonl").write_text("".join(json.dumps({"kind": "channels", "model": model}) + "\n" for model in models))
    return folder
