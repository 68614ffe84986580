"""The models that come with wildsr, by name."""

from pathlib import Path

FOLDER = Path(__file__).parents[1] / "shipped"
"""NAME.safetensors, and NAME.md, its card."""

SHIPPED = {path.stem: path for path in sorted(FOLDER.glob("*.safetensors"))}
"""Name -> model file. Wherever a model file is asked for, these names will do; a file or folder of that name is meant by
its absolute path."""

DEFAULT = "default"
"""The one that is taken where none is named: ×4, for photographs."""


def shipped_as(file: Path) -> str | None:
    """The name by which a file comes with wildsr; None of any other file."""
    return next((name for name, path in SHIPPED.items() if path == file), None)


def shipped(path: Path | str) -> Path | None:
    """The file of a model that comes with wildsr, when a path is its name; else None."""
    return SHIPPED.get(str(path))
