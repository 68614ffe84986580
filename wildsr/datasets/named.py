"""The sets that super-resolution is measured on, by name: what each is, under which terms, where it comes from, and how to know it again.

Addresses and terms were read in the places that `read_in` names; none was tried from where this was written. A checksum stands here only
where it was computed from the files themselves, or was read where those were downloaded; nothing is guessed."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from wildsr import files, images
from wildsr.config import nearest
from wildsr.errors import UserError

_CUT = 12  # pictures are measured on cut to multiples of this, and recognised by what is left then


@dataclass(frozen=True)
class Download:
    """A file on the web: an archive, or one picture. None: not known.

    inside: what is wanted of an archive, a folder whose own path is dropped. save_as: the name of a picture on the disk, without suffix."""

    url: str
    size: int | None = None
    sha256: str | None = None
    inside: str = ""
    save_as: str = ""


@dataclass(frozen=True)
class NamedSet:
    """A set of pictures under its usual name.

    count: how many pictures, None where that was not verified. contents: `digest` of the files' SHA-256. pixels: `digest` of the SHA-256
    of the pixels, cut to multiples of 12 as they are measured on. by_hand: how to come by it where it cannot be fetched. mirror: another
    place, for --url. needs: sets that it is of no use without. ground_truth: False for pictures of low quality. read_in: where address
    and terms were read."""

    name: str
    title: str
    page: str
    terms: str
    count: int | None
    read_in: str
    downloads: tuple[Download, ...] = ()
    contents: str | None = None
    pixels: str | None = None
    by_hand: str = ""
    mirror: str = ""
    needs: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    ground_truth: bool = True

    @property
    def how(self) -> str:
        """How it is got, and whether what comes can be verified, in a few words."""
        if not self.downloads:
            return "by hand"
        size = sum(item.size or 0 for item in self.downloads)
        what = f"{len(self.downloads)} files" if len(self.downloads) > 1 else f"{size / 1e6:,.0f} MB" if size else "one archive"
        return f"HTTPS, {what}, {'SHA-256' if self.verified else 'checksum unverified'}"

    @property
    def verified(self) -> bool:
        """Whether every byte of it is covered by a known SHA-256."""
        return self.contents is not None or (bool(self.downloads) and all(item.sha256 for item in self.downloads))


def digest(hashes: Iterable[str]) -> str:
    """One SHA-256 over many, whatever their order."""
    return files.sha256("\n".join(sorted(hashes)).encode())


def pixels_digest(paths: Iterable[Path]) -> str:
    """What `NamedSet.pixels` is of some pictures. Raises UserError for one that cannot be read."""
    return digest(images.pixels_sha256(images.crop_to_multiple(images.read(path), _CUT)) for path in paths)


def _github(repository: str, commit: str, paths: Iterable[tuple[str, str]]) -> tuple[Download, ...]:
    """Pictures of a repository, each (path in it, name on the disk), as they are at one commit."""
    return tuple(Download(f"https://raw.githubusercontent.com/{repository}/{commit}/{path}", save_as=name) for path, name in paths)


_SELF_EX_SR = ("jbhuang0604/SelfExSR", "8f6dd8c1d20cb7e8792a7177b4f6fd677633f598")
_SET14 = "baboon barbara bridge coastguard comic face flowers foreman lenna man monarch pepper ppt3 zebra"
_REAL_SR_SET = (
    "Lincoln building butterfly butterfly2 chip comic1 comic2 comic3 computer dog dped_crop00061 foreman frog oldphoto2 oldphoto3 "
    "oldphoto6 painting pattern ppt3 tiger"
)
_BSDS = "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/segbench/"
_DIV2K = "https://data.vision.ee.ethz.ch/cvl/DIV2K/"
_DIV2K_TERMS = "academic research only; the pictures belong to their owners"
_DIV2K_READ_IN = "tensorflow/datasets, datasets/div2k/checksums.tsv (address, size, SHA-256); eugenesiow/Div2k on Hugging Face (terms)"


def _div2k(folder: str, title: str, count: int | None, size: int, sha256: str, *, aliases: tuple[str, ...], lr: bool = False) -> NamedSet:
    return NamedSet(
        folder,
        title,
        _DIV2K,
        _DIV2K_TERMS,
        count,
        _DIV2K_READ_IN,
        (Download(f"{_DIV2K}{folder}.zip", size, sha256),),
        needs=("DIV2K_valid_HR",) if lr else (),
        aliases=aliases,
        ground_truth=not lr,
    )


NAMED = {
    chosen.name: chosen
    for chosen in (
        NamedSet(
            "Set5",
            "Set5 (Bevilacqua et al., BMVC 2012)",
            "http://people.rennes.inria.fr/Aline.Roumy/results/SR_BMVC12.html",
            "no licence stated; used in research",
            5,
            "JingyunLiang/SwinIR, testsets/Set5/HR; the pixels are those of jbhuang0604/SelfExSR",
            _github(
                "JingyunLiang/SwinIR",
                "6545850fbf8df298df73d81f3e8cba638787c8bd",
                ((f"testsets/Set5/HR/{name}.png", name) for name in ("baby", "bird", "butterfly", "head", "woman")),
            ),
            contents="9604e4b15da3020a12221631b2bb07de1fc3eaaa19ca8ffa40c83a39fa7f1e13",
            pixels="a229ea4756573e6ec43c1b287a5a8034cbc559f284df655fcc98fcb0f984930a",
            mirror="hf://datasets/eugenesiow/Set5@bcb97ac28c8a5f9113825f8d163564e16513f3ed/data/Set5_HR.tar.gz",
        ),
        NamedSet(
            "Set14",
            "Set14 (Zeyde et al., LNCS 2010)",
            "https://sites.google.com/site/romanzeyde/research-interests",
            "no licence stated; used in research",
            14,
            "jbhuang0604/SelfExSR, README and data/Set14 (three pictures lack a row or column there, which measuring cuts off)",
            _github(*_SELF_EX_SR, ((f"data/Set14/image_SRF_2/img_{i:03d}_SRF_2_HR.png", name) for i, name in enumerate(_SET14.split(), 1))),
            contents="9d0fff4a3e7aba04421920d56d9b9bc954357654e458ac03978075b757620d74",
            pixels="ebce61c9fc230d7d2f728565a68357563bc899217bbafeee1251e4b4b987670e",
            mirror="hf://datasets/eugenesiow/Set14@5afcf80d267dba61cdfa9a32b1a6fe4cca57b6d7/data/Set14_HR.tar.gz",
        ),
        NamedSet(
            "B100",
            "The test pictures of BSDS300 (Martin et al., ICCV 2001), also called BSD100",
            _BSDS,
            "non-commercial research and education",
            100,
            "public scripts that download it (address and terms); its files are byte for byte those of BIDS/BSDS500, data/images/val",
            (Download(f"{_BSDS}BSDS300-images.tgz", inside="BSDS300/images/test"),),
            contents="a77cee1505d126b5973924bda17aef17c35437e4342186498d51294f5130e661",
            pixels="b842af03d521da2f28ac9e97dbeb92b4ca7218999ca89f63c132fcf2d23caa60",
            mirror="hf://datasets/eugenesiow/BSD100@8fbc3a31603eba947ea6eba928d31fee0f0c31bb/data/BSD100_HR.tar.gz",
            aliases=("BSD100", "BSDS100"),
        ),
        NamedSet(
            "Urban100",
            "Urban100 (Huang et al., CVPR 2015)",
            "https://github.com/jbhuang0604/SelfExSR",
            "no licence stated; photographs from Flickr, listed by the authors",
            100,
            "jbhuang0604/SelfExSR, the authors' own: data/Urban100/image_SRF_4 (those of image_SRF_2 are half as large)",
            _github(*_SELF_EX_SR, ((f"data/Urban100/image_SRF_4/img_{i:03d}_SRF_4_HR.png", f"img_{i:03d}") for i in range(1, 101))),
            contents="c899cdfd79f9b8fd433f8ddd0d2115543c7c0fa0c0bd6536e82d6087cc45a44b",
            pixels="c424faaf005a99161175cf7fa22d9730bd9ad9cd9684eddc3a3431bf06b3d9be",
            mirror="hf://datasets/eugenesiow/Urban100@57309de03db02ac12ee09ad6127e7b815c211328/data/Urban100_HR.tar.gz",
        ),
        NamedSet(
            "Manga109",
            "Manga109 (Matsui et al. 2017; Aizawa et al. 2020)",
            "http://www.manga109.org/en/",
            "academic use, on application; not to be passed on",
            109,
            "hal-utokyo/Manga109 on Hugging Face (terms, application)",
            by_hand="it must be asked for at www.manga109.org/en, or at huggingface.co/datasets/hal-utokyo/Manga109 with the address of a "
            "university; put the 109 pictures that papers measure on",
        ),
        _div2k(
            "DIV2K_train_HR",
            "DIV2K, training pictures (Agustsson and Timofte, CVPRW 2017)",
            800,
            3_530_603_713,
            "9d0b9c463f6e35b6c62cc6a930ee2224f670b34c1df841a57670f9acf0f6c335",
            aliases=("DIV2K_train",),
        ),
        _div2k(
            "DIV2K_valid_HR",
            "DIV2K, validation pictures (Agustsson and Timofte, CVPRW 2017)",
            100,
            448_993_893,
            "20dd31fd84d777bc1cf5d6b7654a3f569c0aec74458ae094122ad1d0489900fc",
            aliases=("DIV2K_valid",),
        ),
        _div2k(
            "DIV2K_valid_LR_mild",
            "NTIRE 2018 track 2, realistic mild, ×4 (Timofte et al., CVPRW 2018)",
            100,
            35_300_939,
            "eedfbcb6acc6662a3f52924aaa5a423693244f3276d37c3fca7944c7325859ff",
            aliases=("NTIRE2018_mild",),
            lr=True,
        ),
        _div2k(
            "DIV2K_valid_LR_difficult",
            "NTIRE 2018 track 3, realistic difficult, ×4 (Timofte et al., CVPRW 2018)",
            100,
            33_596_835,
            "08b4e740496b50846497463121329c707dd8ed26eb8a655d175e9a595286d5e8",
            aliases=("NTIRE2018_difficult",),
            lr=True,
        ),
        _div2k(
            "DIV2K_valid_LR_wild",
            "NTIRE 2018 track 4, realistic wild, ×4 (Timofte et al., CVPRW 2018); one or several inputs a picture",
            None,
            34_655_417,
            "ce921d2048eef3e1fd9ba359d1876b1c93e33bd7a531306f7782672391df9820",
            aliases=("NTIRE2018_wild",),
            lr=True,
        ),
        NamedSet(
            "RealSRSet",
            "RealSRSet: real low-quality pictures without ground truth (Zhang et al., ICCV 2021)",
            "https://github.com/cszn/BSRGAN",
            "the repository is under Apache 2.0; the pictures are from other works",
            20,
            "cszn/BSRGAN, the authors' own: testsets/RealSRSet",
            _github(
                "cszn/BSRGAN",
                "5ce1a9c6ae292f30ccfce4b597ecb73c70401733",
                ((f"testsets/RealSRSet/{name}.png", name) for name in _REAL_SR_SET.split()),
            ),
            contents="3865e01c2c111e78b100507eec806356a6dd17d130135d335e0e4c391a8ea4ec",
            pixels="ff3f1907fb278edfc359fbbc496c221f785474f49f3bb94906b800371d122d94",
            ground_truth=False,
        ),
        NamedSet(
            "Test2k",
            "Test2K of ClassSR (Kong et al., CVPR 2021)",
            "https://github.com/XPixelGroup/ClassSR",
            "those of DIV8K",
            100,
            "XPixelGroup/ClassSR, README and issues 12 and 18 (DIV8K's address was reported gone in 2024)",
            by_hand="it is made from DIV8K: pictures 1201 to 1300, made smaller to 2K as github.com/XPixelGroup/ClassSR describes; put the "
            "100 pictures",
        ),
    )
}
"""Name -> set. `Download`s first say where a set is fetched from; `wildsr data fetch --url` takes another place."""


def canonical_name(name: str) -> str:
    """The one name of a set that has several (BSD100 is B100), however it is written; any other name as it is."""
    for tried in (name, name.removesuffix("_HR")):
        for chosen in NAMED.values():
            if _plain(tried) in map(_plain, (chosen.name, *chosen.aliases)):
                return chosen.name
    return name


def _plain(name: str) -> str:
    return name.casefold().replace("-", "_")


def find_named(name: str) -> NamedSet:
    """The set of a name. Raises UserError listing what there is."""
    chosen = NAMED.get(canonical_name(name))
    if chosen is None:
        raise UserError(f"unknown set {name!r}: {nearest(name, NAMED)}")
    return chosen


def require_whole(name: str, folder: Path | str, count: int) -> None:
    """Raises UserError where a set of this name is known to have another number of pictures than `count`, those in `folder`."""
    chosen = NAMED.get(canonical_name(name))
    if chosen is not None and chosen.count not in (None, count):
        raise UserError(
            f"{chosen.name} has {chosen.count} pictures, {folder} holds {count}: half unpacked? Fetch or unpack it again, or rename the "
            "folder if it is a selection on purpose"
        )
