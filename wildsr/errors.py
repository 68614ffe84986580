"""The errors that have a name."""


class UserError(ValueError):
    """A mistake of the user's: the message shows the value and the mend, in one plain line. The command line exits with 2."""


class TrainingDivergedError(RuntimeError):
    """A loss or a weight is no longer a finite number; the message names it and the step. The last good save is left as it was."""


class OtherProcessError(RuntimeError):
    """Another process of a training failed, or is gone. `said`: that process, or the first one, has told why."""

    def __init__(self, message: str, *, said: bool = False) -> None:
        super().__init__(message)
        self.said = said
