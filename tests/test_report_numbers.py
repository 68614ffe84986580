"""Means, gains and intervals, duels, generalisation and published numbers, against numbers worked out by hand."""

import math

import numpy as np
import pytest
from bench_rows import grid, row, seeds, two_models

from wildsr import report
from wildsr.report import duels, generalisation, published, tables
from wildsr.report.methods import Cell, Grid, bounds, methods_of
from wildsr.report.parts import Look


def grid_of(rows, metric="psnr", space="rgb", suite=None) -> Grid:
    return Grid(report.summarize(rows, metric, space, suite), methods_of(rows))


def ends(cell: Cell) -> tuple[float | None, float | None]:
    return cell.low, cell.high


# Means and gains


def test_means_and_gains():
    found = grid_of(two_models())
    assert found.names == ["bicubic", "plain", "robust"]
    assert [found.cell("plain", "Set5", name).mean for name in ("clean", "noise", None)] == [23.0, 17.0, 20.0]
    assert [found.cell("plain", "Set5", name, "bicubic").mean for name in ("clean", "noise", None)] == [2.0, -2.0, 0.0]
    assert found.cell("robust", None, "noise", "plain").mean == 3.0
    assert found.best() == ["robust"]


def test_every_set_weighs_the_same():
    rows = [*grid({"bicubic": {"clean": (10.0, 20.0, 30.0)}}), *grid({"bicubic": {"clean": (40.0,)}}, set="Set14")]
    assert grid_of(rows).cell("bicubic").mean == 30.0


@pytest.mark.parametrize("wrong", [{"value": None, "infinite": True}, {"value": math.inf}])
def test_an_infinite_value_makes_the_mean_infinite(wrong):
    rows = [row(), row("net"), row("net", image="b", **wrong), row(image="b")]
    found = grid_of(rows)
    assert found.cell("net").mean == math.inf
    assert found.cell("net", over="bicubic").mean == math.inf
    assert found.cell("bicubic", over="net").mean == -math.inf
    assert ends(found.cell("net")) == (None, None)
    assert "| net | ∞ | ∞ |" in report.table_markdown(rows)


def test_failures_leave_the_means():
    rows = [row(value=10.0), row(image="b", value=20.0), row("net", value=13.0), row("net", image="b", value=None, error="out of memory")]
    found = grid_of(rows)
    cell = found.cell("net")
    assert (cell.mean, cell.count, cell.expected, cell.complete) == (13.0, 1, 2, False)
    assert found.cell("net", over="bicubic").mean == 3.0, "the gain is over the picture that both answered"
    assert found.best() == ["bicubic"], "a mean over fewer pictures wins nothing"


def test_lower_can_be_better():
    rows = [one | {"metric": "niqe", "lower_better": True, "protocol": "niqe/1"} for one in two_models()]
    found = grid_of(rows, "niqe")
    assert found.best() == ["bicubic", "plain"]
    assert found.better(found.cell("plain", None, "clean", "bicubic")) == -1
    assert found.better(found.cell("plain", None, "noise", "bicubic")) == 1


def test_near_zero_can_be_best():
    rows = grid({"bicubic": {"clean": (-3.0,)}, "net": {"clean": (2.0,)}}, metric="energy-0.00-0.25", space="y")
    assert grid_of(rows, "energy-0.00-0.25", "y").best() == ["net"]


# Intervals


def test_two_pictures_span_the_interval():
    """A resample of two pictures is one of them, both, or the other, with probabilities 1/4, 1/2, 1/4."""
    found = grid_of(grid({"bicubic": {"clean": (10.0, 20.0)}}))
    assert ends(found.cell("bicubic", None, "clean")) == (10.0, 20.0)


def test_sets_are_resampled_apart():
    """Both sets at their lower picture: 1/16 of the resamples, more than the 1/40 that may lie below."""
    rows = [*grid({"bicubic": {"clean": (10.0, 20.0)}}), *grid({"bicubic": {"clean": (30.0, 50.0)}}, set="Set14")]
    assert ends(grid_of(rows).cell("bicubic")) == (20.0, 35.0)


def test_gains_are_paired():
    rows = grid({"bicubic": {"clean": (10.0, 30.0)}, "net": {"clean": (11.0, 31.0)}})
    cell = grid_of(rows).cell("net", over="bicubic")
    assert (cell.mean, *ends(cell), cell.certain) == (1.0, 1.0, 1.0, True)


def test_the_mean_over_degradations_meets_the_same_pictures():
    """Picture a has +1 and −1, picture b the opposite: whatever is drawn, the mean is 0."""
    rows = grid({"bicubic": {"clean": (0.0, 0.0), "noise": (0.0, 0.0)}, "net": {"clean": (1.0, -1.0), "noise": (-1.0, 1.0)}})
    found = grid_of(rows)
    assert ends(found.cell("net", over="bicubic")) == (0.0, 0.0)
    assert ends(found.cell("net", None, "clean", "bicubic")) == (-1.0, 1.0)


def test_one_picture_has_no_interval():
    assert ends(grid_of([row()]).cell("bicubic")) == (None, None)


def test_a_method_is_the_mean_of_its_seeds_and_their_spread_is_in_the_interval():
    rows = [*grid({"bicubic": {"clean": (10.0, 10.0)}}), *seeds("plain", [{"clean": (11.0, 11.0)}, {"clean": (13.0, 13.0)}])]
    cell = grid_of(rows).cell("plain", over="bicubic")
    assert (cell.mean, *ends(cell)) == (2.0, 1.0, 3.0)


def test_a_picture_counts_where_every_seed_answered_it():
    rows = [*grid({"bicubic": {"clean": (10.0, 10.0)}}), *seeds("plain", [{"clean": (11.0, 19.0)}, {"clean": (13.0, 19.0)}])]
    rows[-1] |= {"value": None, "error": "broken"}
    cell = grid_of(rows).cell("plain")
    assert (cell.mean, cell.count, cell.expected) == (12.0, 1, 2)


def test_bounds_in_words():
    assert bounds(Cell(1.0, 2, 2, 0.5, 1.25), "psnr") == "0.50–1.25"
    assert bounds(Cell(1.0, 2, 2, -0.5, 1.25), "psnr", gain=True) == "−0.50 … +1.25"
    assert bounds(Cell(1.0, 2, 2), "psnr") == ""


# Duels


def duel(values, first="a", second="b", **other) -> duels.Duel:
    rows = grid({"bicubic": next(iter(values.values())), **values}, **other)
    return duels.Duels(grid_of(rows), ["a", "b"]).duel(first, second)


def test_six_pictures_that_all_gain():
    """The chance that six fair coins agree: 2/64. Two degradations: Holm doubles both."""
    base = (20.0, 21.0, 22.0, 23.0, 24.0, 25.0)
    up = tuple(value + step for value, step in zip(base, (0.25, 0.5, 0.75, 1.0, 1.25, 1.5), strict=True))
    found = duel({"a": {"clean": up, "noise": up}, "b": {"clean": base, "noise": base}})
    line = found.lines["clean"]
    assert (line.count, line.cell.mean, line.p, line.adjusted) == (6, 0.875, 0.03125, 0.0625)
    assert line.cell.certain
    assert found.lines[None].adjusted is None
    assert found.gains == [("clean", 5), ("clean", 4), ("clean", 3)]
    assert found.losses == []


def test_five_pictures_have_no_p():
    base = (20.0, 21.0, 22.0, 23.0, 24.0)
    found = duel({"a": {"clean": tuple(value + 1 for value in base)}, "b": {"clean": base}})
    assert (found.lines["clean"].p, found.lines["clean"].adjusted) == (None, None)
    assert found.lines["clean"].cell == Cell(1.0, 5, 5, 1.0, 1.0)


def test_each_picture_stands_once_on_either_side():
    found = duel({"a": {"clean": (3.0, 0.0), "noise": (5.0, -2.0)}, "b": {"clean": (0.0, 0.0), "noise": (0.0, 0.0)}})
    assert found.gains == [("noise", 0)]
    assert found.losses == [("noise", 1)]
    assert found.lines[None].cell.mean == 1.5


def test_sets_are_pooled_and_a_picture_of_two_sets_counts_once():
    values = {"bicubic": {"clean": (1.0, 2.0)}, "a": {"clean": (2.0, 5.0)}}
    rows = grid(values) + grid({name: {"clean": (by["clean"][1],)} for name, by in values.items()}, set="Set14")
    for one in rows:
        one["hr_sha256"] = {("Set5", "a"): "x", ("Set5", "b"): "y", ("Set14", "a"): "y"}[one["set"], one["image"]]
    found = duels.Duels(grid_of(rows), ["bicubic", "a"])
    assert found.pictures == [("Set5", "a"), ("Set5", "b")]
    assert found.twice == {("Set14", "a"): ("Set5", "b")}
    line = found.duel("a", "bicubic").lines["clean"]
    assert (line.count, line.cell.mean) == (2, 2.0)


def test_of_lower_better_the_smaller_gains():
    rows = grid({"bicubic": {"clean": (2.0, 2.0)}, "a": {"clean": (1.0, 5.0)}}, metric="niqe", lower_better=True)
    found = duels.Duels(grid_of(rows, "niqe"), ["a", "bicubic"]).duel("a", "bicubic")
    assert (found.gains, found.losses) == ([("clean", 0)], [("clean", 1)])


def test_p_values_in_words():
    assert [duels.p_words(p) for p in (None, 0.0004, 0.03125, 1.0)] == ["–", "< 0.001", "0.031", "1.000"]


def test_the_best_are_chosen_for_duels_and_the_opening_is_against_the_baseline():
    rows = grid({"bicubic": {"clean": (0.0,)}} | {f"net{i}": {"clean": (float(i),)} for i in range(9)})
    found = grid_of(rows)
    look = Look(found.methods, "net0", {})
    names = duels.duelists(found, look)
    assert names == ["bicubic", "net0", "net5", "net6", "net7", "net8"]
    assert duels.opening(found, names, look) == ("net8", "net0")


# Generalisation


def two_suites(seen, unseen, near=None):
    """Rows of suites rdsr8 and unseen; each {model: values of pictures}."""
    rows = grid({model: {"clean": values} for model, values in seen.items()}, seen="seen")
    rows += grid({model: {"motion": values} for model, values in unseen.items()}, suite="unseen", seen="unseen")
    return rows + grid({model: {"bilinear": values} for model, values in (near or {}).items()}, suite="unseen", seen="near")


def gaps(rows):
    return generalisation.compare([grid_of(rows, suite=suite) for suite in dict.fromkeys(one["suite"] for one in rows)])


def test_the_gap_is_paired_over_suites():
    """Gains on seen +1 and +3, on unseen 0 and +2: the gap is 1 on either picture."""
    zero = {"bicubic": (10.0, 20.0)}
    found = gaps(two_suites(zero | {"net": (11.0, 23.0)}, zero | {"net": (10.0, 22.0)}, zero | {"net": (14.0, 24.0)}))
    assert found.counts == {"seen": 1, "near": 1, "unseen": 1}
    (gap,) = found.gaps
    assert {kind: cell.mean for kind, cell in gap.gains.items()} == {"seen": 2.0, "near": 4.0, "unseen": 1.0}
    assert ends(gap.gains["seen"]) == (1.0, 3.0)
    assert (gap.difference.mean, *ends(gap.difference)) == (1.0, 1.0, 1.0)


def test_the_gap_is_over_pictures_that_both_suites_have():
    rows = two_suites({"bicubic": (0.0, 0.0, 0.0), "net": (1.0, 1.0, 9.0)}, {"bicubic": (0.0, 0.0), "net": (1.0, 1.0)})
    assert gaps(rows).gaps[0].difference.mean == 0.0


def test_inputs_that_suites_share_count_once():
    """A third suite of two inputs, one as in rdsr8 and one as in unseen under another name, changes no gap and asks nobody for rows."""

    def three(name, gain, **other):
        return grid({name: dict.fromkeys(other.pop("of"), (10.0 + gain, 20.0 + gain))}, **other)

    rows = [
        one
        for name, gain in (("bicubic", 0.0), ("net", 1.0))
        for one in (
            *three(name, gain, of=("clean", "noise", "jpeg"), seen="seen"),
            *three(name, 2 * gain, of=("motion", "salt", "webp"), suite="unseen", seen="unseen"),
        )
    ]
    small = three("bicubic", 0.0, of=("clean",), suite="small", seen="seen")
    small += three("bicubic", 0.0, of=("other",), suite="small", seen="unseen")
    for one in [*rows, *small]:
        one["lr_sha256"] = f"{one['image']} {one['degradation'].replace('other', 'motion')}"
    both, alone = gaps([*small, *rows]), gaps(rows)
    assert both.counts == alone.counts == {"seen": 3, "unseen": 3}
    assert [(gap.name, gap.difference) for gap in both.gaps] == [(gap.name, gap.difference) for gap in alone.gaps]
    assert both.gaps[0].difference.mean == -1.0
    small[-1]["lr_sha256"] = "another input"
    assert gaps([*rows, *small]).counts == {"seen": 3, "unseen": 4}
    assert gaps([*rows, *small]).gaps == [], "net was not measured on it"


def test_the_gap_of_several_seeds():
    """Gains on seen 1 and 3 by seed, on unseen 0 and 1: gaps 1 and 2, and the interval from one to the other."""
    base = [
        *grid({"bicubic": {"clean": (0.0, 0.0)}}, seen="seen"),
        *grid({"bicubic": {"motion": (0.0, 0.0)}}, suite="unseen", seen="unseen"),
    ]
    rows = base + seeds("plain", [{"clean": (1.0, 1.0)}, {"clean": (3.0, 3.0)}], seen="seen")
    rows += seeds("plain", [{"motion": (0.0, 0.0)}, {"motion": (1.0, 1.0)}], suite="unseen", seen="unseen")
    (gap,) = gaps(rows).gaps
    assert (gap.name, gap.difference.mean, *ends(gap.difference)) == ("plain", 1.5, 1.0, 2.0)


def test_without_both_kinds_or_common_pictures_there_is_no_gap():
    values = {"bicubic": (0.0,), "net": (1.0,)}
    assert gaps(two_suites(values, {})).gaps == []
    apart = two_suites(values, values)
    for one in apart:
        one["set"] = f"set of {one['suite']}"
    found = gaps(apart)
    assert (found.gaps, found.sets) == ([], [])


# Published numbers

SETS = ["Set5", "Set14", "BSD100", "Manga109", "Urban100"]


def test_the_published_cells_have_the_published_means():
    """The means over 40 cells, and over the sets of SRResNet, as worked out beside the paper."""
    every = {one.name: one.mean(SETS, published.DEGRADATIONS) for one in published.TABLE_1}
    assert [round(mean + 1e-9, 3) for mean in every.values()] == [22.307, 22.581, 22.586, 22.857]
    assert list(every) == ["SRResNet, p = 0", "SRResNet, p = 0.7", "RRDB, p = 0", "RRDB, p = 0.5"]
    by_degradation = [[round(one.mean(SETS, [name]), 3) for name in published.DEGRADATIONS] for one in published.TABLE_1[:2]]
    assert by_degradation == [
        [23.244, 23.024, 22.448, 22.276, 22.012, 21.964, 21.926, 21.558],
        [23.750, 23.392, 22.674, 22.572, 22.122, 22.204, 22.176, 21.754],
    ]


def test_only_two_published_gains_are_negative():
    """SRResNet on BSD100 b+n, −0.05, and RRDB on Urban100 b+n, −0.04."""
    found = {}
    for one, other in (published.TABLE_1[:2], published.TABLE_1[2:]):
        for name in SETS:
            for degradation in published.DEGRADATIONS:
                gain = round(other.cell(name, degradation) - one.cell(name, degradation), 2)
                if gain < 0:
                    found[one.name, name, degradation] = gain
    assert found == {("SRResNet, p = 0", "BSD100", "b+n"): -0.05, ("RRDB, p = 0", "Urban100", "b+n"): -0.04}


def whole_set5(**other):
    return tables.summaries(grid({"bicubic": {"clean": (1.0,) * 5, "noise": (2.0,) * 5}}, **other))[0]


def test_published_numbers_stand_beside_their_own_protocol_only():
    assert len(published.published(whole_set5())) == 4
    others = [{"suite": "rdsr8-rounded"}, {"suite_version": "2"}, {"scale": 2}, {"space": "y"}, {"metric": "ssim"}, {"set": "Mine"}]
    others += [{"protocol": "psnr-rgb-crop0-uint8/1"}, {"set": "Set14"}]
    for other in others:
        assert published.published(whole_set5(**other)) == (), other
    assert published.published(tables.summaries(grid({"bicubic": {"zoom": (1.0,) * 5}}))[0]) == ()


def test_a_set_is_known_by_its_folder():
    hundred = [row(image=f"{i:03}", set="B100") for i in range(100)]
    summary = tables.summaries(hundred)[0]
    assert published.published(summary)[0].cell("B100", "clean") == 23.89


def test_what_a_seed_does_to_two_methods_alike_is_not_in_their_difference():
    """Of the same seeds, in whatever order they were measured; of other seeds, nothing is known."""
    runs = [{"clean": (11.0, 11.0)}, {"clean": (13.0, 13.0)}, {"clean": (18.0, 18.0)}]
    more = [{"clean": tuple(value + 0.5 for value in run["clean"])} for run in runs]
    rows = [*grid({"bicubic": {"clean": (10.0, 10.0)}}), *seeds("plain", runs)]
    paired = seeds("robust", more)[::-1]
    found = grid_of([*rows, *paired])
    assert found.seeds == {"bicubic": (), "plain": (0, 1, 2), "robust": (0, 1, 2)}
    cell = found.cell("robust", over="plain")
    assert ends(cell) == pytest.approx((0.5, 0.5), abs=1e-12)
    duel = duels.Duels(found, ["robust", "plain"]).duel("robust", "plain").lines["clean"].cell
    assert ends(duel) == pytest.approx((0.5, 0.5), abs=1e-12)
    apart = grid_of([*rows, *(row | {"training_seed": row["training_seed"] + 3} for row in paired)]).cell("robust", over="plain")
    assert apart.mean == pytest.approx(0.5)
    assert apart.low < -3 < 4 < apart.high


def test_values_of_seeds_are_arrays():
    rows = [*grid({"bicubic": {"clean": (1.0, 2.0)}}), *seeds("plain", [{"clean": (3.0, 4.0)}, {"clean": (5.0, 6.0)}])]
    assert np.array_equal(grid_of(rows).values("plain", "Set5", "clean"), [[3.0, 4.0], [5.0, 6.0]])
