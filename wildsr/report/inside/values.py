"""A number for each set of inputs or degradation: SRGA, and cosines."""

import math
from collections.abc import Mapping

from wildsr.report.charts import Axis
from wildsr.report.inside.drawing import HEIGHT, figure, finite_mean, rules, span
from wildsr.report.inside.explained import Values
from wildsr.report.parts import Html, Look, fill


def values_part(part: str, found: Mapping[str, Values], look: Look) -> Html:
    """Bars side by side for each set or degradation, and the table with the numbers."""
    values = {model: one.values for model, one in found.items()}
    names = list(dict.fromkeys(name for by in values.values() for name in by))
    there = [value for by in values.values() for value in by.values() if math.isfinite(value)]
    up = span(there, 0.0, 1.0 if part == "cosine" else None)
    up = Axis(up.low, up.high + (0 if part == "cosine" else (up.high - up.low) * 0.06), HEIGHT, 0)
    marks = rules(up)
    slot = 100 / max(1, len(names))
    width = min(slot * 0.8 / len(values), slot * 0.24)
    for place, name in enumerate(names):
        centre = (place + 0.5) * slot
        marks.append(fill("column", kind="", x=round(centre, 2), y=HEIGHT, label=name, long=""))
        for index, (model, by) in enumerate(values.items()):
            value = by.get(name, math.nan)
            if math.isfinite(value):
                top, bottom = sorted((up.at(value), up.at(0)))
                left = round(centre + (index - len(values) / 2 + 0.08) * width, 2)
                hint, kind = f"{model}, {name}: {figure(value, 3)}", f"bar c{look.colours[model]}"
                size = round(max(bottom - top, 1), 1)
                marks.append(fill("area", kind=kind, x=left, y=top, width=round(width * 0.84, 2), height=size, hint=hint))
    heads = [fill("strip-head", words=name) for name in names]
    rows = [
        fill(
            "figures",
            label=look.label(model),
            cells=[fill("strip-cell", words=figure(finite_mean(by.values()), 3))]
            + [fill("strip-cell", words=figure(by.get(name, math.nan), 3)) for name in names],
        )
        for model, by in values.items()
    ]
    table = fill("figures-table", heads=heads, rows=rows)
    few = "wide" if len(names) > 12 else ""
    references = dict.fromkeys(one.reference for one in found.values() if one.reference)
    reference = f"Reference: {', '.join(references)}." if references else ""
    return fill(part, reference=reference, legend=look.legend(list(values)), marks=marks, height=HEIGHT, table=table, kind=few)
