"""The pieces that the page is made of, and what all its sections share."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from string import Template
from typing import Any

from wildsr.report.methods import Grid, Method
from wildsr.report.tables import Summary


class Html(str):
    """Text that is HTML already; any other is escaped where it enters a page."""


@cache
def asset(*names: str) -> Html:
    """Files that stand beside this one, one after the other."""
    folder = resources.files("wildsr.report")
    return Html("".join(folder.joinpath(name).read_text(encoding="utf-8") for name in names))


@cache
def _parts() -> dict[str, Template]:
    pieces = ("\n" + asset("parts.html")).split("\n@")[1:]
    return {name: Template(body.strip()) for name, _, body in (piece.partition("\n") for piece in pieces)}


def fill(part: str, **values: Any) -> Html:
    """A part of parts.html with its fields filled: Html and lists of Html as they are, all else escaped."""

    def safe(value: Any) -> str:
        return value if isinstance(value, Html) else "".join(map(safe, value)) if isinstance(value, list) else html.escape(str(value))

    return Html(_parts()[part].substitute({name: safe(value) for name, value in values.items()}))


def switch(kind: str, label: str, choices: Mapping[str, str]) -> Html:
    """Buttons of which one is pressed, the first to begin with; nothing where there is no choice."""
    if len(choices) < 2:
        return Html()
    pressed = {value: "true" if value == next(iter(choices)) else "false" for value in choices}
    buttons = [fill("switch-button", kind=kind, value=value, name=name, pressed=pressed[value]) for value, name in choices.items()]
    return fill("switch", label=label, buttons=buttons)


@dataclass(frozen=True)
class Look:
    """What all sections share: the methods, the one that gains are shown against (None: there is only bicubic), and each label's colour."""

    methods: Sequence[Method]
    baseline: str | None
    colours: Mapping[str, int]

    def label(self, name: str) -> Html:
        """A name beside its colour."""
        return fill("label", colour=self.colours[name], name=name)

    def legend(self, names: Sequence[str]) -> list[Html]:
        """Names beside their colours, as the items of a list."""
        return [fill("item", words=self.label(name)) for name in names]


@dataclass(frozen=True)
class Block:
    """One metric of one suite: a page shows the sections of one block at a time."""

    grid: Grid
    first: bool

    @property
    def summary(self) -> Summary:
        return self.grid.summary

    def wrap(self, body: str) -> Html:
        """HTML that is seen while this suite and this metric are chosen."""
        shown = " shown" if self.first else ""
        return fill("block", suite=self.summary.suite, metric=self.summary.key, shown=shown, body=Html(body))
