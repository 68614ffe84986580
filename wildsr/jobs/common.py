"""What several jobs share."""

import unicodedata
from pathlib import Path

from rich.console import Console

from wildsr.errors import UserError


def require(sound: bool, name: str, value: object, mend: str) -> None:
    """Raises UserError with a value and its mend where it is not sound."""
    if not sound:
        raise UserError(f"{name} = {value}: {mend}")


def silent(console: Console | None) -> bool:
    """Whether nobody looks at progress."""
    return console is None or not console.is_terminal


def name_of(model: Path | str) -> str:
    """What a model file or run directory is called in results: the run's name (NAME-raw for its raw weights), or the file's."""
    path = Path(model)
    place = path.resolve()
    if not path.is_file():
        return place.name
    return {"model": place.parent.name, "raw": f"{place.parent.name}-raw"}.get(place.stem, place.stem)


def one_line(text: str) -> str:
    """A text that may hold file names, fit for printing: what would break the line or steer a terminal, and bytes that are not UTF-8, are
    written as \\n, \\x1b, \\xff."""
    return "".join(_visible(sign) for sign in text)


def _visible(sign: str) -> str:
    kind = unicodedata.category(sign)
    if kind == "Cs":  # how Python carries a byte of a file name that is no UTF-8
        return f"\\x{ord(sign) & 0xFF:02x}" if "\udc80" <= sign <= "\udcff" else f"\\u{ord(sign):04x}"
    return repr(sign)[1:-1] if kind in ("Cc", "Zl", "Zp") else sign


def model_files(folder: Path | None) -> list[Path]:
    """The model files in a folder, and the run directories, by name. Raises UserError when there are none; [] for no folder."""
    if folder is None:
        return []
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    found = [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in (".safetensors", ".pth") or (path / "model.safetensors").is_file()
    ]
    if not found:
        raise UserError(f"{folder}: holds no model (.safetensors, .pth, run directories)")
    return found
