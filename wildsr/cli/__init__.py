"""The command line: verb -> function, nothing else. What a verb needs is imported when it runs: `wildsr --help` must not wait for PyTorch.

Exit status: 0 done; 1 our fault, or a training that diverged or lost a process; 2 a user's mistake; 3 finished, but some items failed;
130 Ctrl-C; 143 SIGTERM."""

# In the order of the help.
from wildsr.cli import training as training  # isort: skip
from wildsr.cli import measuring as measuring  # isort: skip
from wildsr.cli import pictures as pictures  # isort: skip
from wildsr.cli import models as models  # isort: skip
from wildsr.cli import data as data  # isort: skip
from wildsr.cli.parts import app as app
from wildsr.cli.running import main as main
