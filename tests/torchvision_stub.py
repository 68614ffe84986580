"""What spandrel imports of torchvision, which has no build for every PyTorch: names alone, for architectures that no test here loads."""

import sys
from types import ModuleType
from typing import Any


def install() -> None:
    """Puts the stand-in where `import torchvision` finds it."""
    torchvision, transforms, functional = (
        ModuleType(name) for name in ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")
    )

    def unavailable(*_: Any, **__: Any) -> None:
        raise AssertionError("only the names are here")

    functional.InterpolationMode = type("InterpolationMode", (), {"NEAREST": "nearest", "BILINEAR": "bilinear"})  # type: ignore[attr-defined]
    functional.rotate = functional.normalize = unavailable  # type: ignore[attr-defined]
    torchvision.transforms, transforms.functional = transforms, functional  # type: ignore[attr-defined]
    for module in (torchvision, transforms, functional):
        sys.modules[module.__name__] = module
