"""Intervals and tests of significance: closed forms, a slow twin with the same draws, invariances, and a simulation of coverage."""

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from wildsr.report.statistics import Bootstrap, holm, interval, wilcoxon

SEEDS, OTHERS = (0, 1, 2), (3, 4, 5)
"""Of two methods."""


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(25, 3, shape)


def slow_means(bootstrap: Bootstrap, values: list[np.ndarray], trainings: tuple[int, ...] = ()) -> np.ndarray:
    """Cell by cell, with the numbers of times that `bootstrap` drew each training and each picture."""
    seeds = bootstrap._counts(values[0].shape[0], "seeds", trainings)
    result = []
    for r in range(bootstrap.resamples):
        of_sets = []
        for i, part in enumerate(values):
            if all(math.isnan(value) for row in part for value in row):
                continue
            pictures = bootstrap._counts(part.shape[1], "pictures", i)
            drawn: list[float] = []
            for s, n in np.ndindex(*part.shape):
                if not math.isnan(part[s, n]):
                    drawn += [part[s, n]] * int(seeds[r, s] * pictures[r, n])
            of_sets.append(sum(drawn) / len(drawn) if drawn else math.nan)
        result.append(sum(of_sets) / len(of_sets) if of_sets else math.nan)
    return np.array(result)


# --------------------------------------------------------------------------------------------------------------------- bootstrap


def test_the_spread_of_a_mean_is_the_standard_error():
    values = normal(1, 2000)
    means = Bootstrap([2000]).means([values])
    # The spread of 2000 resamples is itself known to 1.6 %.
    assert means.std() == pytest.approx(values.std() / math.sqrt(2000), rel=0.06)
    assert means.mean() == pytest.approx(values.mean(), abs=4 * values.std() / 2000)
    low, high = interval(means, values.mean())[1:]
    assert (high - low) / 2 == pytest.approx(1.96 * values.std() / math.sqrt(2000), rel=0.08)


def test_the_spread_over_seeds_is_theirs_and_adds_to_that_over_pictures():
    """values = seed + picture: the two levels are independent, so that their variances add."""
    seeds, pictures = normal(40, 1, seed=1), normal(1, 300, seed=2)
    of_seeds, of_pictures = seeds.var() / 40, pictures.var() / 300
    bootstrap = Bootstrap([300], resamples=4000)
    assert bootstrap.means([seeds + 0 * pictures]).var() == pytest.approx(of_seeds, rel=0.1)
    assert bootstrap.means([0 * seeds + pictures]).var() == pytest.approx(of_pictures, rel=0.1)
    assert bootstrap.means([seeds + pictures]).var() == pytest.approx(of_seeds + of_pictures, rel=0.1)


def test_seeds_that_differ_widen_the_interval():
    pictures = normal(1, 50)
    bootstrap = Bootstrap([50])

    def width(values):
        _, low, high = interval(bootstrap.means([values]), values.mean())
        return high - low

    one, same, different = width(pictures), width(np.repeat(pictures, 4, 0)), width(pictures + 4 * normal(4, 1, seed=3))
    assert same == pytest.approx(one, rel=1e-9)
    assert different > 2 * one


def test_a_constant_gain_has_an_interval_of_no_width():
    values = [normal(1, 5), normal(1, 14, seed=1)]
    bootstrap = Bootstrap([5, 14])
    gains = bootstrap.means([part + 0.25 for part in values], SEEDS) - bootstrap.means(values, OTHERS)
    assert np.allclose(gains, 0.25, atol=1e-12, rtol=0)
    assert np.ptp(bootstrap.means(values)) > 1


def test_pictures_are_drawn_alike_and_seeds_for_the_same_trainings():
    values = [normal(3, 5), normal(3, 14, seed=1)]
    bootstrap = Bootstrap([5, 14])
    means = bootstrap.means(values, SEEDS)
    assert np.array_equal(means, bootstrap.means(values, SEEDS))
    assert np.array_equal(means, Bootstrap([5, 14]).means(values, SEEDS))
    assert not np.array_equal(means, bootstrap.means(values, OTHERS))
    assert not np.array_equal(means, Bootstrap([5, 14], seed=1).means(values, SEEDS))
    # One seed each: only pictures are drawn, and which seed it was is immaterial.
    single = [part[:1] for part in values]
    assert np.array_equal(bootstrap.means(single, SEEDS), bootstrap.means(single, OTHERS))
    # A number that belongs to the seed alone shows the draws of the seeds: no relation between other seeds.
    only = [np.arange(3.0)[:, None] + np.zeros((3, n)) for n in (5, 14)]
    assert abs(np.corrcoef(bootstrap.means(only, SEEDS), bootstrap.means(only, OTHERS))[0, 1]) < 0.1


def test_two_sets_are_drawn_apart():
    values = normal(1, 20)
    bootstrap = Bootstrap([20, 20])
    first, second = bootstrap.means([values, 0 * values]), bootstrap.means([0 * values, values])
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.1


def test_sets_weigh_the_same():
    bootstrap = Bootstrap([3, 100])
    assert np.allclose(bootstrap.means([np.full((2, 3), 10.0), np.full((2, 100), 20.0)]), 15)
    # The variance is that of a mean of two independent means.
    few, many = normal(1, 40), normal(1, 400, seed=1)
    expected = (few.var() / 40 + many.var() / 400) / 4
    assert Bootstrap([40, 400], resamples=4000).means([few, many]).var() == pytest.approx(expected, rel=0.1)


def test_the_mean_scales_and_shifts_with_the_values():
    values = [normal(2, 7), normal(2, 4, seed=1)]
    bootstrap = Bootstrap([7, 4], resamples=200)
    means = bootstrap.means(values)
    assert np.allclose(bootstrap.means([3 * part - 5 for part in values]), 3 * means - 5)


def test_renumbered_pictures_change_the_draws_and_not_the_distribution():
    values = normal(1, 400)
    shuffled = np.random.default_rng(5).permutation(values, axis=1)
    bootstrap = Bootstrap([400], resamples=4000)
    first, second = (interval(bootstrap.means([part]), part.mean()) for part in (values, shuffled))
    width = first.high - first.low
    assert second == pytest.approx(first, abs=0.06 * width)
    assert second != first


@pytest.mark.parametrize("missing", [False, True])
def test_means_equal_their_slow_twin(missing):
    values = [normal(3, 5), normal(3, 1, seed=1), normal(3, 9, seed=2)]
    if missing:
        values[0][1, 2] = values[0][:, 4] = values[2][0, 0] = np.nan
    bootstrap = Bootstrap([5, 1, 9], resamples=60)
    assert bootstrap.means(values, SEEDS) == pytest.approx(slow_means(bootstrap, values, SEEDS), abs=1e-12)


def test_a_set_without_values_is_left_out():
    values = [normal(2, 5), np.full((2, 8), np.nan)]
    bootstrap = Bootstrap([5, 8], resamples=50)
    assert bootstrap.means(values) == pytest.approx(Bootstrap([5], resamples=50).means(values[:1]), abs=1e-12)
    assert bootstrap.means(values) == pytest.approx(slow_means(bootstrap, values), abs=1e-12)
    assert np.isnan(bootstrap.means([np.full((2, 5), np.nan), values[1]])).all()


def test_a_resample_without_any_picture_that_is_there_is_left_out_of_the_interval():
    values = np.array([[1.0, np.nan, np.nan]])
    bootstrap = Bootstrap([3])
    means = bootstrap.means([values])
    # None of three draws meets the one picture: (2/3)³ of the resamples.
    assert np.isnan(means).mean() == pytest.approx((2 / 3) ** 3, abs=0.04)
    assert interval(means, 1.0) == (1, 1, 1)


def test_one_picture_or_one_seed_has_no_spread_of_its_own():
    assert interval(Bootstrap([1]).means([np.array([[7.0]])]), 7.0) == (7, 7, 7)
    bootstrap = Bootstrap([1, 1])
    means = bootstrap.means([np.array([[6.0], [8.0]]), np.array([[6.0], [8.0]])])
    # Only the two seeds are drawn.
    assert set(means) == {6.0, 7.0, 8.0}
    assert np.mean(means == 7) == pytest.approx(0.5, abs=0.05)


def test_infinite_values_make_the_resamples_that_drew_them_infinite():
    values = normal(1, 10)
    finite = Bootstrap([10]).means([values[:, 1:].mean(1, keepdims=True) + 0 * values])
    values[0, 0] = np.inf
    means = Bootstrap([10]).means([values])
    # (1 − 1/10)¹⁰ of the resamples do not draw that picture.
    assert np.isinf(means).mean() == pytest.approx(1 - 0.9**10, abs=0.04)
    assert not np.isnan(means).any()
    assert interval(means, np.inf).high == np.inf
    assert means.min() < finite.mean()
    both = values.copy()
    both[0, 1] = -np.inf
    drawn = Bootstrap([10]).means([both])
    assert {np.inf, -np.inf} <= set(drawn)
    assert np.isnan(drawn).any()
    assert np.isnan(Bootstrap([1, 1]).means([np.array([[np.inf]]), np.array([[-np.inf]])])).all()


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    """Twenty pictures from a normal distribution, three hundred times: 95 % wide intervals cover 93 % with so few pictures."""
    rng = np.random.default_rng(0)
    bootstrap = Bootstrap([20], resamples=500)
    covered = 0
    for _ in range(300):
        values = rng.normal(0, 1, (1, 20))
        _, low, high = interval(bootstrap.means([values]), values.mean())
        covered += low <= 0 <= high
    assert 0.88 < covered / 300 < 0.99


@pytest.mark.parametrize("shapes", [[(2, 5), (3, 6)], [(2, 5)], [(2, 5), (2, 7)], [(5,), (6,)]])
def test_values_of_another_shape_are_refused(shapes):
    with pytest.raises(ValueError, match=r"expected \["):
        Bootstrap([5, 6]).means([np.zeros(shape) for shape in shapes])


# --------------------------------------------------------------------------------------------------------------------- intervals


def test_the_interval_leaves_as_many_out_on_either_side():
    numbers = np.random.default_rng(0).permutation(np.arange(2000.0))
    assert interval(numbers, 3.0) == (3, 50, 1949)
    assert interval(-numbers, -3.0) == (-3, -1949, -50)
    assert interval(np.append(numbers, np.full(300, np.nan)), 3.0) == (3, 50, 1949)
    assert interval(np.arange(39.0), 0.0) == (0, 0, 38)
    assert interval(np.arange(40.0), 0.0) == (0, 1, 38)


def test_the_interval_is_near_the_interpolated_percentiles():
    numbers = normal(5000)
    low, high = np.percentile(numbers, [2.5, 97.5])
    assert interval(numbers, 0.0) == pytest.approx((0, low, high), abs=0.02)


def test_an_interval_of_nothing_is_not_a_number():
    mean, low, high = interval(np.full(5, np.nan), 1.0)
    assert mean == 1
    assert math.isnan(low)
    assert math.isnan(high)


# ---------------------------------------------------------------------------------------------------------------------- wilcoxon


def signed_rank_p(differences: np.ndarray) -> float:
    """By the definition: how many of all signs give a sum of positive ranks at least as far from its middle as the one seen."""
    sizes = np.abs(differences)
    ranks = [(sizes < size).sum() + ((sizes == size).sum() + 1) / 2 for size in sizes]
    seen = abs(sum(rank for rank, d in zip(ranks, differences, strict=True) if d > 0) - sum(ranks) / 2)
    everything = list(itertools.product((0, 1), repeat=len(ranks)))
    far = [abs(np.dot(signs, ranks) - sum(ranks) / 2) >= seen - 1e-9 for signs in everything]
    return sum(far) / len(everything)


@pytest.mark.parametrize("n", [6, 7, 8])
@pytest.mark.parametrize("seed", range(4))
def test_p_values_equal_the_enumeration_of_all_signs(n, seed):
    rng = np.random.default_rng(seed)
    differences = rng.normal(0.5, 1, n)
    assert wilcoxon(differences) == pytest.approx(signed_rank_p(differences), abs=1e-12)
    tied = rng.choice([-2.0, -1.0, 1.0, 2.0, 3.0], n)
    assert wilcoxon(tied) == pytest.approx(signed_rank_p(tied), abs=1e-12)


@pytest.mark.parametrize("n", [6, 10, 30])
def test_the_smallest_p_value(n):
    assert wilcoxon(np.arange(1.0, n + 1)) == pytest.approx(2 / 2**n)


def test_p_values_of_many_pictures_are_near_the_normal_distribution():
    differences = np.random.default_rng(0).normal(0.2, 1, 300)
    ranks = np.argsort(np.argsort(np.abs(differences))) + 1
    z = (ranks[differences > 0].sum() - 300 * 301 / 4) / math.sqrt(300 * 301 * 601 / 24)
    assert wilcoxon(differences) == pytest.approx(math.erfc(abs(z) / math.sqrt(2)), rel=0.02)


def test_p_values_depend_on_signs_and_order_of_size_alone():
    differences = np.random.default_rng(0).normal(0.5, 1, 12)
    p = wilcoxon(differences)
    assert wilcoxon(-differences) == pytest.approx(p)
    assert wilcoxon(differences[::-1]) == pytest.approx(p)
    assert wilcoxon(differences**3) == pytest.approx(p)
    assert wilcoxon(np.where(differences == np.abs(differences).max(), np.inf, differences)) == pytest.approx(p)
    assert wilcoxon(np.append(differences, [0, 0, np.nan])) == pytest.approx(p)
    assert 0 < p < 1


def test_no_p_value_below_six_pictures():
    assert wilcoxon(np.arange(1.0, 6)) is None
    assert wilcoxon(np.array([1.0, 2, 3, 4, 5, np.nan, np.nan])) is None
    assert wilcoxon(np.array([])) is None


def test_no_difference_at_all_has_a_p_value_of_one():
    assert wilcoxon(np.zeros(6)) == 1
    assert wilcoxon(np.array([0.0, 0, 0, 0, 0, 3])) == 1


@pytest.mark.parametrize(("n", "tied"), [(12, False), (50, False), (51, True), (120, True), (120, False)])
def test_p_values_equal_scipy_s_where_both_take_the_same_way(n, tied):
    """SciPy is exact without ties up to 50 differences, and approximates beyond; ours is exact with ties as well."""
    differences = np.random.default_rng(n).normal(0.1, 1, n)
    differences = np.where(np.round(differences, 1) == 0, 0.1, np.round(differences, 1)) if tied else differences
    assert wilcoxon(differences) == pytest.approx(stats.wilcoxon(differences).pvalue, rel=1e-9)


# -------------------------------------------------------------------------------------------------------------------------- holm


def test_holm_by_hand():
    # 4 × 0.01, 3 × 0.015, 2 × 0.03; then 1 × 0.04 would be below the one before it.
    assert holm([0.03, 0.01, 0.04, 0.015]) == pytest.approx([0.06, 0.04, 0.06, 0.045])
    assert holm([0.6, 0.001, 0.5]) == pytest.approx([1, 0.003, 1])
    assert holm([0.02, 0.02]) == pytest.approx([0.04, 0.04])
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


def test_holm_passes_over_what_is_missing():
    assert holm([None, 0.01, None, 0.04]) == [None, 0.02, None, 0.04]
    assert holm([None, None]) == [None, None]


def test_holm_is_monotone_lies_between_the_value_and_bonferroni_and_follows_a_permutation():
    rng = np.random.default_rng(0)
    for _ in range(20):
        ps = list(rng.uniform(0, 1, 8) ** 3)
        adjusted = holm(ps)
        assert [adjusted[i] for i in np.argsort(ps)] == sorted(adjusted)
        assert all(p <= a <= min(1, 8 * p) + 1e-15 for p, a in zip(ps, adjusted, strict=True))
        order = rng.permutation(8)
        assert holm([ps[i] for i in order]) == [adjusted[i] for i in order]


def test_statistics_need_no_pytorch():
    script = "import sys; import wildsr.report.statistics; print('torch' in sys.modules, 'scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split() == ["False", "False"]
