"""The demo, whole, with fewer steps."""

from rich.console import Console

from wildsr import datasets, demo, files, recipes


def test_the_demo_goes_the_whole_way_and_a_second_time_it_has_less_to_do(tmp_path, monkeypatch):
    original = recipes.quick

    def hurried(*regularizers):
        changes = {"steps": 2, "batch_size": 2, "save_every": 1}
        return original(*regularizers).model_copy(update=changes)

    monkeypatch.setattr(recipes, "quick", hurried)
    monkeypatch.setattr(datasets, "HELD_OUT", ("chelsea",))
    console = Console(record=True, width=200, quiet=True)
    assert demo.demo(tmp_path / "demo", device="cpu", console=console) == []
    text = (tmp_path / "demo" / "report.html").read_text()
    assert "dropout" in text
    assert "alignment" in text
    rows = files.read_jsonl(tmp_path / "demo" / "bench" / "rows.jsonl")
    assert {row["model"] for row in rows} == {"bicubic", "default", "plain", "dropout", "alignment"}
    assert {row["image"] for row in rows} == {"chelsea"}
    assert not any(row["error"] for row in rows)
    weights = {row["model"]: row["weights_sha256"] for row in rows}
    assert len(set(weights.values())) == 5
    assert (tmp_path / "demo" / "upscaled" / "chelsea.png").is_file()
    training = {path.stem for path in (tmp_path / "demo" / "photographs" / "training").iterdir()}
    assert len(training) == 10
    assert "chelsea" not in training
    assert {"motorcycle_left", "motorcycle_right"} <= training

    demo.demo(tmp_path / "demo", device="cpu", console=console)
    for name in ("plain", "dropout", "alignment"):
        steps = [
            record["step"] for record in files.read_jsonl(tmp_path / "demo" / "runs" / name / "log.jsonl") if record["event"] == "step"
        ]
        assert steps == [2]


def test_the_three_networks_see_equal_numbers_of_lr_patches():
    from wildsr.regularize import FeatureAlignment, FeatureDropout

    configs = [recipes.quick(), recipes.quick(FeatureDropout()), recipes.quick(FeatureAlignment())]
    assert {config.lr_patches for config in configs} == {8}
    assert {config.steps for config in configs} == {300}
