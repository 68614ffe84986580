"""The errors that have a name."""

from collections.abc import Sequence


class UserError(ValueError):
    """A mistake of the user's: the message shows the value and the mend, in one plain line. The command line exits with 2."""


class TrainingDivergedError(RuntimeError):
    """A loss or a weight is no longer a finite number; the message names it and the step. The last good save is left as it was."""


class OtherProcessError(RuntimeError):
    """Another process of a training failed, or is gone. `said`: that process, or the first one, has told why."""

    def __init__(self, message: str, *, said: bool = False) -> None:
        super().__init__(message)
        self.said = said


def first_few(problems: Sequence[str], between: str = "; ") -> str:
    """The first ten of many problems, and how many there are besides, for one message."""
    return between.join([*problems[:10], *([f"and {len(problems) - 10} more"] if len(problems) > 10 else [])])


def no_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out. Some of PyTorch's devices, and the CPU, have no class of their own for it."""
    known = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or any(words in str(error) for words in known)
