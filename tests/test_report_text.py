"""Markdown and LaTeX tables, against text written by hand."""

import math
import re

import pytest
from bench_rows import grid, row, seeds, two_models

from wildsr import report
from wildsr.errors import UserError
from wildsr.report import text

FACTS = "PSNR RGB in dB, higher is better; suite rdsr8 1, ×4, seed 0, protocol psnr-rgb-crop4-uint8/1, code 0.1.0+src.abc."


def test_markdown_table():
    assert report.table_markdown(two_models()).splitlines() == [
        FACTS,
        "",
        "**Set5** (2 pictures)",
        "",
        "| model | clean | noise | mean |",
        "| --- | ---: | ---: | ---: |",
        "| bicubic | 21.00 | 19.00 | 20.00 |",
        "| plain | 23.00 | 17.00 | 20.00 |",
        "| robust | 22.00 | 20.00 | 21.00 |",
    ]


def test_several_sets_have_a_table_for_all():
    rows = [*grid({"bicubic": {"clean": (10.0, 20.0)}}), *grid({"bicubic": {"clean": (30.0,)}}, set="Set14")]
    lines = report.table_markdown(rows).splitlines()
    assert [line for line in lines if line.startswith("**")] == [
        "**Set5** (2 pictures)",
        "**Set14** (1 picture)",
        "**All sets** (3 pictures, each set weighing the same)",
    ]
    assert lines[-1] == "| bicubic | 22.50 | 22.50 |"


def test_several_suites_have_several_tables():
    rows = [*two_models(), *grid({"bicubic": {"motion": (5.0,)}}, suite="unseen"), row(suite="real", metric="niqe")]
    table = report.table_markdown(rows, "psnr")
    assert table.count("higher is better") == 2
    assert "suite unseen 1" in table
    assert "| bicubic | 5.00 | 5.00 |" in table


def test_photographs_alone_have_a_table():
    alone = {"suite": "real", "metric": "blur-effect", "lower_better": True}
    rows = [row(value=0.5, **alone), row("net", value=0.25, **alone)]
    table = report.table_markdown(rows)
    assert table.startswith("BLUR-EFFECT RGB, lower is better; suite real 1")
    assert "| net | 0.2500 | 0.2500 |" in table
    assert [line[:5] for line in report.table_markdown([*two_models(), *rows]).splitlines() if "is better" in line] == ["PSNR ", "BLUR-"]
    assert r"\textbf{0.2500}" in report.table_latex(rows)
    with pytest.raises(UserError, match="no row has a value"):
        report.table_markdown([row(value=None, error="broken")])


def test_ssim_has_four_decimals():
    rows = grid({"bicubic": {"clean": (0.5, 0.25005)}}, metric="ssim", space="y")
    assert "| bicubic | 0.3750 | 0.3750 |" in report.table_markdown(rows, "ssim", "y")


def test_markdown_escapes_names():
    assert "| a\\|b &lt;i&gt; |" in report.table_markdown([row(), row("a|b <i>")])


def test_markdown_with_intervals():
    """Of two pictures the interval goes from one to the other."""
    table = report.table_markdown(two_models(), intervals=True)
    assert "| plain | 23.00 [22.00, 24.00] | 17.00 [16.00, 18.00] | 20.00 [19.00, 21.00] |" in table
    assert "plain, robust: 1 seed each, so their intervals are over pictures alone." in table


def test_gains_over_a_method():
    """Gains of two pictures, both +2 or both −2: intervals of no width, certain; robust's are +1 and +1 over bicubic."""
    assert report.gains_markdown(two_models(), "bicubic").splitlines() == [
        f"Gain over bicubic, bold where its interval excludes 0. {FACTS}",
        "",
        "| mean over 2 degradations | Set5 |",
        "| --- | ---: |",
        "| plain | ±0.00 (±0.00 … ±0.00) |",
        "| robust | **+1.00 (+1.00 … +1.00)** |",
        "",
        "| each degradation, Set5 | clean | noise |",
        "| --- | ---: | ---: |",
        "| plain | **+2.00 (+2.00 … +2.00)** | **−2.00 (−2.00 … −2.00)** |",
        "| robust | **+1.00 (+1.00 … +1.00)** | **+1.00 (+1.00 … +1.00)** |",
        "",
        "95 % intervals. plain, robust: 1 seed each, so their intervals are over pictures alone.",
    ]


def test_gains_show_who_was_asked_for_and_what_several_sets_and_seeds_give():
    rows = [
        *grid({"bicubic": {"clean": (10.0, 20.0)}}),
        *grid({"bicubic": {"clean": (30.0,)}}, set="Set14"),
        *(one | {"set": name} for name in ("Set5", "Set14") for one in seeds("plain", [{"clean": (11.0,)}, {"clean": (13.0,)}])),
    ]
    lines = report.gains_markdown(rows, "plain", only=["bicubic"]).splitlines()
    assert lines[2] == "| mean over 1 degradation | Set5 | Set14 | all sets |"
    # Set5's second picture has no counterpart: the first counts, 10 − 12; Set14: 30 − 12.
    assert [cell.split()[0] for cell in lines[4].strip("| ").split(" | ")[1:]] == ["**−2.00†", "+18.00", "**+8.00†"]
    failed = [row("plain-seed0", "c", value=None, error="broken", training="plain", training_seed=0)]
    assert "† mean over fewer pictures, as the model failed: plain-seed0 on Set5 clean" in report.gains_markdown([*rows, *failed], "plain")
    assert report.gains_markdown(grid({"bicubic": {"clean": (1.0, 2.0)}}), "bicubic").endswith("95 % intervals.\n"), "nobody was trained"
    with pytest.raises(UserError, match="no row is of 'plian': did you mean 'plain'"):
        report.gains_markdown(rows, "plian")


def test_many_degradations_have_their_mean_alone():
    names = [f"d{i}" for i in range(40)]
    rows = grid({"bicubic": dict.fromkeys(names, (10.0,)), "net": dict.fromkeys(names, (11.0,))}, suite="unseen")
    table = report.gains_markdown(rows, "bicubic")
    assert "| net | +1.00 |" in table
    assert "d7" not in table


def test_seeds_are_one_row():
    rows = [*grid({"bicubic": {"clean": (10.0,)}}), *seeds("plain", [{"clean": (11.0,)}, {"clean": (13.0,)}])]
    table = report.table_markdown(rows)
    assert "| plain (2 seeds) | 12.00 | 12.00 |" in table
    assert table.rstrip().endswith("\n\nplain: mean over 2 seeds.")


def test_failures_are_noted():
    rows = [row(value=10.0), row(image="b", value=20.0), row("net", value=13.0), row("net", image="b", value=None, error="out of memory")]
    table = report.table_markdown(rows)
    assert "| net | 13.00† | 13.00† |" in table
    assert "net on Set5 clean: 1 of 2 failed (out of memory)" in table


def test_a_model_without_any_value_shows_a_dash():
    assert "| net | –† | –† |" in report.table_markdown([row(), row("net", value=None, error="broken")])


def test_bicubic_is_required():
    with pytest.raises(UserError, match="add the word bicubic to the bench command"):
        report.table_markdown([row("net")])


def test_an_absent_metric_is_named():
    for table in (report.table_markdown, report.table_latex):
        with pytest.raises(UserError, match="no rows of ssim y: there is psnr rgb"):
            table([row()], "ssim", "y")


def test_published_numbers_are_in_italics_and_can_be_left_out():
    rows = grid({"bicubic": {"clean": (30.0,) * 5, "noise": (30.0,) * 5}})
    table = report.table_markdown(rows)
    assert "| *SRResNet, p = 0, published* | *24.89* | *23.75* | *24.32* |" in table
    assert "Published, not measured here: Kong et al." in table
    assert "published" not in report.table_markdown(rows, beside=False).lower()


def many(count: int):
    return grid({"bicubic": {f"d{i}": (float(i),) for i in range(count)}, "net": {f"d{i}": (float(i + 1),) for i in range(count)}})


def test_many_degradations_stand_in_rows():
    rows = [one | {"words": f"kind {one['degradation']}"} for one in many(13)]
    lines = report.table_markdown(rows).splitlines()
    assert "| degradation | bicubic | net |" in lines
    assert "| kind d12 | 12.00 | 13.00 |" in lines
    assert "| mean | 6.00 | 7.00 |" in lines


# LaTeX


def test_latex_table():
    assert report.table_latex(two_models()).splitlines() == [
        r"% \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        r"\small",
        r"\caption{PSNR RGB in dB, higher is better; suite rdsr8 1, $\times$4, seed 0, protocol psnr-rgb-crop4-uint8/1, code 0.1.0+src.abc.}",  # noqa: E501
        r"\begin{tabular}{lrrr}",
        r"\toprule",
        r"model & clean & noise & mean \\",
        r"\midrule",
        r"\multicolumn{4}{l}{Set5 (2 pictures)} \\",
        r"\midrule",
        r"bicubic & 21.00 & 19.00 & 20.00 \\",
        r"plain & \textbf{23.00} & 17.00 & 20.00 \\",
        r"robust & 22.00 & \textbf{20.00} & \textbf{21.00} \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("p_0.5 & 10 % #1", r"p\_0.5 \& 10 \% \#1"),
        ("{a}$b$", r"\{a\}\$b\$"),
        (r"\input{x}", r"\textbackslash{}input\{x\}"),
        ("a~b^c", r"a\textasciitilde{}b\textasciicircum{}c"),
        ("×4 σ < 2", r"$\times$4 $\sigma$ $<$ 2"),
        ("two\nlines", "two lines"),
    ],
)
def test_latex_escapes(name, written):
    assert text.escape_latex(name) == written
    assert f"\n{written} & 20.00 & 20.00" in report.table_latex([row(value=30.0), row(name)])


def test_latex_writes_intervals_as_steps_from_the_mean():
    assert r"plain & \textbf{23.00}$^{+1.00}_{-1.00}$ & 17.00$^{+1.00}_{-1.00}$" in report.table_latex(two_models(), intervals=True)


def test_latex_italics_daggers_and_suites():
    rows = grid({"bicubic": {"clean": (30.0,) * 5}, "net": {"clean": (31.0,) * 5}})
    rows[-1] |= {"value": None, "error": "100 % broken"}
    rows += grid({"bicubic": {"motion": (math.inf,)}}, suite="unseen")
    table = report.table_latex(rows)
    assert r"net & 31.00$^\dagger$ & 31.00$^\dagger$ \\" in table
    assert r"\textit{SRResNet, p = 0, published} & \textit{24.89} & \textit{24.89} \\" in table
    assert r"(100 \% broken)" in table
    assert r"bicubic & \textbf{$\infty$}" in table
    assert table.count(r"\begin{tabular}") == table.count(r"\end{tabular}") == 2


def test_every_latex_row_has_as_many_cells_as_the_table():
    for rows in (two_models(), many(14)):
        table = report.table_latex(rows)
        columns = re.search(r"\\begin{tabular}{(l r*)}", table, re.VERBOSE)
        assert columns
        counts = {line.count("&") for line in table.splitlines() if line.endswith(r"\\") and "multicolumn" not in line}
        assert counts == {len(columns[1]) - 1}
