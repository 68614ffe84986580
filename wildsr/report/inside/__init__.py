"""The section on what is inside the networks: channels one by one, how unequal they are, what is left without them, whether kinds of damage
stand apart, and which pixels count. Each part is there when what it shows was looked at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wildsr.report.inside.channels import ablation_part, inequality_part
from wildsr.report.inside.clusters import clusters_part, weight
from wildsr.report.inside.explained import Explained
from wildsr.report.inside.explorer import explorer_part
from wildsr.report.inside.lam import lam_part
from wildsr.report.inside.values import values_part
from wildsr.report.parts import Html, Look, fill

ROOM = 6_000_000
"""Bytes of the section, at most."""


@dataclass
class Inside:
    """What a page gets: the networks, parts as (id, link, title, body), and what its script reads."""

    models: list[str] = field(default_factory=list)
    parts: list[tuple[str, str, str, Html]] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)

    def add(self, id_: str, link: str, title: str, body: Html) -> None:
        """One more part."""
        self.parts.append((id_, link, title, body))

    @property
    def links(self) -> dict[str, str]:
        """Links by id, for a page that holds nothing else."""
        return {id_: link for id_, link, _, _ in self.parts}

    def section(self) -> Html:
        """All parts as one section of a page that holds others."""
        if not self.parts:
            return Html()
        return fill("inside", parts=[fill("part", id=id_, title=title, body=body) for id_, _, title, body in self.parts])

    def sections(self) -> list[Html]:
        """Each part as a section of its own."""
        return [fill("part-alone", id=id_, title=title, body=body) for id_, _, title, body in self.parts]


def inside(found: Explained, look: Look, room: int = ROOM) -> Inside:
    """The parts that `found` has something for, in at most about `room` bytes; `look` knows the colours of all models in it.

    Raises UserError naming a file that is damaged."""
    made = Inside(list(found.facts))
    attributions = lam_part(found, look) if found.lam else None
    if found.channels:
        room -= len(attributions or "") + weight(found.clusters.values()) + 100_000
        body, made.data["channels"] = explorer_part(found, look, room)
        made.add("channels", "Channels", "Channel by channel", body)
        made.add("inequality", "Inequality", "How unequal channels are", inequality_part(found, look))
        if any(one.curves for by in found.channels.values() for one in by.values()):
            made.add("ablation", "Ablation", "With fewer and fewer channels", ablation_part(found, look))
    if found.clusters or found.snapshots:
        body, made.data["clusters"] = clusters_part(found, look)
        made.add("clusters", "Clusters", "Do kinds of damage stand apart?", body)
    if found.srga:
        made.add("srga", "SRGA", "How features are distributed: SRGA", values_part("srga", found.srga, look))
    if found.cosine:
        made.add("cosine", "Cosines", "Features of clean and of degraded input", values_part("cosine", found.cosine, look))
    if attributions is not None:
        made.add("lam", "Attribution", "Which pixels count", attributions)
    made.add("looked-at", "Method", "What was looked at", _facts(found, look))
    return made


def names_of(found: Explained) -> list[str]:
    """Every name that needs a colour."""
    return list(dict.fromkeys([*found.labels, *found.facts]))


def _facts(found: Explained, look: Look) -> Html:
    rows = []
    for label, facts in found.facts.items():

        def listed(key: str, facts: Sequence[Mapping[str, Any]] = facts) -> str:
            return ", ".join(dict.fromkeys(str(fact[key]) for fact in facts if fact[key] is not None)) or "–"

        hashes = dict.fromkeys(str(fact["weights_sha256"]) for fact in facts if fact["weights_sha256"] is not None)
        widths = dict.fromkeys(str(width) for name, width in found.widths.items() if found.labels[name] == label)
        rows.append(
            fill(
                "looked",
                label=look.label(label),
                hashes=[fill("hash", full=value, short=value[:12]) for value in hashes] or "none",
                site=listed("site"),
                width=", ".join(widths) or "–",
                code=listed("code_version"),
            )
        )
    points = dict.fromkeys(str(len(one.labels)) for one in found.clusters.values())
    pictures = ", ".join(dict.fromkeys([*found.pictures, *found.lam_pictures]))
    return fill("looked-at", rows=rows, pictures=pictures or "–", points=", ".join(points) or "–")
