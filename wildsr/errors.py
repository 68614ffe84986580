"""The one error that a user can mend."""


class UserError(ValueError):
    """A mistake of the user's: the message shows the value and the mend, in one plain line. The command line exits with 2."""
