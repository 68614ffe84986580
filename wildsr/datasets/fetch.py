"""A named set, fetched, verified and unpacked: it is in its folder whole, or not at all."""

import contextlib
import importlib
import re
import shutil
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from wildsr import files, images
from wildsr.datasets.download import download, require_safe
from wildsr.datasets.layouts import pictures_of
from wildsr.datasets.named import Download, NamedSet, digest, find_named, pixels_digest, require_whole
from wildsr.datasets.unpack import unpack
from wildsr.errors import UserError

DOWNLOADS = ".downloads"
"""Folder beside the sets that holds what is on its way."""

_ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")


def fetch(name: str, root: Path | str = "data", *, url: str | None = None, console: Console | None = None) -> tuple[Path, list[str]]:
    """Fetches a set of `NAMED` to ROOT/NAME, with the sets that it needs; returns that folder, and what is to be said of it, a line each.

    A set that is there and whole is left as it is. What was interrupted continues: finished files are kept in ROOT/.downloads until the
    set is in its folder. url: another place to fetch it from: an archive, Parquet file or picture on the web, or a dataset repository on
    the Hugging Face Hub, hf://datasets/OWNER/NAME[@REVISION][/PATH], in Parquet, as pictures or as archives.

    Of a set whose pixels are known (cut to multiples of 12), it is said whether these came: a JPEG decoder may differ in single levels.

    Raises UserError: for an unknown name, and a set that must be got by hand; for what cannot be fetched, is not what it should be, or
    would harm (see `download` and `unpack`); where another number of pictures comes than the set has, or stands there already."""
    chosen = find_named(name)
    root = Path(root)
    if url is None and not chosen.downloads:
        raise UserError(
            f"{chosen.name} cannot be fetched: {chosen.by_hand} into {root / chosen.name} (terms: {chosen.terms}; {chosen.page})"
        )
    if url is not None and not url.startswith("hf://"):
        require_safe(url)
    remarks = [line for needed in chosen.needs for line in fetch(needed, root, console=console)[1]]
    folder, kept = root / chosen.name, root / DOWNLOADS / chosen.name
    with files.exclusive(kept / ".lock", f"{folder}: another process is fetching it"):
        if folder.exists():
            count = len(_pictures(chosen, folder))
            require_whole(chosen.name, folder, count)
            remarks.append(f"{folder}: {count} pictures, there already")
        else:
            with files.atomic_directory(folder) as partial:
                if url is not None and url.startswith("hf://"):
                    verified = _from_hub(url, kept / "hub", partial)
                else:
                    verified = _from_web(chosen, _elsewhere(chosen, url), kept, partial, console)
                _lift(partial / chosen.name)
                try:
                    remarks.append(f"{folder}: {_account(chosen, partial, verified, own=url is None)}")
                except UserError:
                    shutil.rmtree(kept, ignore_errors=True)  # or it would be taken for fetched the next time
                    raise
        shutil.rmtree(kept, ignore_errors=True)
    with contextlib.suppress(OSError):  # another set may be on its way
        kept.parent.rmdir()
    return folder, [*remarks, f"{folder}: {chosen.title}. Terms: {chosen.terms}; see {chosen.page}"]


def _lift(inner: Path) -> None:
    """Empties a folder into the one around it, where it is alone there: an archive's own folder of the set's name says nothing."""
    if [*inner.parent.iterdir()] == [inner] and inner.is_dir():
        aside = inner.rename(inner.with_name(f".{inner.name}"))  # it may hold one of its own name
        for child in aside.iterdir():
            child.rename(inner.parent / child.name)
        aside.rmdir()


def _pictures(chosen: NamedSet, folder: Path) -> list[Path]:
    return pictures_of(folder) if chosen.ground_truth else images.find(folder)


def _account(chosen: NamedSet, folder: Path, verified: bool, *, own: bool) -> str:
    """What came, in a line. Raises UserError where it is not the set."""
    pictures = _pictures(chosen, folder)
    if chosen.count not in (None, len(pictures)):
        raise UserError(f"{chosen.name} has {chosen.count} pictures, but {len(pictures)} came: the place holds something else")
    if own and chosen.contents is not None:
        if digest(files.sha256_file(path) for path in folder.rglob("*") if path.is_file()) != chosen.contents:
            raise UserError(f"{chosen.name}: wrong checksum: the files that came are not those that were known: name another place")
        verified = True
    words = [f"{len(pictures)} pictures", "SHA-256 verified" if verified else "checksum unverified"]
    if chosen.pixels is not None:
        words.append("the pixels are those known" if pixels_digest(pictures) == chosen.pixels else "other pixels than those known")
    return ", ".join(words)


def _elsewhere(chosen: NamedSet, url: str | None) -> tuple[Download, ...]:
    """What to fetch. Of an archive under its own name in another place, all that is known of it holds there, too."""
    if url is None:
        return chosen.downloads
    for item in chosen.downloads:
        if len(chosen.downloads) == 1 and _file_name(item.url) == _file_name(url):
            return (Download(url, item.size, item.sha256, item.inside),)
    return (Download(url),)


def _from_web(chosen: NamedSet, items: tuple[Download, ...], kept: Path, partial: Path, console: Console | None) -> bool:
    """Downloads and unpacks; says whether every file's checksum was known, and right."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    silent = console is None or not console.is_terminal
    with Progress(*columns, console=console, disable=silent, transient=True) as progress:
        for i, item in enumerate(items, 1):
            number = f" {i}/{len(items)}" if len(items) > 1 else ""
            task = progress.add_task(f"{chosen.name}{number}", total=item.size)
            # Two addresses may end in one name.
            archive = kept / f"{files.sha256(item.url.encode())[:12]}-{_file_name(item.url)}"
            try:
                download(
                    item.url,
                    archive,
                    size=item.size,
                    sha256=item.sha256,
                    report=lambda done, total, task=task: progress.update(task, completed=done, total=total),
                )
            except UserError as error:
                other = f" (a mirror: --url {chosen.mirror})" if chosen.mirror and item in chosen.downloads else ""
                raise UserError(f"{error}{other}") from None
            progress.remove_task(task)
            try:
                unpack(archive, partial, inside=item.inside, name=_saved_name(item))
            except UserError:
                archive.unlink()
                raise
    return all(item.sha256 for item in items)


def _file_name(url: str) -> str:
    return PurePosixPath(unquote(urlsplit(url).path)).name or "file"


def _saved_name(item: Download) -> str:
    name = PurePosixPath(_file_name(item.url))
    return f"{item.save_as or name.stem}{name.suffix}"


_PLACE = re.compile(r"hf://datasets/(?P<repository>[^/@]+/[^/@]+)(?:@(?P<revision>[^/]+))?(?:/(?P<path>.+?))?/?")


def _from_hub(place: str, kept: Path, partial: Path) -> bool:
    """Downloads and unpacks what a dataset repository holds of the first kind that it has: Parquet files, pictures, archives."""
    parts = _PLACE.fullmatch(place)
    if parts is None:
        raise UserError(f"{place}: write hf://datasets/OWNER/NAME, hf://datasets/OWNER/NAME@REVISION or more of its path")
    try:
        hub: Any = importlib.import_module("huggingface_hub")
    except ImportError:
        raise UserError(f"{place}: such places need huggingface_hub: pip install 'wildsr[parquet]'") from None
    try:
        info = hub.dataset_info(parts["repository"], revision=parts["revision"])
        chosen = _choose([entry.rfilename for entry in info.siblings or ()], parts["path"] or "")
        if not chosen:
            raise UserError(f"{place}: holds no Parquet file, picture or archive")
        for name, into in chosen:
            # One revision for all, also where it is changed in the meantime.
            file = hub.hf_hub_download(parts["repository"], name, repo_type="dataset", revision=info.sha, local_dir=kept)
            target = partial.joinpath(*into.parts)
            target.mkdir(parents=True, exist_ok=True)
            unpack(Path(file), target, name=PurePosixPath(name).name)
    except (UserError, MemoryError):
        raise
    except Exception as error:  # The Hub's library has errors of its own, and its network library others.
        raise UserError(f"{place}: cannot be fetched ({' '.join(str(error).split()) or type(error).__name__})") from None
    return False


def _choose(names: list[str], path: str) -> list[tuple[str, PurePosixPath]]:
    """The files to take below a path (or that file), and the folder that each belongs into."""
    found: list[tuple[str, PurePosixPath]] = []
    for name in sorted(names):
        file = PurePosixPath(name)
        if name == path or PurePosixPath(path) in file.parents:
            inner = file.relative_to(path) if name != path else PurePosixPath(file.name)
            if ".." not in file.parts and not file.is_absolute() and not any(part.startswith(".") for part in inner.parts):
                found.append((name, inner.parent))
    for suffixes in ((".parquet",), tuple(images.SUFFIXES), _ARCHIVES):
        taken = [(name, into) for name, into in found if name.lower().endswith(suffixes)]
        if taken:
            return taken
    return []
