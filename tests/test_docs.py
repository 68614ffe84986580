"""The documents: what they show runs and prints what stands there, and what they name exists."""

import functools
import json
import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
import typer
from torch import nn

import wildsr
from wildsr import benchmark, cli, networks, recipes, sites
from wildsr.train.config import SCHEDULES, require_sites

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OWN_NETWORK, METHODS = ROOT / "docs" / "own-network.md", ROOT / "docs" / "methods.md"


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def fences(text: str) -> list[tuple[str, str]]:
    """(language, contents) of the fenced blocks."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def prose(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def tables(page: Path, heading: str) -> list[list[list[str]]]:
    """The tables below a heading, as rows of cells, without the line of dashes."""
    section = re.split(r"^## ", text_of(page).split(f"\n## {heading}", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    blocks = re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE)
    return [[[cell.strip() for cell in row.strip("|").split("|")] for row in block.splitlines() if "---" not in row] for block in blocks]


# ------------------------------------------------------------------------------------- own-network.md, from top to bottom


class Block(NamedTuple):
    """A block of Python, and what stands below it as its output, if anything does."""

    code: str
    output: str | None


class Outcome(NamedTuple):
    """What a block printed, the newest losses after it, hooks that are left on all networks so far, and graphs compiled so far."""

    shown: str
    losses: dict[str, float]
    hooks: int
    graphs: int


def blocks() -> list[Block]:
    found = fences(text_of(OWN_NETWORK))
    following = [*found[1:], ("", "")]
    return [
        Block(code, after if kind == "text" else None)
        for (name, code), (kind, after) in zip(found, following, strict=True)
        if name == "python"
    ]


# In a process of its own, where the tests' shape checks do not disturb the compiler, and warnings are errors.
PLAYER = """
import contextlib, io, json, sys
from pathlib import Path

from torch._dynamo.utils import counters

space, outcomes = {"__name__": "__main__"}, []
for file in map(Path, sys.argv[1:]):
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
        exec(compile(file.read_text(encoding="utf-8"), file, "exec"), space)
    losses = {name: value.item() for name, value in {"loss": space["loss"], **space.get("losses", {})}.items()}
    modules = [part for value in space.values() if isinstance(value, space["nn"].Module) for part in value.modules()]
    hooks = sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in modules)
    outcomes.append([shown.getvalue(), losses, hooks, counters["stats"]["unique_graphs"]])
Path("outcomes.json").write_text(json.dumps(outcomes))
"""


# DistributedDataParallel keeps gloo's threads alive to the end, where they seldom make a Python abort that has done its work.
LEAVER = """
import os, runpy, sys

runpy.run_path(sys.argv[1], run_name="__main__")
sys.stdout.flush()
os._exit(0)
"""


def start(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    clean = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    variables = {**clean, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), **environment}
    command = [sys.executable, "-W", "error", *arguments]
    return subprocess.Popen(command, cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> str:
    out, error = process.communicate(timeout=200)
    assert process.returncode == 0, error
    return out


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    folder = tmp_path_factory.mktemp("page")
    files = [f"block{i}.py" for i in range(len(blocks()))]
    for file, block in zip(files, blocks(), strict=True):
        (folder / file).write_text(block.code, encoding="utf-8")
    finish(start(folder, "-c", PLAYER, *files))
    return [Outcome(*outcome) for outcome in json.loads((folder / "outcomes.json").read_text())]


def test_what_the_page_shows_as_output_is_what_its_blocks_print(played: list[Outcome]):
    assert sum(block.output is not None for block in blocks()) >= 5
    for block, outcome in zip(blocks(), played, strict=True):
        if block.output is not None:
            assert outcome.shown == block.output, block.code
        elif "two_processes.py" not in block.code:
            assert outcome.shown == "", block.code


def test_losses_of_the_page_are_finite_and_positive_and_no_hook_is_left(played: list[Outcome]):
    for outcome in played:
        assert all(0 < value < 10 for value in outcome.losses.values()), outcome
        assert outcome.hooks == 0
    assert "align" in played[1].losses


def test_a_new_step_compiles_nothing_anew(played: list[Outcome]):
    """One graph for the two steps inside the with, and one for the plain network after it."""
    graphs = [0, *(outcome.graphs for outcome in played)]
    compiled = [
        after - before for block, before, after in zip(blocks(), graphs, graphs[1:], strict=False) if "torch.compile(" in block.code
    ]
    assert compiled == [2]


def test_two_processes_print_what_one_prints(tmp_path: Path, played: list[Outcome]):
    index, block = next((i, block) for i, block in enumerate(blocks()) if block.code.startswith("# two_processes.py\n"))
    (tmp_path / "two_processes.py").write_text(block.code, encoding="utf-8")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = str(unused.getsockname()[1])
    meeting = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    first, second = (start(tmp_path, "-c", LEAVER, "two_processes.py", RANK=rank, LOCAL_RANK=rank, **meeting) for rank in "01")
    shown = [finish(process) for process in (first, second)]
    assert shown[1] == ""

    def numbers(line: str) -> list[float]:
        return [float(number) for number in re.findall(r"\d\.\d+e[-+]\d+", line)]

    alone = numbers(played[index].shown)
    assert len(alone) == 2
    # Printed with four digits.
    assert numbers(shown[0]) == pytest.approx(alone, rel=2e-3)


def test_the_smallest_picture_that_the_page_names_can_be_degraded():
    side = int(re.search(r"at least (\d+) pixels", text_of(OWN_NETWORK))[1])  # pyright: ignore[reportOptionalSubscript]
    wildsr.TwoOrder().require(side, 4)
    with pytest.raises(ValueError, match="larger canvas"):
        wildsr.TwoOrder().require(side - 1, 4)


# ---------------------------------------------------------------------------------------------------- networks of somebody else


def espcn() -> nn.Module:
    layers = [nn.Conv2d(3, 12, 5, padding=2), nn.Tanh(), nn.Conv2d(12, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, 12, 3, padding=1)]
    return nn.Sequential(*layers, nn.PixelShuffle(2))


class Mixer(nn.Module):
    """Attention over all pixels, and an enlargement that is the sum of two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 3, padding=1)
        self.mix = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.LayerNorm(8)
        self.tail = nn.Conv2d(8, 12, 3, padding=1)
        self.skip = nn.Conv2d(3, 12, 1)

    def forward(self, lr: torch.Tensor) -> torch.Tensor:
        feature = self.embed(lr)
        tokens = self.norm(feature.flatten(2).transpose(1, 2))
        feature = feature + self.mix(tokens, tokens, tokens)[0].transpose(1, 2).reshape(feature.shape)
        return F.pixel_shuffle(self.tail(feature) + self.skip(lr), 2)


FOREIGN = {"espcn": (espcn, "last"), "mixer": (Mixer, "tail:input")}
X = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=FOREIGN)
def foreign(request: pytest.FixtureRequest) -> tuple[nn.Module, str]:
    torch.manual_seed(1)
    make, site = FOREIGN[request.param]
    return make(), site


@pytest.mark.parametrize("dimension", ["channel", "element"])
def test_dropout_acts_in_training_alone(foreign: tuple[nn.Module, str], dimension: Any):
    net, site = foreign
    plain = net.eval()(X)
    with wildsr.attach(net.train(), wildsr.FeatureDropout(p=0.5, site=site, dimension=dimension)) as attached:
        attached.begin(0, 0.0)
        dropped = net(X)
        assert attached.losses() == {}
        assert torch.equal(net.eval()(X), plain)
        attached.begin(6, 0.0)
        assert not torch.equal(net.train()(X), dropped)
    assert ((dropped - plain).abs().amax((1, 2, 3)) > 1e-3).all()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_the_alignment_loss_reaches_the_first_layer(foreign: tuple[nn.Module, str]):
    net, site = foreign
    with wildsr.attach(net, wildsr.FeatureAlignment(site=site)) as attached:
        attached.begin(0, 0.0)
        net(X)
        loss = attached.losses()["align"]
    assert loss > 0
    (gradient,) = torch.autograd.grad(loss, [next(module.weight for module in net.modules() if isinstance(module, nn.Conv2d))])
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0


def test_the_choice_of_the_last_convolution_is_printed(capsys: pytest.CaptureFixture[str]):
    net = espcn()
    with wildsr.attach(net, wildsr.FeatureAlignment()):
        chosen = {name for name, module in net.named_modules() if module._forward_pre_hooks}
    assert chosen == {"4"}
    assert capsys.readouterr().err == "wildsr: alignment acts before '4', Sequential's last convolution\n"


def test_an_ambiguous_last_convolution_is_asked_for(capsys: pytest.CaptureFixture[str]):
    net = Mixer()
    with pytest.raises(wildsr.UserError, match="one of tail:input, skip:input"), wildsr.attach(net, wildsr.FeatureDropout()):
        pass
    with wildsr.attach(net, wildsr.FeatureDropout(site="skip:input")):
        assert net.skip._forward_pre_hooks
        assert not net.tail._forward_pre_hooks
    assert capsys.readouterr().err == ""


# ----------------------------------------------------------------------------------------------------------- commands and links


def shell_commands(page: Path) -> list[list[str]]:
    """The wildsr commands of the fenced blocks, in words. NAME="…" before them is put in for $NAME."""
    found = []
    for language, block in fences(text_of(page)):
        if language not in ("", "sh", "bash", "console"):
            continue
        block = block.replace("\\\n", " ")
        assert not re.search(r"^(?:\$ )?wildsr .*\n +\S", block, re.MULTILINE), f"{page.name}: a command goes on without a backslash"
        for name, value in re.findall(r'^(\w+)="([^"]*)"', block, re.MULTILINE):
            block = block.replace(f"${name}", value)
        lines = re.findall(r"^(?:\$ )?wildsr (.*)", block, re.MULTILINE)
        found += [shlex.split(line, comments=True) for line in lines]
    return found


def phrases(page: Path) -> list[list[str]]:
    """The wildsr commands in running text, which may be shortened."""
    return [shlex.split(phrase) for phrase in re.findall(r"`wildsr\s([^`]+)`", prose(text_of(page)))]


def verb(words: list[str]) -> tuple[Any, str, list[str]]:
    """A command of the command line, its name, and the words that are left for it."""
    command: Any = typer.main.get_command(cli.app)
    name = "wildsr"
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        name, *words = words
        assert name in command.commands, f"there is no verb {name!r}"
        command = command.commands[name]
    return command, name, words


def test_there_are_commands_to_check():
    assert len(shell_commands(ROOT / "README.md")) >= 5
    assert sum(len(phrases(page)) for page in PAGES) >= 3


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_blocks_are_whole_and_right(page: Path):
    for words in shell_commands(page):
        command, name, rest = verb(words)
        if "--help" in rest:
            continue
        given = command.make_context(name, [*rest]).params  # parses, and runs nothing
        if name == "train" and given["recipe"] and not given["recipe"].endswith((".toml", ".yaml", ".yml")):
            recipes.load(given["recipe"], given["overrides"])
        if name == "bench":
            assert set(given["suite"]) <= set(benchmark.SUITES), words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_running_text_name_verbs_and_options_that_exist(page: Path):
    for words in phrases(page):
        command, _, rest = verb(words)
        options = {"--help", *(option for parameter in command.params for option in parameter.opts)}
        assert {word.partition("=")[0] for word in rest if word.startswith("-")} <= options, words


def headings(page: Path) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    found = re.findall(r"^#+ (.+)$", prose(text_of(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page: Path):
    for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", prose(text_of(page)))):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), link
        if anchor:
            assert anchor in headings(target), link


# ---------------------------------------------------------------------------------------------------------------- methods.md

CONFIGS = {"SRResNet": "srresnet", "RRDBNet": "rrdbnet", "SwinIR": "swinir", "RCAN": "rcan", "Compact": "compact"}
PLACE = torch.zeros(1, 3, 8, 8, device="meta")


@functools.cache
def weightless(name: str) -> networks.Network:
    with torch.device("meta"):
        return networks.create(networks.NETWORKS[name][0]())


def test_the_positions_are_where_the_table_says():
    (head, *rows), *_ = tables(METHODS, "Where dropout stands")
    assert head[2:] == list(CONFIGS)
    for title, name in CONFIGS.items():
        net = weightless(name)
        for _, site, *cells in rows:
            site, cell = site.strip("`"), cells[head[2:].index(title)]
            if cell == "–":
                assert site not in net.sites, f"{site} of {title}"
            elif cell.isdigit():
                assert len(sites.find(net, site, PLACE).places) == int(cell), f"{site} of {title}"
            else:
                assert str(net.sites[site][0]) == cell.strip("`"), f"{site} of {title}"


def test_the_parts_have_as_many_places_as_the_text_says():
    counts = re.findall(r"(\d+), (\d+), (\d+)\s+(?:places\s+)?in\s+(\w+)", prose(text_of(METHODS)))
    assert [title for *_, title in counts] == ["SRResNet", "RRDBNet", "SwinIR", "RCAN"]
    for *numbers, title in counts:
        net = weightless(CONFIGS[title])
        for suffix in ("", "-conv2"):
            assert [len(net.sites[f"{part}-part{suffix}"]) for part in ("all", "half", "quarter")] == [int(number) for number in numbers]
        assert len(net.sites["adaptive"]) == int(numbers[0]) + 1


def test_the_networks_are_as_large_as_the_table_says():
    (_, *rows), *_ = tables(METHODS, "Networks")
    assert {row[0].strip("`") for row in rows} == set(networks.NETWORKS)
    for name, parameters, tensors, macs, radius, _ in rows:
        net = weightless(name.strip("`"))
        # One step of one patch of 32×32.
        cost = recipes.cost(wildsr.TrainConfig(network=net.config, batch_size=1))
        assert parameters == f"{cost.parameters:,}"
        assert int(tensors) == len(net.state_dict())
        assert macs == f"{cost.macs / 1e9:.2f} G"
        assert radius == ("the whole picture" if net.radius is None else str(net.radius))


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (networks.SRResNetConfig(scale=2), "1,369,859"),
        (networks.SRResNetConfig(scale=3), "1,554,499"),
        (networks.CompactConfig(blocks=32), "1,213,296"),
        (networks.SwinIRConfig(upsampler="pixelshuffle"), "11,900,199"),
        (networks.SwinIRConfig(upsampler="pixelshuffledirect", embed_dim=60, depths=(6,) * 4, heads=(6,) * 4), "929,628"),
    ],
)
def test_other_sizes_have_as_many_parameters_as_the_text_says(config: networks.Config, parameters: str):
    assert parameters in text_of(METHODS)
    with torch.device("meta"):
        assert f"{sum(parameter.numel() for parameter in networks.create(config).parameters()):,}" == parameters


def test_the_learning_rates_are_those_of_the_table():
    (head, *rows) = next(table for table in tables(METHODS, "Training: paper and code") if table[0][0].startswith("learning rate"))
    steps = [int(step.replace(",", "")) for step in head[1:]]
    assert {row[0].strip("`") for row in rows} == set(SCHEDULES)
    for name, *cells in rows:
        for step, cell in zip(steps, cells, strict=True):
            rate = 2e-4 * SCHEDULES[name.strip("`")](step / 500_000)
            assert float(cell.split(",")[0]) == pytest.approx(rate, rel=5e-4, abs=1e-12), f"{name} at {step}"


def switches() -> list[str]:
    (_, *rows), *_ = tables(METHODS, "What is open, and how it is settled here")
    return [switch for row in rows for switch in re.findall(r"`([a-z][\w.]*=[^`]+)`", row[-1])]


def test_every_switch_is_a_key_of_some_recipe_with_a_value_that_it_takes():
    assert len(switches()) >= 15
    for switch in switches():
        taken = next((taken for name in recipes.RECIPES if (taken := attempt(name, switch)) is not None), None)
        assert taken is not None, f"no recipe takes {switch}"
        if "site" in switch:
            require_sites(taken)


def attempt(recipe: str, switch: str) -> wildsr.TrainConfig | None:
    try:
        return recipes.load(recipe, [switch])[0]
    except wildsr.UserError:
        return None
