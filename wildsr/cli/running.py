"""From the arguments to an exit status; every mistake of a user's is one plain line."""

import io
import os
import signal
import sys
import traceback
from typing import Any, NoReturn

import typer

from wildsr.cli.parts import app
from wildsr.errors import OtherProcessError, TrainingDivergedError, UserError, no_memory


def main() -> NoReturn:
    """Runs the command line and exits; every mistake of a user's is one plain line."""
    try:
        _run()
    except SystemExit as leaving:
        if "RANK" not in os.environ:
            raise
        # One of several processes: threads that talk to the others may outlive their group, wait for those that are gone, or abort us.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(leaving.code if isinstance(leaving.code, int) else 0)


def _run() -> NoReturn:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that has no "×" gets "?"
    # Typer carries Click inside in some versions and beside it in others; its public error is a sure way to Click's.
    click_exception: Any = typer.BadParameter.__bases__[0].__bases__[0]
    try:
        status = app(standalone_mode=False)
        sys.stdout.flush()
        sys.exit(status or 0)
    except click_exception as error:
        message = error.format_message()
        if message.startswith("Usage:"):  # a verb is missing, and the message is the help
            print(message, file=sys.stderr)
            sys.exit(2)
        _exit(2, message)
    except BrokenPipeError:
        # Nobody reads what we print (… | head). Python must not complain once more when it closes the pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except UserError as error:
        _exit(2, str(error))
    except OSError as error:
        from wildsr.files import describe_error

        _exit(2, describe_error(error))
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
    except TrainingDivergedError as error:
        _exit(1, str(error))
    except OtherProcessError as error:
        if error.said:
            sys.exit(1)
        _exit(1, str(error))
    except Exception as error:
        if no_memory(error):
            _exit(2, "not enough memory: use smaller pictures, or a smaller --tile")
        traceback.print_exc()
        _exit(1, f"a fault of ours, please report it with the lines above: {type(error).__name__}: {error}")


def _exit(status: int, line: str) -> NoReturn:
    print("wildsr: " + " ".join(line.split()), file=sys.stderr)
    sys.exit(status)
