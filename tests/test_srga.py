"""Distributions of features and their divergence, against closed forms."""

import math

import pytest
import torch
import zoo

from wildsr import interpret
from wildsr.errors import UserError
from wildsr.interpret import clusters
from wildsr.interpret.srga import distribution, fit_ggd, ggd, kld, srga_index


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def laplacian(n: int, seed: int = 0) -> torch.Tensor:
    uniform = torch.rand(2, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return uniform[0].log() - uniform[1].log()  # the difference of two exponential draws


def pictures(n: int, seed: int = 0, noise: float = 0.0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    clean = torch.rand(n, 1, 3, 8, 8, generator=generator)
    return list(clean + noise * torch.randn(n, 1, 3, 8, 8, generator=generator))


@pytest.mark.parametrize("beta", [0.3, 1.0, 1.7, 2.0, 6.0])
def test_the_closed_form_is_the_integral(beta):
    reference, candidate = ggd(1.3, beta), ggd(0.8, 1.4)

    def log_density(x, given):
        return math.log(given.beta / (2 * given.alpha)) - math.lgamma(1 / given.beta) - (x.abs() / given.alpha) ** given.beta

    # x = sinh(t) follows the long tails of small betas, and x = 0 is a grid point where the density may have a peak.
    t = torch.linspace(-12, 12, 4_000_001, dtype=torch.float64)
    x, weight = t.sinh(), t.cosh()
    first = log_density(x, reference)
    density = first.exp() * weight
    assert torch.trapezoid(density, t).item() == pytest.approx(1, abs=1e-4)
    assert torch.trapezoid(density * x**2, t).item() == pytest.approx(1.3**2, rel=1e-3)
    expected = torch.trapezoid(density * (first - log_density(x, candidate)), t).item()
    assert kld(reference, candidate) == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_known_divergences():
    assert kld(ggd(1, 2), ggd(2, 2)) == pytest.approx(math.log(2) + 1 / 8 - 1 / 2)  # 0.3181
    assert kld(ggd(1, 1), ggd(2, 1)) == pytest.approx(math.log(2) + 1 / 2 - 1)  # 0.1931
    assert kld(ggd(2, 1), ggd(1, 1)) == pytest.approx(2 - 1 - math.log(2))
    assert kld(ggd(1, 2), ggd(2, 2)) != pytest.approx(kld(ggd(2, 2), ggd(1, 2)), rel=0.1)
    for same in (ggd(3, 0.2), ggd(0.01, 10), ggd(1, 1.234)):
        assert kld(same, same) == pytest.approx(0, abs=1e-12)
    assert kld(ggd(1e20, 1), ggd(1e-20, 10)) == math.inf


def test_the_index():
    assert srga_index(0) == pytest.approx(0, abs=1e-12)
    assert srga_index(1 - 1e-5) == pytest.approx(5)
    assert srga_index(0.01) > srga_index(0.001)
    assert srga_index(math.inf) == math.inf


def test_the_shape_of_known_draws():
    found = fit_ggd(2 * draw(100_000))
    assert found.beta == pytest.approx(2, abs=0.05)
    assert found.sigma == pytest.approx(2, rel=0.02)
    assert found.alpha == pytest.approx(2 * math.sqrt(2), rel=0.03)
    found = fit_ggd(laplacian(100_000))
    assert found.beta == pytest.approx(1, abs=0.03)
    assert found.alpha == pytest.approx(1, rel=0.03)
    assert fit_ggd(torch.rand(10_000, generator=torch.Generator().manual_seed(0)) - 0.5).beta == pytest.approx(10, abs=3)


def test_shape_sees_no_scale_and_sigma_is_one():
    plain, larger = fit_ggd(laplacian(1000)), fit_ggd(255 * laplacian(1000))
    assert larger.beta == pytest.approx(plain.beta, abs=1e-9)
    assert larger.sigma == pytest.approx(255 * plain.sigma)


def test_what_does_not_vary_has_no_distribution():
    for values in (torch.zeros(5), torch.full((3,), 2.0), torch.zeros(0), torch.tensor([1.0, torch.inf])):
        with pytest.raises(UserError, match="have no distribution to fit: features must vary"):
            fit_ggd(values)


def test_distribution_is_the_recipe():
    points = draw(40, 200)
    points[3] *= 40  # one point far out: its first score is dropped
    scores = clusters.dual_pca(points, 10).scores.flatten()
    near = scores[(scores - scores.mean()).abs() < 5 * scores.std(correction=0)]
    assert len(near) < len(scores)
    assert distribution(points, 10) == fit_ggd(near)
    assert distribution(points, 10, chunk=7).sigma == pytest.approx(distribution(points, 10).sigma, rel=1e-10)


def test_srga_of_sets():
    net = zoo.make("srresnet").eval()
    reference = pictures(12)
    told = []
    found = interpret.srga(
        net,
        reference,
        {"same": reference, "copy": pictures(12), "other": pictures(12, seed=1), "noisy": pictures(12, seed=2, noise=0.5)},
        components=8,
        progress=lambda done, total: told.append((done, total)),
    )
    assert list(found) == ["same", "copy", "other", "noisy"]
    for name in ("same", "copy"):
        assert found[name].divergence == pytest.approx(0, abs=1e-12)
        assert found[name].value == pytest.approx(0, abs=1e-6)
    assert 0 < found["other"].value < found["noisy"].value
    for result in found.values():
        assert result.reference == found["same"].reference
        assert result.value == srga_index(kld(result.reference, result.candidate))
        assert result.components == 8
    assert len(told) == 4 * 12
    points = torch.stack([interpret.features(net, picture, "last").flatten() for picture in pictures(12, seed=1)])
    assert found["other"].candidate == pytest.approx(distribution(points, 8), rel=1e-9)
    back = interpret.srga(net, pictures(12, seed=2, noise=0.5), {"clean": reference}, components=8)
    assert back["clean"].divergence != pytest.approx(found["noisy"].divergence, rel=0.01)


def test_the_scale_of_features_matters():
    sets = {"other": pictures(12, seed=1)}
    plain = interpret.srga(lambda x: x, pictures(12), sets)["other"]
    both = interpret.srga(lambda x: 255 * x, pictures(12), sets)["other"]
    assert both.divergence == pytest.approx(plain.divergence, rel=1e-6, abs=1e-9)  # of all features: nothing changes
    louder = interpret.srga(lambda x: x, pictures(12), {"other": [2 * x for x in pictures(12, seed=1)]})["other"]
    assert louder.divergence > 10 * plain.divergence


def test_sets_of_several_sizes_share_the_components_of_the_smallest():
    found = interpret.srga(lambda x: x, pictures(12), {"few": pictures(5, seed=1), "many": pictures(20, seed=2)})
    assert [result.components for result in found.values()] == [4, 4]
    with pytest.raises(UserError, match="a set of 1 inputs has no principal components"):
        interpret.srga(lambda x: x, pictures(12), {"one": pictures(1)})


def test_features_in_a_file_are_those_in_memory(tmp_path):
    net = zoo.make("foreign").eval()
    sets = {"other": pictures(6, seed=1)}
    assert interpret.srga(net, pictures(6), sets, memory=0, folder=tmp_path) == interpret.srga(net, pictures(6), sets)
    with pytest.raises(UserError, match="name a folder for them"):
        interpret.srga(net, pictures(6), sets, memory=0)
