"""What is worked out of a network on pictures: arrays and rows, kept so that an interrupted study goes on where it was.

The papers' Figures 6 to 9: channel saliency, single and cumulative ablation, feature maps (Reflash Dropout, CVPR 2022, Section 6), clusters
of degradations; and SRGA, local attribution, feature cosines."""

import json
import math
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from wildsr import files, images, interpret
from wildsr.errors import UserError

Row = dict[str, Any]

OF_CHANNELS = ("csm", "ablation", "cumulative", "features")
"""What is asked of channels; it lies together."""


@dataclass(frozen=True)
class Subject:
    """A network in eval mode, and what its rows say of it."""

    name: str
    net: nn.Module
    scale: int
    weights_sha256: str | None = None


@dataclass(frozen=True)
class Picture:
    """Ground truth, and what the network gets of it, in [0, 1]."""

    name: str
    hr: UInt8[Tensor, "3 sh sw"]
    lr: Float[Tensor, "1 3 h w"]


@dataclass(frozen=True)
class Options:
    """How. site: where channels are looked at. rescale: of what an ablation leaves, "absolute", "plain" or "none" (`interpret.ablate`).
    orders: random orders of a cumulative ablation. seeds: of t-SNE. folder: where features go that do not fit into memory."""

    site: str = "last"
    rescale: interpret.Rescale = "absolute"
    orders: int = 20
    seeds: tuple[int, ...] = (0, 1, 2)
    seed: int = 0
    folder: Path | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """What results hang on."""
        return {"site": self.site, "rescale": self.rescale, "orders": self.orders, "seeds": list(self.seeds), "seed": self.seed}


@dataclass(frozen=True)
class Found:
    """Arrays by name, and a row for every number."""

    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)


Inputs = Sequence[tuple[str, str, Float[Tensor, "1 3 h w"]]]
"""(picture, degradation, input), all of one size."""


def channels(subject: Subject, picture: Picture, what: Sequence[str], options: Options) -> Found:
    """Saliency of every channel at a site, with the feature itself; with "ablation" what each channel's loss costs, and with "cumulative"
    the PSNR over ever more lost channels. Raises UserError where saliency is undefined."""
    device = interpret.device_of(subject.net)
    lr = picture.lr.to(device)
    seen = interpret.saliency(subject.net, lr, options.site)
    feature = interpret.features(subject.net, lr, options.site)[0].float().cpu()
    with torch.no_grad():
        sr = images.to_uint8(subject.net(lr)[0].cpu())
    scores = seen.scores.double().cpu().numpy()
    arrays = {
        "feature": feature.half().numpy(),
        "map": seen.map.half().cpu().numpy(),
        "scores": scores,
        "gini_scores": np.array(interpret.gini(seen.scores)),
        "hr": picture.hr.numpy(),
        "lr": images.to_uint8(picture.lr[0]).numpy(),
        "sr": sr.numpy(),
    }
    rows = [{"key": "saliency score", "channel": c, "value": float(score)} for c, score in enumerate(scores)]
    rows.append({"key": "gini of saliency scores", "value": float(arrays["gini_scores"])})
    rows.append({"key": "detail", "value": float(seen.detail)})
    if "ablation" in what:
        ablation = interpret.ablate(subject.net, lr, picture.hr, options.site, rescale=options.rescale)
        drops = ablation.drops
        known = np.isfinite(drops)
        arrays |= {"psnr": np.array(ablation.psnr), "drops": drops}
        arrays["rank"] = np.array(interpret.rank_correlation(scores[known], drops[known]) if known.sum() > 2 else math.nan)
        # A channel whose loss helps is of no importance, not of a negative one.
        arrays["gini_drops"] = np.array(
            interpret.gini(torch.from_numpy(drops[known].clip(min=0))) if (drops[known] > 0).any() else math.nan
        )
        rows += [{"key": "psnr drop", "channel": c, "value": _number(drop)} for c, drop in enumerate(drops)]
        rows.append({"key": "psnr", "value": _number(ablation.psnr)})
        rows.append({"key": "rank correlation of scores and drops", "value": _number(arrays["rank"])})
        rows.append({"key": "gini of psnr drops", "value": _number(arrays["gini_drops"])})
    if "cumulative" in what:
        curves = _cumulative(subject, lr, picture, scores, options)
        arrays |= curves
        for order in ("index", "saliency", "reverse"):
            rows += [{"key": "psnr", "order": order, "k": k, "value": _number(value)} for k, value in enumerate(curves[order])]
        for k in range(curves["random"].shape[1]):
            middle = np.median(curves["random"][:, k])
            rows.append({"key": "psnr, median of random orders", "order": "random", "k": k, "value": _number(middle)})
    return Found(arrays, rows)


def _cumulative(subject: Subject, lr: Tensor, picture: Picture, scores: np.ndarray, options: Options) -> dict[str, np.ndarray]:
    """PSNR in dB with k = 0 … C channels off, in each order."""

    def curves(order: str) -> np.ndarray:
        found = interpret.cumulative(
            subject.net,
            lr,
            picture.hr,
            options.site,
            order=order,
            scores=None if order in ("index", "random") else scores,
            orders=options.orders,
            seed=options.seed,
            rescale=options.rescale,
        )
        return found.psnrs

    named = {"index": "index", "saliency": "important-first", "reverse": "important-last"}
    return {**{name: curves(order)[0] for name, order in named.items()}, "random": curves("random")}


def attribution(subject: Subject, picture: Picture) -> Found:
    """What the pixels around the middle of a picture give to its detail (`interpret.lam`)."""
    found = interpret.lam(subject.net, picture.lr, unit="output")  # as the published indices are
    arrays = {
        "signed": found.signed.float().numpy(),
        "diffusion": np.array(found.diffusion),
        "gini": np.array(found.gini),
        "window": np.array(found.window),
        "lr": images.to_uint8(picture.lr[0]).numpy(),
    }
    return Found(arrays, [{"key": "diffusion index", "value": found.diffusion}, {"key": "gini of attributions", "value": found.gini}])


def clusters(subject: Subject, inputs: Inputs, photographs: Mapping[str, str], options: Options) -> Found:
    """The clusters that degradations form (`interpret.ddr`). photographs: which each picture is a piece of."""
    found = interpret.ddr(
        subject.net,
        inputs,
        options.site,
        photographs=photographs,
        seeds=options.seeds,
        seed=options.seed,
        folder=options.folder,
    )
    chi = found.chi["pca"]
    arrays = {
        "scores": found.scores.numpy(),
        "labels": np.array(found.labels),
        "names": np.array(found.names),
        "explained": found.explained.numpy(),
        "chi": np.array([chi.value, chi.low, chi.high]),
        "chi_tsne": np.array(found.chi["tsne"]),
        "embeddings": np.stack([embedding.numpy() for embedding in found.embeddings.values()]),
        "farthest": np.array(found.farthest or ""),
    }
    rows: list[Row] = [
        {"key": "chi, principal components", "value": _number(chi.value), "low": _number(chi.low), "high": _number(chi.high)}
    ]
    rows += [
        {"key": "chi, t-SNE", "seed": s, "value": _number(value)} for s, value in zip(found.embeddings, found.chi["tsne"], strict=True)
    ]
    rows += [{"key": "distance from clean", "degradation": name, "value": value} for name, value in found.from_clean.items()]
    return Found(arrays, rows)


def indices(subject: Subject, inputs: Inputs, options: Options) -> Found:
    """The generalisation index SRGA of every degradation, with clean inputs as reference (`interpret.srga`)."""
    sets: dict[str, list[Tensor]] = {}
    for _, degradation, lr in inputs:
        sets.setdefault(degradation, []).append(lr)
    reference = sets.pop("clean")
    found = interpret.srga(subject.net, reference, sets, options.site, folder=options.folder)
    return _by_degradation("srga", {name: one.value for name, one in found.items()})


def cosines(subject: Subject, inputs: Inputs, options: Options) -> Found:
    """The mean cosine between the features of clean and of degraded inputs, by degradation (`interpret.feature_cosine`)."""
    clean = {name: lr for name, degradation, lr in inputs if degradation == "clean"}
    device = interpret.device_of(subject.net)
    found: dict[str, list[float]] = {}
    for name, degradation, lr in inputs:
        if degradation != "clean":
            cosine = interpret.feature_cosine(subject.net, clean[name].to(device), lr.to(device), site=options.site)
            found.setdefault(degradation, []).append(float(cosine[0]))
    return _by_degradation("feature cosine", {name: sum(values) / len(values) for name, values in found.items()})


def _by_degradation(key: str, values: Mapping[str, float]) -> Found:
    arrays = {"names": np.array(list(values)), "values": np.array(list(values.values()))}
    return Found(arrays, [{"key": key, "degradation": name, "value": _number(value)} for name, value in values.items()])


def _number(value: Any) -> float | None:
    """A finite number, or None."""
    return float(value) if math.isfinite(value) else None


@dataclass(frozen=True)
class Task:
    """One file of arrays: OUT/arrays/KIND/MODEL/NAME.npz, and how it comes about. `about` is all that its content hangs on, `parts` what of
    it is asked for: a file that holds others keeps them, and `work` gets those that it lacks."""

    kind: str
    model: str
    name: str
    about: dict[str, Any]
    work: Callable[[Sequence[str]], Found]
    parts: tuple[str, ...] = ()

    def path(self, out: Path) -> Path:
        """Where its arrays lie."""
        return out / "arrays" / self.kind / self.model / f"{self.name}.npz"

    def run(self, out: Path) -> list[Row]:
        """Its rows: worked out, or those of a file that is there and says the same of itself."""
        path = self.path(out)
        there = stored(path)
        before = there[0].pop("what", []) if there is not None else []
        old = there if there is not None and there[0] == json.loads(json.dumps(self.about)) else None
        lacking = [part for part in self.parts if old is None or part not in before]
        if old is not None and not lacking:
            return old[1]
        found = self.work(lacking)
        shared = {
            "kind": self.kind,
            "name": self.name,
            **{key: self.about[key] for key in ("model", "weights_sha256", "site", "image", "code_version")},
        }
        rows, arrays = [{**shared, **row} for row in found.rows], found.arrays
        if old is not None:  # what all parts have in common is worked out with each of them
            known = {_what(row) for row in old[1]}
            rows, arrays = [*old[1], *(row for row in rows if _what(row) not in known)], {**arrays, **_arrays(path)}
        about = {**self.about, **({"what": list(dict.fromkeys([*(before if old else []), *lacking]))} if self.parts else {})}
        texts = {"about": np.array(json.dumps(about, sort_keys=True)), "rows": np.array(json.dumps(rows))}
        with files.atomic_write(path) as file:
            np.savez_compressed(file, **texts, **arrays)  # pyright: ignore[reportArgumentType]
        return rows


def _what(row: Row) -> tuple[Any, ...]:
    """What a row is the value of."""
    return tuple(sorted((key, str(value)) for key, value in row.items() if key != "value"))


def _arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as there:
        return {name: there[name] for name in there.files if name not in ("about", "rows")}


def stored(path: Path) -> tuple[dict[str, Any], list[Row]] | None:
    """What a file of arrays says of itself, and its rows; None where there is none, or a damaged one."""
    # Opened here: NumPy leaves a damaged archive open.
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as there:
            return json.loads(str(there["about"])), json.loads(str(there["rows"]))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error):
        return None


def others(out: Path, tasks: Sequence[Task]) -> list[Row]:
    """The rows of what earlier starts left in a folder and these tasks do not make: it stays, but for what is of a model's former weights,
    which is removed."""
    weights = {task.model: task.about["weights_sha256"] for task in tasks if not task.name.startswith("step-")}
    made = {task.path(out) for task in tasks}
    rows: list[Row] = []
    for path in sorted((out / "arrays").glob("*/*/*.npz")):
        there = stored(path) if path not in made else None
        if there is None:
            continue
        model, snapshot = path.parent.name, path.stem.startswith("step-")
        if not snapshot and there[0].get("weights_sha256") != weights.get(model, there[0].get("weights_sha256")):
            path.unlink()
        else:
            rows += there[1]
    return rows


PROTOCOL = {"channels": ("rescale", "side", "orders", "seed"), "lam": ("side",)}
"""By kind, what the files of a model must have in common, for means are taken over them."""


def require_one_protocol(out: Path, tasks: Sequence[Task]) -> None:
    """Raises UserError where a folder holds what tasks do not make anew, of the same models on other pictures, by other options."""
    made = {task.path(out) for task in tasks}
    firsts = {(task.kind, task.model): task.about for task in tasks if task.kind in PROTOCOL}
    for (kind, model), about in firsts.items():
        for path in sorted((out / "arrays" / kind / model).glob("*.npz")):
            there = stored(path) if path not in made else None
            if there is None or there[0].get("weights_sha256") != about["weights_sha256"]:
                continue
            for key in PROTOCOL[kind]:
                if there[0].get(key) != about[key]:
                    raise UserError(
                        f"{out} holds {kind} of {model} on {path.stem} with {key} {there[0].get(key)!r}, not {about[key]!r}: "
                        f"use another --out, or name {path.stem} among --images"
                    )


def require_alike(subjects: Sequence[Subject], picture: Picture, site: str) -> None:
    """Raises UserError where the networks' features at a site differ in width, so that channels cannot stand side by side."""
    widths = {
        subject.name: interpret.features(subject.net, picture.lr.to(interpret.device_of(subject.net)), site).shape[1]
        for subject in subjects
    }
    if len(set(widths.values())) > 1:
        listed = ", ".join(f"{name} has {width} channels" for name, width in widths.items())
        raise UserError(f"site {site!r}: {listed}: compare networks of one width, or explain them apart")
