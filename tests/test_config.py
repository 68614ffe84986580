"""Configurations from recipes, files and overrides; every mistake says what was meant."""

import json

import pytest

from wildsr import config, recipes
from wildsr.errors import UserError
from wildsr.regularize import AdaptiveDropout, FeatureAlignment, FeatureDropout
from wildsr.train import TrainConfig


def load(name, overrides=()):
    return recipes.load(name, overrides)[0]


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_every_recipe_is_named_documented_and_survives_a_round_trip(name):
    recipe, notes = recipes.load(name)
    assert recipe.recipe == name
    assert recipes.RECIPES[name].sentence.endswith(".")
    assert not notes
    assert config.build(TrainConfig, json.loads(json.dumps(recipe.dump()))) == recipe


def test_the_papers_settings():
    plain, dropout, align = (load(f"real-srresnet{suffix}") for suffix in ("", "-dropout", "-align"))
    assert (plain.steps, plain.batch_size, plain.lr_patch, plain.learning_rate, plain.ema) == (500_000, 16, 32, 2e-4, 0.999)
    assert (plain.network.channels, plain.network.blocks, plain.degradation.canvas, plain.target_usm) == (64, 16, 400, True)
    assert dropout.regularizers == (FeatureDropout(p=0.7, site="last"),)
    assert align.regularizers == (FeatureAlignment(),)
    # Equal LR patches a step: 16 of one view, 8 of two.
    assert plain.batch_size * plain.views_drawn == align.batch_size * align.views_drawn == 16


def test_the_recipes_are_comparable_and_cite_their_source():
    assert load("real-rrdb-dropout").regularizers == (FeatureDropout(p=0.5),)
    assert load("real-srresnet-adaptive").regularizers == (AdaptiveDropout(a=0.3),)
    assert load("real-srresnet-adaptive-a07").regularizers == (AdaptiveDropout(a=0.7),)
    for name in recipes.RECIPES:
        recipe = load(name)
        assert recipe.lr_patches == (8 if name == "quick" else 16), name
        assert (recipe.views_drawn == 2) == name.endswith(("-align", "-two-view")), name
        assert recipe.target_usm == name.startswith("real-"), name
        assert (recipe.schedule, recipe.betas) == ("cosine", (0.9, 0.99) if name == "quick" else (0.9, 0.999)), name
    for network in ("srresnet", "rrdb", "swinir"):
        two_view, align = load(f"real-{network}-two-view"), load(f"real-{network}-align")
        same = {"recipe", "regularizers", "views"}
        assert {k: v for k, v in two_view.dump().items() if k not in same} == {k: v for k, v in align.dump().items() if k not in same}
    assert load("bicubic-srresnet-dropout").degradation.name == "bicubic"


def test_costs_are_counted():
    plain = recipes.cost(load("real-srresnet"))
    assert plain == (1_517_571, 16 * 1024 * 2_536_128)
    assert recipes.cost(load("real-srresnet-align")) == plain
    assert recipes.cost(load("real-rrdb")) == (16_697_987, 16 * 1024 * 17_926_848)
    rows = recipes.table()
    assert [row["name"] for row in rows] == list(recipes.RECIPES)


def test_another_name_brings_its_own_fields():
    """What belonged to the former network or degradation does not stand in the way."""
    rcan = load("real-srresnet", ["network.groups=2", "network.name=rcan", "network.channels=32"]).network
    assert (rcan.name, rcan.groups, rcan.channels, rcan.blocks, rcan.scale) == ("rcan", 2, 32, 20, 4)
    assert load("real-srresnet", ["degradation.name=bicubic"]).degradation.canvas == 400
    assert load("real-srresnet-dropout", ["regularizers.0.name=alignment"]).regularizers == (FeatureAlignment(),)
    assert load("real-srresnet-dropout", ["regularizers.0.name=dropout", "regularizers.0.p=0.1"]).regularizers == (FeatureDropout(p=0.1),)
    given = ["degradation.name=two-order", "degradation.first.gaussian_probability=0.1"]
    assert load("bicubic-srresnet", given).degradation.first.gaussian_probability == 0.1
    listed = ['regularizers=[{"name": "dropout"}]', "regularizers.0.name=adaptive-dropout"]
    assert load("quick", listed).regularizers == load("quick", listed[::-1]).regularizers == (AdaptiveDropout(),)
    assert config.merge({"network": {"name": "a", "x": 1}}, {"network": {"name": "b"}}) == {"network": {"name": "b"}}
    with pytest.raises(UserError, match=r"network: unknown name 'rcann': did you mean 'rcan'"):
        load("real-srresnet", ["network.name=rcann"])
    with pytest.raises(UserError, match=r"unknown key 'network.block' .* did you mean 'blocks'"):
        load("real-srresnet", ["network.name=rcan", "network.block=2"])
    with pytest.raises(UserError, match=r"network: embed_dim = 10 must be a multiple"):
        load("real-swinir", ["network.embed_dim=10"])


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["steps=3e2"], lambda c: c.steps == 300),
        (['steps="3e2"'], lambda c: c.steps == 300),
        (["schedule=restarts"], lambda c: c.schedule == "restarts"),
        (["betas=code"], lambda c: c.betas == (0.9, 0.99)),
        (["betas=paper"], lambda c: c.betas == (0.9, 0.999)),
        (["views=2"], lambda c: c.views_drawn == 2),
        (["regularizers.0.p=[[0, 0.7], [1, 0]]"], lambda c: c.regularizers[0].p == ((0, 0.7), (1, 0))),
        (["steps=7"], lambda c: c.steps == 7),
        (["learning_rate=2e-4"], lambda c: c.learning_rate == 2e-4),
        (['learning_rate="3e-4"'], lambda c: c.learning_rate == 3e-4),
        (["betas=[0.8, 0.9]"], lambda c: c.betas == (0.8, 0.9)),
        (["schedule=constant"], lambda c: c.schedule == "constant"),
        (["network.channels=8", "network.blocks=2"], lambda c: (c.network.channels, c.network.blocks) == (8, 2)),
        (["scale=3"], lambda c: c.network.scale == 3),
        (["degradation.canvas=256"], lambda c: c.degradation.canvas == 256),
        (["regularizers.0.p=0.25"], lambda c: c.regularizers[0].p == 0.25),
        (['regularizers=[{"name": "alignment", "linear": false}]'], lambda c: c.regularizers == (FeatureAlignment(linear=False),)),
        (["target_usm=false"], lambda c: c.target_usm is False),
        (["clip_norm=null"], lambda c: c.clip_norm is None),
    ],
)
def test_overrides(overrides, expected):
    assert expected(load("real-srresnet-dropout", overrides))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stpes=3", "unknown key 'stpes' .* did you mean 'steps'"),
        ("network.chanels=3", "unknown key 'network.chanels' .* did you mean 'channels'"),
        ("degradation.first.sigm=3", "unknown key 'degradation.first.sigm' .* did you mean 'sigma'"),
        ("regularizers.0.q=3", "unknown key 'regularizers.0.q' .* there is: dimension, name, p, site"),
        ("regularizers.1.p=3", "'regularizers.1' is not there: the list holds 1"),
        ("regularizers.²=3", "'regularizers.²' is not there: the list holds 1"),
        ("netwerk.blocks=3", "unknown key 'netwerk': did you mean 'network'"),
        ("steps.more=3", "'steps' is the single value 500000 and has no keys below it"),
        ("steps", "write it as key.path=value"),
        ("steps=-5", "steps = -5: input should be greater than or equal to 1"),
        ("steps=many", "steps = 'many': input should be a valid integer"),
        ("network.scale=2", "set the scale at the top level"),
        ("scale=5", "scale = 5: input should be 2, 3 or 4"),
        ("regularizers.0.p=1", r"regularizers.0.p: 1 is neither a number in \[0, 1\)"),
        ('regularizers=[{"name": "droput"}]', "unknown name 'droput': did you mean 'dropout'"),
        ("degradation.first.resize_probabilities=[0.5,0.2,0.1]", "must be at least 0 and sum to 1, not to 0.8"),
        ("degradation.second.sigma=[3,1]", r"sigma = \[3, 1\] must be an ascending range"),
    ],
)
def test_mistakes_in_overrides(override, message):
    with pytest.raises(UserError, match=message):
        recipes.load("real-srresnet-dropout", [override])


def test_files_of_both_kinds_lie_over_a_recipe_or_over_the_defaults(tmp_path):
    (tmp_path / "a.toml").write_text('recipe = "quick"\nsteps = 9\n[network]\nblocks = 2\n')
    (tmp_path / "a.yaml").write_text("recipe: quick\nsteps: 9\nnetwork:\n  blocks: 2\n")
    expected = load("quick", ["steps=9", "network.blocks=2"])
    assert load(str(tmp_path / "a.toml")) == load(str(tmp_path / "a.yaml")) == expected
    (tmp_path / "b.yml").write_text("learning_rate: 2e-4\nbatch_size: 4\n")
    assert load(str(tmp_path / "b.yml")).learning_rate == 2e-4  # PyYAML reads it as text
    assert load(str(tmp_path / "b.yml"), ["batch_size=6"]).batch_size == 6


def test_files_that_are_no_text_or_begin_with_a_mark(tmp_path):
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(UserError, match=r"x.toml: not a text file"):
        recipes.load(str(tmp_path / "x.toml"))
    (tmp_path / "y.toml").write_bytes(b"\xef\xbb\xbfsteps = 5")
    assert load(str(tmp_path / "y.toml")).steps == 5


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.toml", "steps = ", "x.toml: not valid TOML"),
        ("x.toml", "steps = 2024-01-01", "steps = datetime.date"),
        ("x.yaml", "steps: [", "x.yaml: not valid YAML"),
        ("x.yaml", "steps: 2020-13-45", "x.yaml: not valid YAML"),
        ("x.yaml", "just words", "x.yaml: expected keys and values, found str"),
        ("x.toml", 'recipe = "quik"', "unknown recipe 'quik': did you mean 'quick'"),
        ("x.toml", "stepz = 3", "x.toml: unknown key 'stepz' .* did you mean 'steps'"),
        ("missing.toml", None, "missing.toml: no such file"),
        ("quikc", None, "unknown recipe 'quikc': did you mean 'quick'"),
    ],
)
def test_mistakes_in_files(tmp_path, name, text, message):
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=message):
        recipes.load(str(path) if path.suffix else name)
