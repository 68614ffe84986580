"""The pictures that the default model is trained on, and those that its recipe was chosen on.

    apt install mate-backgrounds lomiri-wallpapers-16.04 lomiri-wallpapers-20.04 plasma-workspace-wallpapers
    python models/pictures.py BSD400/ pictures/ --apart-from Set5/ --apart-from Set14/ --apart-from B100/

Writes pictures/train and pictures/val. BSD400 as it is; of the packages those files that are photographs, shrunk at least twofold, so that
their compression does not teach, and cut into pieces of about 400 pixels. Every sixteenth picture of BSD400 and every sixth photograph
are held out, whole photographs, each with a single piece. What looks like a test picture is left out of both, and said."""

import argparse
import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

PIECE = 384
"""Smallest side of a piece."""
LONGEST = 1500
"""Photographs are shrunk twofold, or by the next whole factor that brings their longer side below this."""
FLAT = 8.0
"""Standard deviation in grey levels below which a piece shows next to nothing."""
ALIKE = 0.95
"""Correlation of two thumbnails from which on two pictures are taken for the same."""
BSD_HELD_OUT, PHOTOGRAPHS_HELD_OUT = 16, 6

_LOMIRI, _MATE, _PLASMA = "/usr/share/backgrounds", "/usr/share/backgrounds/mate/nature", "/usr/share/wallpapers"
PHOTOGRAPHS = {
    "mate-backgrounds (GPL-2+)": (
        f"{_MATE}/{{}}.jpg",
        "Aqua Blinds Dune Garden GreenMeadow LadyBird RainDrops TwoWings YellowFlower",
    ),
    "lomiri-wallpapers-16.04 (CC-BY-4.0, CC-BY-SA-4.0, CC0-1.0)": (
        f"{_LOMIRI}/{{}}.jpg",
        "Bridge_by_Sander_Klootwijk Dragonfly_by_Bolly Picture_0B_by_freespace Picture_1A_by_freespace Wine_by_Jakkub_Mede "
        "aitzgorri_by_Aitzol_Berasategi free_by_Peter_Nerlich friends_by_Aitzol_Berasategi greentock_by_Peter_Nerlich "
        "life_by_Aitzol_Berasategi picosdeeuropa_by_Aitzol_Berasategi seeding_by_Clements_Engelhardt sunset_by_Aitzol_Berasategi",
    ),
    "lomiri-wallpapers-20.04 (CC-BY-SA-3.0)": (f"{_LOMIRI}/{{}}.jpg", "Kleiber_by_Lukas_Baubkus"),
    "plasma-workspace-wallpapers (GPL-2+)": (
        f"{_PLASMA}/{{}}/contents/images/2560x1600.jpg",
        "BytheWater ColdRipple ColorfulCups EveningGlow FallenLeaf Grey OneStandsOut Path",
    ),
}
"""Package and licences -> where its photographs lie, and their names."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bsd", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--apart-from", type=Path, action="append", default=[], help="folder of pictures that must not be among them")
    args = parser.parse_args()
    photographs = [Path(place.format(name)) for place, names in PHOTOGRAPHS.values() for name in names.split()]
    missing = [str(path) for path in photographs if not path.is_file()]
    if missing:
        parser.error(f"{len(missing)} photographs are not installed ({missing[0]} ...): see the packages above")

    bsd = sorted(path for path in args.bsd.iterdir() if path.suffix.lower() in (".jpg", ".png"))
    held_out = {*bsd[::BSD_HELD_OUT], *photographs[::PHOTOGRAPHS_HELD_OUT]}
    tests = [path for folder in args.apart_from for path in sorted(folder.iterdir()) if path.suffix.lower() in (".jpg", ".png")]
    thumbnails = [thumbnail(turned) for path in tests for turned in turns(read(path))]
    of_tests = np.reshape(thumbnails, (len(tests), 8, -1))
    closest, left_out, written = [], [], {"train": 0, "val": 0}
    for path in (*bsd, *photographs):
        picture = read(path)
        if tests:
            likeness = (of_tests @ thumbnail(picture)).max(1)
            closest.append(f"{likeness.max():.3f} {path} {tests[likeness.argmax()]}")
            if likeness.max() > ALIKE:
                left_out.append(closest[-1])
                continue
        part = "val" if path in held_out else "train"
        pieces = [picture] if path in bsd else cut(shrink(picture))
        if part == "val":  # so that each scene counts once
            pieces = pieces[len(pieces) // 2 :][:1]
        for i, piece in enumerate(pieces):
            name = path.stem if path in bsd else f"{path.parents[2].name if 'contents' in path.parts else path.stem}-{i:02d}"
            target = args.out / part / f"{name}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            piece.save(target)
            written[part] += 1
    found = {"train": written["train"], "val": written["val"], "left out": left_out, "most like test pictures": sorted(closest)[-5:]}
    print(json.dumps(found, indent=2))


def read(path: Path) -> Image.Image:
    """A picture as RGB."""
    with Image.open(path) as picture:
        return picture.convert("RGB")


def turns(picture: Image.Image) -> list[Image.Image]:
    """A picture as it is, and turned and flipped in all ways."""
    return [picture, *(picture.transpose(way) for way in Image.Transpose)]


def shrink(picture: Image.Image) -> Image.Image:
    """Shrunk by a whole factor, two or more."""
    factor = max(2, math.ceil(max(picture.size) / LONGEST))
    return picture.resize((picture.width // factor, picture.height // factor), Image.Resampling.LANCZOS)


def cut(picture: Image.Image) -> list[Image.Image]:
    """Equal pieces side by side, without those that show next to nothing."""
    xs, ys = (np.linspace(0, side, side // PIECE + 1).astype(int).tolist() for side in picture.size)
    pieces = [picture.crop((left, top, right, bottom)) for top, bottom in pairwise(ys) for left, right in pairwise(xs)]
    return [piece for piece in pieces if np.asarray(piece.convert("L")).std() >= FLAT]


def thumbnail(picture: Image.Image) -> np.ndarray:
    """32×32 grey levels without their mean, of length 1, as a line."""
    grey = np.asarray(picture.convert("L").resize((32, 32), Image.Resampling.BOX), dtype=np.float64)
    return ((grey - grey.mean()) / max(np.linalg.norm(grey - grey.mean()), 1e-9)).ravel()


if __name__ == "__main__":
    main()
