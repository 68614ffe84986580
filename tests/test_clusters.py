"""Deep degradation representation: exact components, the index of clusters against its oracles, and what may not be asked for."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import zoo
from torch import nn

from wildsr import interpret
from wildsr.errors import UserError
from wildsr.interpret import clusters

DEGRADATIONS = ("clean", "noise", "blur")


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def inputs(pictures: int = 6, side: int = 8) -> list[tuple[str, str, torch.Tensor]]:
    """Pictures in three degradations, of which noise is far from clean."""
    made = []
    for i in range(pictures):
        clean = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(i))
        noise = draw(1, 3, side, side, seed=100 + i).float()
        blurred = nn.functional.avg_pool2d(clean, 3, 1, 1, count_include_pad=False)
        made += [(f"p{i}", "clean", clean), (f"p{i}", "noise", clean + noise), (f"p{i}", "blur", 0.9 * clean + 0.1 * blurred)]
    return made


# --- principal components ---


@pytest.mark.parametrize(("n", "size"), [(12, 50), (20, 7)])
def test_dual_components_are_the_primal_ones_up_to_their_sign(n, size):
    points = draw(n, size) @ torch.diag(torch.linspace(3, 0.1, size, dtype=torch.float64)) + 5
    found = clusters.dual_pca(points)
    centred = points - points.mean(0)
    values, vectors = torch.linalg.eigh(centred.T @ centred / (n - 1))  # the covariance of coordinates: the primal way
    kept = min(n - 1, size)
    assert found.scores.shape == (n, kept)
    torch.testing.assert_close(found.scores.abs(), (centred @ vectors.flip(1)[:, :kept]).abs(), rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(found.variance, values.flip(0)[:kept], rtol=1e-10, atol=1e-10)
    assert found.total == pytest.approx(centred.square().sum().item() / (n - 1))
    # Signs are free within a component, not within a score: distances between points are kept.
    torch.testing.assert_close(torch.cdist(found.scores, found.scores), torch.cdist(points, points), rtol=1e-9, atol=1e-9)
    first = clusters.dual_pca(points, 3)
    torch.testing.assert_close(first.scores, found.scores[:, :3])


def test_components_agree_with_scikit_learn():
    from sklearn.decomposition import PCA

    points = draw(15, 40)
    expected = PCA(5, svd_solver="full").fit(points.numpy())
    found = clusters.dual_pca(points, 5)
    np.testing.assert_allclose(found.scores.abs(), np.abs(expected.transform(points.numpy())), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.variance / found.total, expected.explained_variance_ratio_, rtol=1e-9)


@pytest.mark.parametrize("chunk", [1, 7, 50, 1000])
def test_how_many_features_are_read_at_once_is_immaterial(chunk):
    points = draw(9, 50) + 1000
    torch.testing.assert_close(clusters.dual_pca(points, chunk=chunk).scores, clusters.dual_pca(points).scores, rtol=1e-10, atol=1e-10)


def test_centring_early_is_centring_the_products_rows_and_columns():
    points = draw(10, 30) + 2
    n = len(points)
    middle = torch.eye(n, dtype=torch.float64) - 1 / n
    values = torch.linalg.eigvalsh(middle @ (points @ points.T) @ middle).flip(0)[: n - 1]
    torch.testing.assert_close(clusters.dual_pca(points).variance, values / (n - 1), rtol=1e-9, atol=1e-9)


def test_points_in_a_file_are_those_in_memory_to_the_bit(tmp_path):
    net, given = zoo.make("srresnet").eval(), [picture for _, _, picture in inputs()]
    memory = clusters.gather(net, given)
    mapped = clusters.gather(net, given, memory=0, folder=tmp_path)
    assert mapped._file is not None
    assert memory._file is None
    assert torch.equal(memory.columns(5, 99), mapped.columns(5, 99))
    assert torch.equal(clusters.dual_pca(memory, chunk=100).scores, clusters.dual_pca(mapped, chunk=100).scores)
    assert mapped.nbytes == clusters.bytes_needed(net, given) == 4 * 18 * 6 * 16 * 16
    for i, picture in enumerate(given):
        assert torch.equal(memory.columns(0, memory.size)[i], interpret.features(net, picture, "last").flatten().double())
    assert not any(tmp_path.iterdir())


def test_features_that_fit_nowhere(tmp_path, monkeypatch):
    net, given = zoo.make("srresnet").eval(), [picture for _, _, picture in inputs()]
    with pytest.raises(UserError, match=r"the features of 18 inputs take 0.000111 GB, more than 1e-06 GB of memory: name a folder"):
        clusters.gather(net, given, memory=1000)
    monkeypatch.setattr(clusters.shutil, "disk_usage", lambda folder: type("", (), {"free": 10})())
    with pytest.raises(UserError, match=r"have|has 1e-08 GB left: name another folder"):
        clusters.gather(net, given, memory=1000, folder=tmp_path)


def test_broken_features_and_too_few_points():
    points = draw(5, 10)
    points[2, 3] = torch.nan
    with pytest.raises(UserError, match="not all finite"):
        clusters.dual_pca(points)
    with pytest.raises(UserError, match="two points or more, not 1"):
        clusters.dual_pca(points[:1])


def test_points_that_do_not_differ_have_no_variance():
    found = clusters.dual_pca(torch.full((4, 9), 0.1))
    assert found.total == 0
    assert torch.equal(found.scores, torch.zeros(4, 3, dtype=torch.float64))


# --- the index ---

LABELS = ["a", "b", "c"] * 8
POINTS = draw(24, 4) + torch.tensor([{"a": 0.0, "b": 1.0, "c": -2.0}[label] for label in LABELS], dtype=torch.float64)[:, None]


def test_chi_agrees_with_scikit_learn():
    from sklearn.metrics import calinski_harabasz_score

    for points in (POINTS, POINTS[:, :1], 100 + POINTS):
        assert clusters.chi(points, LABELS) == pytest.approx(calinski_harabasz_score(points.numpy(), LABELS), rel=1e-10)
    # Unequal clusters too.
    assert clusters.chi(POINTS[:-4], LABELS[:-4]) == pytest.approx(calinski_harabasz_score(POINTS[:-4].numpy(), LABELS[:-4]), rel=1e-10)


def test_chi_sees_no_shift_turn_or_scale():
    turn = torch.linalg.qr(draw(4, 4, seed=1)).Q
    plain = clusters.chi(POINTS, LABELS)
    for changed in (POINTS + 17, POINTS @ turn, -0.01 * POINTS, 3 + 1e4 * POINTS @ turn):
        assert clusters.chi(changed, LABELS) == pytest.approx(plain, rel=1e-9)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(0))
    assert clusters.chi(POINTS[order], [LABELS[i] for i in order]) == pytest.approx(plain, rel=1e-12)


def test_chi_in_one_dimension_is_the_f_of_an_analysis_of_variance():
    from scipy import stats

    groups = [POINTS[i::3, 0].numpy() for i in range(3)]
    assert clusters.chi(POINTS[:, :1], LABELS) == pytest.approx(stats.f_oneway(*groups).statistic, rel=1e-10)


def test_chi_of_shuffled_labels_is_about_one():
    rng = np.random.default_rng(0)
    points = draw(60, 5)
    found = [clusters.chi(points, rng.permutation(["a", "b", "c"] * 20).tolist()) for _ in range(200)]
    assert np.mean(found) == pytest.approx(1, abs=0.1)
    assert clusters.chi(POINTS, LABELS) > 10


def test_limits_of_chi():
    same = torch.cat([POINTS[:4], POINTS[:4]])
    assert clusters.chi(same, ["a"] * 4 + ["b"] * 4) == pytest.approx(0, abs=1e-20)
    apart = torch.tensor([[0.1, 0.3]] * 3 + [[0.7, 0.2]] * 3)
    assert clusters.chi(apart, ["a"] * 3 + ["b"] * 3) == np.inf
    assert clusters.chi(torch.full((6, 2), 0.1), ["a", "b"] * 3) == 0
    with pytest.raises(UserError, match=r"one cluster only \(noise\)"):
        clusters.chi(POINTS, ["noise"] * 24)
    with pytest.raises(UserError, match="3 points in 3 clusters: give more"):
        clusters.chi(POINTS[:3], LABELS[:3])


def test_interval_of_chi_is_a_slow_bootstrap_over_pictures():
    pictures = [i // 3 for i in range(24)]
    value, low, high = clusters.chi_interval(POINTS, LABELS, pictures, resamples=300, seed=5)
    assert value == clusters.chi(POINTS, LABELS)
    counts = clusters.chance.generator(5, "chi").multinomial(8, np.full(8, 1 / 8), size=300)
    slow = []
    for drawn in counts:
        rows = [3 * picture + k for picture, count in enumerate(drawn) for _ in range(count) for k in range(3)]
        slow.append(clusters.chi(POINTS[rows], [LABELS[row] for row in rows]))
    slow = np.sort(slow) * value / np.median(slow)
    assert (low, high) == (pytest.approx(slow[7], rel=1e-9), pytest.approx(slow[-8], rel=1e-9))
    assert low < value < high
    assert clusters.chi_interval(POINTS, LABELS, pictures, resamples=300, seed=5) == (value, low, high)
    assert clusters.chi_interval(POINTS, LABELS, pictures, resamples=300, seed=6) != (value, low, high)


def test_pieces_of_a_photograph_are_drawn_together():
    pictures, photographs = [i // 3 for i in range(24)], {picture: "abcbbaca"[picture] for picture in range(8)}
    value, low, high = clusters.chi_interval(POINTS, LABELS, pictures, photographs, resamples=300, seed=5)
    counts = clusters.chance.generator(5, "chi").multinomial(3, np.full(3, 1 / 3), size=300)
    slow = []
    for drawn in counts:
        often = dict(zip("abc", drawn, strict=True))
        rows = [3 * picture + k for picture in range(8) for _ in range(often[photographs[picture]]) for k in range(3)]
        slow.append(clusters.chi(POINTS[rows], [LABELS[row] for row in rows]))
    slow = np.sort(slow) * value / np.median(slow)
    assert (low, high) == (pytest.approx(slow[7], rel=1e-9), pytest.approx(slow[-8], rel=1e-9))
    every = {picture: str(picture) for picture in range(8)}
    assert clusters.chi_interval(POINTS, LABELS, pictures, every) == clusters.chi_interval(POINTS, LABELS, pictures)
    single = clusters.chi_interval(POINTS, LABELS, pictures, dict.fromkeys(range(8), "one"))
    assert single.value == value
    assert np.isnan([single.low, single.high]).all(), "one photograph says nothing about others"


def test_order_of_points_does_not_matter_to_the_interval_where_pictures_keep_theirs():
    pictures = [i // 3 for i in range(24)]
    rows = [3 * picture + k for k in range(3) for picture in range(8)]  # by degradation, not by picture
    expected = clusters.chi_interval(POINTS, LABELS, pictures, resamples=100)
    found = clusters.chi_interval(POINTS[rows], [LABELS[i] for i in rows], [pictures[i] for i in rows], resamples=100)
    assert found == pytest.approx(expected, rel=1e-9)


def test_interval_holds_what_other_pictures_give_on_average():
    """90 of a hundred at least, for clusters that stand apart and for none; each time 12 pictures."""
    for apart in (0.0, 2.0):
        drawn = draw(100, 12, 3, 6, seed=3) + draw(100, 12, 1, 6, seed=4) + apart * torch.arange(3.0)[None, None, :, None]
        samples = drawn.flatten(1, 2)
        labels, pictures = [0, 1, 2] * 12, [i // 3 for i in range(36)]
        truth = np.mean([clusters.chi(sample, labels) for sample in samples])
        intervals = [clusters.chi_interval(sample, labels, pictures, resamples=200) for sample in samples]
        assert sum(low <= truth <= high for _, low, high in intervals) >= 90
        assert all(low <= value <= high for value, low, high in intervals)


def test_interval_of_clusters_without_width():
    points = torch.tensor([[0.0], [1.0]] * 5)
    assert clusters.chi_interval(points, ["a", "b"] * 5, [i // 2 for i in range(10)]) == (np.inf, np.inf, np.inf)


# --- the whole ---


@pytest.fixture(scope="module")
def found() -> clusters.Clusters:
    return interpret.ddr(zoo.make("srresnet").eval(), inputs(), dims=10, seeds=(0, 1), resamples=50)


def test_ddr_is_its_parts(found):
    net = zoo.make("srresnet").eval()
    points = torch.stack([interpret.features(net, picture, "last").flatten() for _, _, picture in inputs()])
    components = clusters.dual_pca(points, 10)
    torch.testing.assert_close(found.scores, components.scores)
    torch.testing.assert_close(found.explained, components.variance / components.total)
    assert found.labels == DEGRADATIONS * 6
    assert found.names == tuple(f"p{i}" for i in range(6) for _ in range(3))
    assert found.degradations == DEGRADATIONS
    assert found.chi["pca"] == clusters.chi_interval(found.scores, found.labels, found.names, resamples=50)
    assert found.chi["tsne"] == [clusters.chi(found.embeddings[seed], found.labels) for seed in (0, 1)]
    assert found.perplexity == pytest.approx(17 / 3)
    assert found.nbytes == points.nbytes
    noise = (found.scores[1::3].mean(0) - found.scores[0::3].mean(0)).norm().item()
    assert found.from_clean["noise"] == pytest.approx(noise)
    assert list(found.from_clean) == ["noise", "blur"]
    assert found.farthest == "noise"


def test_embeddings_are_functions_of_their_seed(found):
    assert {name: tuple(embedding.shape) for name, embedding in found.embeddings.items()} == {0: (18, 2), 1: (18, 2)}
    assert not torch.allclose(found.embeddings[0], found.embeddings[1])
    assert torch.equal(found.embeddings[0], clusters.tsne(found.scores, seed=0, perplexity=found.perplexity))
    assert all(embedding.isfinite().all() for embedding in found.embeddings.values())


def test_perplexity_and_few_points():
    assert clusters.usual_perplexity(500) == 30
    assert clusters.usual_perplexity(91) == 30
    assert clusters.usual_perplexity(31) == 10
    assert clusters.usual_perplexity(4, 0.5) == 1
    with pytest.raises(UserError, match="perplexity 30 needs more than 30 points, not 18: choose a smaller one"):
        clusters.tsne(draw(18, 4), perplexity=30)


def test_networks_in_training_are_read_as_they_are_used_and_go_on_training():
    net = zoo.make("foreign").train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    found = interpret.ddr(net, inputs(), seeds=(), resamples=10)
    assert all(module.training for module in net.modules())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert torch.equal(found.scores, interpret.ddr(net.eval(), inputs(), seeds=(), resamples=10).scores)


@pytest.mark.parametrize("name", zoo.NETWORKS)
def test_every_network_at_every_kind_of_site(name):
    net = zoo.make(name).eval()
    for site in ("last", next(module for module, kind in net.named_modules() if isinstance(kind, nn.Conv2d))):
        found = interpret.ddr(net, inputs(3), site, seeds=(), resamples=20)
        assert found.scores.shape == (9, 8)
        assert found.scores.isfinite().all()
        assert found.embeddings == {}
        assert found.chi["tsne"] == []
        assert found.chi["pca"].value > 0
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_a_callable_gives_features_itself_and_the_identity_shows_the_inputs():
    given = inputs()
    found = interpret.ddr(lambda picture: picture, given, dims=17, seeds=())
    expected = torch.cat([picture for _, _, picture in given]).flatten(1).double()
    torch.testing.assert_close(torch.cdist(found.scores, found.scores), torch.cdist(expected, expected), rtol=1e-9, atol=1e-9)
    without = [item for item in given if item[1] != "clean"]
    found = interpret.ddr(lambda picture: picture, without, seeds=())
    assert found.from_clean == {}
    assert found.farthest is None


def test_a_curve_over_networks_makes_one_at_a_time_and_falls_as_a_network_loses_the_noise():
    made = []

    def networks():
        for share in (1.0, 0.3, 0.0):
            made.append(share)
            yield share, lambda picture, share=share: picture * share + 0.5 * picture.mean((2, 3), keepdim=True)

    curve = interpret.chi_curve(networks(), inputs(), seeds=(), resamples=20)
    label, first = next(curve)
    assert (label, made) == (1.0, [1.0])
    assert first.chi == interpret.ddr(lambda x: x + 0.5 * x.mean((2, 3), keepdim=True), inputs(), seeds=(), resamples=20).chi
    assert [label for label, _ in curve] == [0.3, 0.0]


def test_progress_is_told_of_every_input():
    told = []
    interpret.ddr(lambda picture: picture, inputs(3), seeds=(), progress=lambda done, total: told.append((done, total)))
    assert told == [(i, 9) for i in range(1, 10)]


def test_what_may_not_be_asked_for():
    given = inputs()

    def asking(these):
        return lambda: interpret.ddr(lambda picture: picture, these, seeds=())

    for these, message in (
        ([], "no inputs are given"),
        ([item for item in given if item[1] == "noise"], "noise is the only degradation: give two or more"),
        (given[:6], "2 pictures for 3 clusters: give as many pictures as degradations, or more"),
        (given[:-1], "p5 lacks the degradation blur: give every picture in each of clean, noise, blur"),
        ([*given, given[4]], "p1 is there with the degradation noise more than once"),
        (
            [*given[:-1], ("p5", "blur", torch.zeros(1, 3, 9, 8))],
            r"several sizes, \(1, 3, 8, 8\) and \(1, 3, 9, 8\) among them",
        ),
    ):
        with pytest.raises(UserError, match=message):
            asking(these)()
    with pytest.raises(UserError, match="has no site 'lsat'"):
        interpret.ddr(zoo.make("srresnet"), given, "lsat", seeds=())
    with pytest.raises(UserError, match="'half-part' is 2 places"):
        interpret.ddr(zoo.make("srresnet"), given, "half-part", seeds=())


def test_without_scikit_learn_only_embeddings_are_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    interpret.ddr(lambda picture: picture, inputs(), seeds=())
    with pytest.raises(UserError, match=r"pip install 'wildsr\[explain\]'"):
        interpret.ddr(lambda picture: picture, inputs())


def test_the_measurement_of_memory_counts_what_it_should():
    script = Path(__file__).parents[1] / "benchmarks/ddr_memory.py"
    command = [sys.executable, script, "--count", "25", "--channels", "4", "--blocks", "1"]
    out = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}).stdout
    found = json.loads(out)
    assert found["features, MB"] == pytest.approx(4 * 25 * 4 * 128 * 128 / 1e6, abs=0.1)
    assert found["before features, MB"] > 50
    assert found["peak, MB"] > found["before features, MB"] + found["features, MB"]
