"""The photographs inside installed wheels."""

import importlib.util
from pathlib import Path

from wildsr.errors import UserError

HELD_OUT = ("chelsea", "china", "coffee")
"""The sample photographs that the demo keeps for measuring; chosen by hand for their variety before anything was trained."""

_SAMPLES = {
    "skimage": (
        "data",
        "astronaut.png chelsea.png coffee.png hubble_deep_field.jpg ihc.png motorcycle_left.png motorcycle_right.png retina.jpg rocket.jpg",
    ),
    "sklearn": ("datasets/images", "china.jpg flower.jpg"),
}


def samples() -> list[Path]:
    """The colour photographs that the scikit-image and scikit-learn wheels carry, sorted by name. Nothing is downloaded.

    Raises UserError when the packages are not installed."""
    found: list[Path] = []
    for package, (folder, names) in _SAMPLES.items():
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise UserError(f"the sample photographs lie in {package}, which is not installed: pip install 'wildsr[demo]'")
        found += [Path(spec.origin).parent / folder / name for name in names.split()]
    missing = [path for path in found if not path.is_file()]
    if missing:
        raise UserError(f"the sample photograph {missing[0]} is missing: reinstall scikit-image and scikit-learn")
    return sorted(found, key=lambda path: path.name)
