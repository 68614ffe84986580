"""What several jobs share."""

from rich.console import Console

from wildsr.errors import UserError


def require(sound: bool, name: str, value: object, mend: str) -> None:
    """Raises UserError with a value and its mend where it is not sound."""
    if not sound:
        raise UserError(f"{name} = {value}: {mend}")


def silent(console: Console | None) -> bool:
    """Whether nobody looks at progress."""
    return console is None or not console.is_terminal
