"""One model file to another kind of file."""

import datetime
from collections.abc import Sequence
from pathlib import Path

from wildsr import checkpoint
from wildsr.checkpoint import Checkpoint
from wildsr.config import nearest
from wildsr.errors import UserError
from wildsr.export.about import About, readable
from wildsr.export.cards import write_card, write_entry
from wildsr.export.onnx import write_onnx
from wildsr.export.program import write_program
from wildsr.export.weights import DTYPES, write_pth, write_safetensors

KINDS = {
    ".safetensors": "flat weights with metadata",
    ".pth": "BasicSR's params and params_ema",
    ".onnx": "ONNX",
    ".pt2": "torch.export program",
    ".json": "OpenModelDB entry",
    ".md": "Hugging Face model card",
}
"""Endings of targets, and what is written there."""

_ONLY = {
    "opset": (".onnx",),
    "layout": (".pth",),
    "table": (".md",),
    "dtype": (".safetensors", ".pth", ".onnx", ".pt2"),
    **dict.fromkeys(("title", "author", "license", "description"), (".safetensors", ".onnx", ".json", ".md")),
    "tag": (".safetensors", ".json", ".md"),
    "url": (".json", ".md"),
    "image": (".json",),
    "date": (".safetensors", ".json"),
}
"""Endings of targets for which an option is."""

LAYOUTS = ("basicsr", "details")
"""Names of SRResNet's keys in .pth files: BasicSR's, or those of RDSR's published models."""


def convert(
    source: Path,
    target: Path,
    *,
    key: str | None = None,
    dtype: str = "fp32",
    opset: int = 18,
    layout: str = "basicsr",
    title: str = "",
    author: str = "",
    license: str = "",
    description: str = "",
    tags: Sequence[str] = (),
    urls: Sequence[str] = (),
    images: Sequence[str] = (),
    date: str = "",
    table: str = "",
    overwrite: bool = False,
) -> list[str]:
    """Writes a model of a known network (`checkpoint.load`: a file or a run directory) as what the target's ending asks for (KINDS).

    key: which weights, where the source holds several. dtype: fp32 or fp16 (weights and programs). opset: of .onnx. layout: of .pth. title
    to date describe the model, each where the target has a place for it; the title is the source's name when nothing is said, the
    date (yyyy-mm-dd) today's in catalogue entries. table: a benchmark's result in Markdown, for the card.

    Returns what was done, a line each. The target appears whole or not at all, and an existing one is kept without `overwrite`. Raises
    UserError for what cannot be done, and for programs that differ from PyTorch's result."""
    kind = target.suffix.lower()
    if kind not in KINDS:
        raise UserError(f"{target}: what to write is told by the ending: use {', '.join(f'{end} ({what})' for end, what in KINDS.items())}")
    for name, value, allowed in (("dtype", dtype, DTYPES), ("layout", layout, LAYOUTS)):
        if value not in allowed:
            raise UserError(f"unknown {name} {value!r}: {nearest(value, allowed)}")
    about_it = {"title": title, "author": author, "license": license, "description": description, "tag": tags, "url": urls, "image": images}
    given = {"opset": opset != 18, "layout": layout != "basicsr", "table": table, "dtype": dtype != "fp32", "date": date, **about_it}
    for name, kinds in _ONLY.items():
        if given[name] and kind not in kinds:
            raise UserError(f"{target}: --{name} is for {', '.join(kinds)}: leave it out")
    if date and not _is_date(date):
        raise UserError(f"date {date!r}: use yyyy-mm-dd, as 2026-05-31")
    model = checkpoint.model_file(source, key)
    inputs = [model, *source.glob("*.safetensors")] if source.is_dir() else [model]
    if target.exists() and any(target.samefile(one) for one in inputs):
        raise UserError(f"{target} is the input and would be overwritten: name another file")
    if target.is_dir():
        raise UserError(f"{target}: a folder: name a file")
    if target.exists() and not overwrite:
        raise UserError(f"{target}: exists: name another file, or use --overwrite")
    stored = checkpoint.read(model)
    found = checkpoint.interpret(stored, key)
    name = source.name if source.is_dir() else source.stem
    about = About(
        readable(title or name or source.resolve().name),
        author,
        license,
        description,
        tuple(tags),
        tuple(urls),
        tuple(images),
        date or (datetime.date.today().isoformat() if kind == ".json" else ""),
    )
    lines: list[str] = []
    try:
        if kind == ".safetensors":
            lines = write_safetensors(target, found, about, dtype)
        elif kind == ".pth":
            lines = write_pth(target, *_pair(source, stored, found, key), layout, dtype)
        elif kind == ".onnx":
            lines = write_onnx(target, found, about, dtype, opset)
        elif kind == ".pt2":
            lines = write_program(target, found, dtype)
        elif kind == ".json":
            lines = write_entry(target, found, about, model)
        else:
            lines = write_card(target, found, about, model, table)
    except UserError as error:
        raise UserError(f"{model} -> {target}: {error}") from None
    return [f"{target}: {KINDS[kind]}, {target.stat().st_size:,} bytes", *lines]


def _is_date(text: str) -> bool:
    try:
        return datetime.date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _pair(source: Path, stored: checkpoint.Stored, found: Checkpoint, key: str | None) -> tuple[Checkpoint, Checkpoint]:
    """What the optimiser holds and its average, where the source has both; else the same weights twice."""
    if key is None and source.is_dir() and (source / "raw.safetensors").is_file():
        return _alike(checkpoint.load(source, "raw"), found)
    averaged = next((name for name in ("params_ema", "params-ema") if name in stored.groups), None)
    if key is None and averaged and "params" in stored.groups:
        return _alike(checkpoint.interpret(stored, "params"), checkpoint.interpret(stored, averaged))
    return found, found


def _alike(raw: Checkpoint, averaged: Checkpoint) -> tuple[Checkpoint, Checkpoint]:
    if raw.network != averaged.network:
        raise UserError("its raw and averaged weights are of different networks: choose one with --key")
    return raw, averaged
