"""What several jobs share."""

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
