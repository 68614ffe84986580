"""Sweeps: a grid of trainings as runs that can be continued, each measured, with one table and one plot in the end."""

from wildsr.sweep.figure import plot as plot
from wildsr.sweep.grid import Point as Point
from wildsr.sweep.grid import Run as Run
from wildsr.sweep.grid import Sweep as Sweep
from wildsr.sweep.grid import plan as plan
from wildsr.sweep.grid import plan_text as plan_text
from wildsr.sweep.grid import points as points
from wildsr.sweep.grid import read as read
from wildsr.sweep.results import records as records
from wildsr.sweep.results import table as table
from wildsr.sweep.runs import run as run
