"""Guards of the house: imports run one way, the public names are a list, and light things stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import wildsr

ROOT = Path(wildsr.__file__).parent

# A room may import those that its line names, and all that stands on the ground.
GROUND = {"errors", "files", "chance", "config"}
MAY_IMPORT = {
    "images": {"images"},
    "sites": set(),
    "devices": set(),
    "networks": {"networks", "sites"},
    "metrics": {"images", "metrics"},
    "degrade": {"degrade", "images"},
    "datasets": {"datasets", "images"},
    "regularize": {"regularize", "sites"},
    "interpret": {"images", "interpret", "sites"},
    "explain": {"explain", "images", "interpret", "sites"},
    "checkpoint": {"checkpoint", "networks"},
    "export": {"checkpoint", "export", "networks", "upscale"},
    "upscale": {"checkpoint", "devices", "images", "networks", "upscale"},
    "train": {"checkpoint", "datasets", "degrade", "devices", "images", "networks", "regularize", "train"},
    "options": set(),
    "recipes": {"degrade", "networks", "options", "regularize", "train"},
    "benchmark": {"benchmark", "datasets", "degrade", "devices", "images", "metrics"},
    "report": {"report"},
    "jobs": {
        "benchmark",
        "checkpoint",
        "datasets",
        "degrade",
        "devices",
        "explain",
        "images",
        "interpret",
        "jobs",
        "metrics",
        "networks",
        "recipes",
        "report",
        "train",
        "upscale",
        "video",
    },
    "video": {"images", "upscale"},
    "app": {"app", "checkpoint", "images", "upscale"},
    "demo": {"datasets", "jobs", "recipes", "regularize", "report"},
    "sweep": {"benchmark", "checkpoint", "datasets", "images", "jobs", "networks", "recipes", "regularize", "report", "sweep", "train"},
    "cli": {"app", "benchmark", "cli", "datasets", "demo", "export", "images", "jobs", "recipes", "report", "sweep"},
    "__main__": {"cli"},
    "errors": set(),
    "files": set(),
    "chance": set(),
}


def rooms_imported(source: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "wildsr":
            found |= {alias.name for alias in node.names} - {"__version__"}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("wildsr."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("wildsr.")}
    return found


def test_imports_run_one_way():
    wrong = []
    for source in ROOT.rglob("*.py"):
        room = source.relative_to(ROOT).parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        allowed = MAY_IMPORT[room] | GROUND if room not in GROUND else {"errors"} if room in ("config", "files") else set()
        wrong += [f"{room} imports {other}" for other in rooms_imported(source) - allowed]
    assert not wrong


def test_the_public_names():
    assert wildsr.__all__ == [
        "AdaptiveDropout",
        "Checkpoint",
        "Contender",
        "FeatureAlignment",
        "FeatureDropout",
        "Model",
        "Regularizer",
        "SRResNet",
        "SRResNetConfig",
        "Suite",
        "TrainConfig",
        "TwoOrder",
        "UserError",
        "attach",
        "load",
        "psnr",
        "ssim",
    ]
    for name in wildsr.__all__:
        assert getattr(wildsr, name).__doc__, name


def test_every_public_function_and_class_says_what_it_is():
    silent = []
    for source in ROOT.rglob("*.py"):
        tree = ast.parse(source.read_text())
        assert ast.get_docstring(tree), source
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_") and not ast.get_docstring(node):
                silent.append(f"{source.name}: {node.name}")
    assert not silent


def run(*code):
    return subprocess.run([sys.executable, *code], capture_output=True, text=True, check=True).stdout


def test_help_does_not_wait_for_torch():
    script = "import sys, wildsr.cli\nsys.argv = ['wildsr', '--help']\ntry: wildsr.cli.main()\nfinally: print('torch' in sys.modules)"
    out = run("-c", script)
    assert "upscale" in out
    assert out.strip().endswith("False")


def test_core_work_needs_no_extra():
    """What someone who only upscales has not installed must not be asked for."""
    script = (
        "import sys\n"
        "for name in ('torchvision', 'cv2', 'skimage', 'sklearn', 'scipy', 'yaml', 'tensorboard', 'matplotlib', 'accelerate',\n"
        "             'pyarrow', 'huggingface_hub', 'fsspec', 'onnx', 'onnxruntime', 'spandrel', 'av',\n"
        "             'pillow_heif', 'gradio'):\n"
        "    sys.modules[name] = None\n"
        "import wildsr\n"
        "[getattr(wildsr, name) for name in wildsr.__all__]\n"
        "import wildsr.jobs\n"
        "print('ok')"
    )
    assert run("-c", script).strip() == "ok"
