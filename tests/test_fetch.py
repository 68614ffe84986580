"""Named sets from a server that fails, truncates, lies and redirects; archives that mean harm; a set is in its folder whole or not."""

import bz2
import contextlib
import gzip
import hashlib
import http.server
import importlib
import io
import json
import lzma
import re
import stat
import struct
import sys
import tarfile
import threading
import types
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import slow_twins

from wildsr import datasets, files, images
from wildsr.datasets import Download, NamedSet, download, named, unpack
from wildsr.errors import UserError

fetching = importlib.import_module("wildsr.datasets.fetch")  # datasets.fetch is its function

# --------------------------------------------------------------------------------------------------------------- a web server


class Site:
    """A server on this machine. `files`: path -> bytes; `tags`: path -> ETag; `faults`: path -> what befalls the next requests, in turn.

    Faults: "500" and other statuses; "cut N" sends N bytes of what it announced; "says N" announces N bytes; "to URL" redirects; "no range"
    answers with the whole file; "no condition" passes over If-Range; "bare" announces no length. `asked`: (path, Range) of each request."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.tags: dict[str, str] = {}
        self.faults: dict[str, list[str]] = {}
        self.asked: list[tuple[str, str | None]] = []
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def put(self, path: str, data: bytes, tag: str | None = "one") -> str:
        self.files[path] = data
        if tag is not None:
            self.tags[path] = f'"{tag}"'
        return self.url + path

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        path, wanted = request.path, request.headers["Range"]
        self.asked.append((path, wanted))
        fault, _, value = (self.faults[path].pop(0) if self.faults.get(path) else "").partition(" ")
        if fault.isdecimal() or fault == "to":
            request.send_response(302 if fault == "to" else int(fault))
            if fault == "to":
                request.send_header("Location", value)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        data, tag = self.files.get(path), self.tags.get(path)
        if data is None:
            request.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        same = (fault, value) == ("no", "condition") or request.headers["If-Range"] == tag
        if start and (fault, value) != ("no", "range") and same:
            request.send_response(206 if start < len(data) else 416)
            request.send_header(
                "Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}" if start < len(data) else f"bytes */{len(data)}"
            )
            data = data[start:]
        else:
            request.send_response(200)
        if tag:
            request.send_header("ETag", tag)
        if fault != "bare":
            request.send_header("Content-Length", value if fault == "says" else str(len(data)))
        request.end_headers()
        with contextlib.suppress(OSError):
            request.wfile.write(data[: int(value)] if fault == "cut" else data)


@pytest.fixture(scope="module")
def server() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


@pytest.fixture
def site(server, monkeypatch) -> Site:
    """The server without files; what fails is tried again at once."""
    for held in (server.files, server.tags, server.faults, server.asked):
        held.clear()
    monkeypatch.setattr(download, "_WAITS", (0.0, 0.0, 0.0))
    return server


DATA = bytes(range(256)) * 40


def ranges(site: Site) -> list[str | None]:
    return [wanted for _, wanted in site.asked]


def test_a_file_is_fetched_once(site, tmp_path):
    url = site.put("/a.zip", DATA)
    told: list[tuple[int, int | None]] = []
    for _ in range(2):
        download.download(url, tmp_path / "in" / "a.zip", size=len(DATA), report=lambda done, total: told.append((done, total)))
    assert (tmp_path / "in" / "a.zip").read_bytes() == DATA
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["a.zip"]
    assert site.asked == [("/a.zip", None)]
    assert told[-1] == (len(DATA), len(DATA))


def test_what_is_there_and_wrong_is_fetched_again(site, tmp_path):
    (tmp_path / "a.zip").write_bytes(b"x")
    download.download(site.put("/a.zip", DATA), tmp_path / "a.zip", size=len(DATA))
    assert (tmp_path / "a.zip").read_bytes() == DATA


@pytest.mark.parametrize("faults", [["500", "503"], ["429", "408", "502"]])
def test_failures_that_pass_are_tried_again(site, tmp_path, faults):
    url = site.put("/a.zip", DATA)
    site.faults["/a.zip"] = faults
    download.download(url, tmp_path / "a.zip", sha256=files.sha256(DATA))
    assert (tmp_path / "a.zip").read_bytes() == DATA


def test_failures_that_stay_are_said_and_nothing_takes_the_name(site, tmp_path):
    url = site.put("/a.zip", DATA)
    site.faults["/a.zip"] = ["500"] * 9
    with pytest.raises(UserError, match=r"/a\.zip: the server answers 500 Internal Server Error: try again later"):
        download.download(url, tmp_path / "a.zip")
    assert len(site.asked) == 4
    assert not (tmp_path / "a.zip").exists()
    with pytest.raises(UserError, match="404 Not Found: the address may have changed"):
        download.download(site.url + "/gone.zip", tmp_path / "b.zip")
    assert site.asked.count(("/gone.zip", None)) == 1


def test_nobody_there_is_said(site, tmp_path):
    with pytest.raises(UserError, match=r"no connection \(.*refused.*\)"):
        download.download("http://127.0.0.1:1/a.zip", tmp_path / "a.zip")


def test_what_broke_off_continues_where_it_ended(site, tmp_path):
    url = site.put("/a.zip", DATA)
    site.faults["/a.zip"] = ["cut 1000", "cut 2000"]
    download.download(url, tmp_path / "a.zip", sha256=files.sha256(DATA))
    assert ranges(site) == [None, "bytes=1000-", "bytes=3000-"]
    assert (tmp_path / "a.zip").read_bytes() == DATA


def test_what_gets_farther_each_time_is_not_given_up(site, tmp_path):
    url = site.put("/a.zip", DATA)
    site.faults["/a.zip"] = [word for _ in range(8) for word in ("cut 1000", "500")]
    download.download(url, tmp_path / "a.zip", sha256=files.sha256(DATA))
    assert (tmp_path / "a.zip").read_bytes() == DATA


def test_it_continues_in_another_process(site, tmp_path):
    url = site.put("/a.zip", DATA)
    site.faults["/a.zip"] = ["cut 1000", "500", "500", "500", "500"]
    with pytest.raises(UserError, match="what is here already is kept"):
        download.download(url, tmp_path / "a.zip")
    assert (tmp_path / "a.zip.part").read_bytes() == DATA[:1000]
    site.asked.clear()
    site.faults.clear()
    download.download(url, tmp_path / "a.zip")
    assert ranges(site) == ["bytes=1000-"]
    assert (tmp_path / "a.zip").read_bytes() == DATA


def test_a_part_of_another_address_is_not_continued(site, tmp_path):
    other = site.put("/b.zip", DATA[::-1])
    site.faults["/b.zip"] = ["cut 1000", "500", "500", "500", "500"]
    with pytest.raises(UserError):
        download.download(other, tmp_path / "a.zip")
    download.download(site.put("/a.zip", DATA), tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == DATA


def test_a_server_without_ranges_starts_over(site, tmp_path):
    url = site.put("/a.zip", DATA)
    site.faults["/a.zip"] = ["cut 1000", "no range"]
    download.download(url, tmp_path / "a.zip", sha256=files.sha256(DATA))
    assert ranges(site) == [None, "bytes=1000-"]
    assert (tmp_path / "a.zip").read_bytes() == DATA


def test_without_a_tag_nothing_is_continued(site, tmp_path):
    url = site.put("/a.zip", DATA, tag=None)
    site.faults["/a.zip"] = ["cut 1000"]
    download.download(url, tmp_path / "a.zip")
    assert ranges(site) == [None, None]
    site.put("/b.zip", DATA)
    site.tags["/b.zip"] = 'W/"weak"'
    site.faults["/b.zip"] = ["cut 1000"]
    download.download(site.url + "/b.zip", tmp_path / "b.zip")
    assert ranges(site)[2:] == [None, None]


@pytest.mark.parametrize("fault", ["", "no condition"])
def test_a_file_that_changes_in_between_is_not_glued(site, tmp_path, monkeypatch, fault):
    url = site.put("/a.zip", DATA)
    site.faults["/a.zip"] = ["cut 1000", fault]
    changed = DATA[::-1]
    monkeypatch.setattr(download.time, "sleep", lambda _: site.put("/a.zip", changed, tag="two"))
    download.download(url, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == changed


def test_what_was_glued_after_all_is_fetched_once_more(site, tmp_path):
    url = site.put("/a.zip", DATA)
    site.faults["/a.zip"] = ["cut 1000"]
    # A server whose tag stays while the file changes.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(download.time, "sleep", lambda _: site.put("/a.zip", DATA[::-1]))
        download.download(url, tmp_path / "a.zip", sha256=files.sha256(DATA[::-1]))
    assert (tmp_path / "a.zip").read_bytes() == DATA[::-1]
    assert ranges(site) == [None, "bytes=1000-", None]


def test_a_whole_part_needs_no_more_bytes(site, tmp_path):
    url = site.put("/a.zip", DATA)
    (tmp_path / "a.zip.part").write_bytes(DATA)
    (tmp_path / "a.zip.part.json").write_text(json.dumps({"url": url, "validator": '"one"', "total": len(DATA)}))
    download.download(url, tmp_path / "a.zip", sha256=files.sha256(DATA))
    assert ranges(site) == [f"bytes={len(DATA)}-"]
    (tmp_path / "b.zip.part").write_bytes(DATA + b"more than there is")
    (tmp_path / "b.zip.part.json").write_text(json.dumps({"url": url, "validator": '"one"', "total": len(DATA)}))
    download.download(url, tmp_path / "b.zip")
    assert (tmp_path / "b.zip").read_bytes() == DATA


def test_a_server_that_announces_more_than_it_has_is_found_out(site, tmp_path):
    url = site.put("/a.zip", DATA, tag=None)
    site.faults["/a.zip"] = ["says 20000"] * 9
    with pytest.raises(UserError, match=r"ended after 10,240 of 20,000 bytes"):
        download.download(url, tmp_path / "a.zip")


def test_a_server_that_announces_less_than_it_has_is_found_out(site, tmp_path):
    url = site.put("/a.zip", DATA)
    site.faults["/a.zip"] = ["says 5000"] * 2
    with pytest.raises(UserError, match=r"wrong checksum: its SHA-256 is [0-9a-f]{64}, not [0-9a-f]{64}"):
        download.download(url, tmp_path / "a.zip", sha256=files.sha256(DATA))
    with pytest.raises(UserError, match="announces 5,000 bytes, the file has 10,240"):
        download.download(url, tmp_path / "a.zip", size=len(DATA))
    assert not (tmp_path / "a.zip").exists()


def test_no_more_bytes_are_taken_than_the_file_has(site, tmp_path):
    url = site.put("/a.zip", DATA * 300)
    site.faults["/a.zip"] = ["bare", "bare"]
    with pytest.raises(UserError, match="sends more than the 1,000 bytes"):
        download.download(url, tmp_path / "a.zip", size=1000)
    with pytest.raises(UserError, match="3,072,000 bytes came, the file has 3,072,001"):
        download.download(url, tmp_path / "b.zip", size=len(DATA * 300) + 1)


def test_a_wrong_checksum_leaves_nothing(site, tmp_path):
    with pytest.raises(UserError, match=f"wrong checksum: its SHA-256 is {files.sha256(DATA)}, not {'0' * 64}"):
        download.download(site.put("/a.zip", DATA), tmp_path / "a.zip", sha256="0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_redirects_are_followed_within_bounds(site, tmp_path):
    site.put("/b.zip", DATA)
    site.faults["/a.zip"] = [f"to {site.url}/b.zip"]
    download.download(site.url + "/a.zip", tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == DATA
    site.faults["/c.zip"] = [f"to {site.url}/c.zip"] * 20
    with pytest.raises(UserError, match="redirected without end"):
        download.download(site.url + "/c.zip", tmp_path / "c.zip")
    for place in ("http://example.com/a.zip", "file:///etc/passwd", "ftp://example.com/a.zip", "data:,x"):
        site.faults["/d.zip"] = [f"to {place}"]
        with pytest.raises(UserError, match=f"/d.zip: redirects to {re.escape(place)}: only https is followed"):
            download.download(site.url + "/d.zip", tmp_path / "d.zip")


def test_an_address_may_have_any_letters(site, tmp_path):
    data = site.put("/%E6%BC%AB%20%E7%94%BB.zip?of=a%2Fb&x=%E6%BC%AB", DATA)
    for i, url in enumerate([data, f"{site.url}/漫 画.zip?of=a%2Fb&x=漫"]):
        download.download(url, tmp_path / str(i))
        assert (tmp_path / str(i)).read_bytes() == DATA
    assert download.in_ascii("https://bücher.example:8443/é?ü") == "https://xn--bcher-kva.example:8443/%C3%A9?%C3%BC"
    assert download.in_ascii("https://example.com/a%20b?c=d+e") == "https://example.com/a%20b?c=d+e"


def test_what_is_no_address_is_said(site, tmp_path):
    for url in ("https://[::1/a.zip", "https://example.com:port/a.zip", "https://" + "ü" * 80 + ".example/a.zip"):
        with pytest.raises(UserError, match=f"^{re.escape(url)}: not an address"):
            download.download(url, tmp_path / "a.zip")
    site.faults["/d.zip"] = ["to https://[::1/a.zip"]
    with pytest.raises(UserError, match=r"/d.zip: redirects to what is no address"):
        download.download(site.url + "/d.zip", tmp_path / "d.zip")


def test_only_https_is_fetched_and_never_left():
    download.require_safe("https://example.com/a.zip")
    download.require_safe("https://b.example.com/a.zip", "https://a.example.com/a.zip")
    download.require_safe("http://[::1]:80/a.zip")
    for url in ("http://example.com/a.zip", "file:///a.zip", "a.zip", "ftp://example.com/a.zip", "http://127.0.0.1.example.com/a"):
        with pytest.raises(UserError, match="only addresses that begin with https://"):
            download.require_safe(url)
    for url in ("http://example.com/a.zip", "http://127.0.0.1/a.zip"):
        with pytest.raises(UserError, match="only https is followed"):
            download.require_safe(url, "https://example.com/a.zip")


def test_a_full_disk_is_said_beforehand(site, tmp_path, monkeypatch):
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: types.SimpleNamespace(free=100))
    with pytest.raises(UserError, match="10,240 bytes do not fit on the disk"):
        download.download(site.put("/a.zip", DATA), tmp_path / "a.zip")


# -------------------------------------------------------------------------------------------------------------------- archives


def picture(seed: int = 0, side: int = 24) -> bytes:
    return images.png(images.to_pillow(slow_twins.noise_picture(side, side, seed=seed)))


def zipped(path: Path, entries: dict[str, bytes], **options: Any) -> Path:
    with zipfile.ZipFile(path, "w", **options) as file:
        for name, data in entries.items():
            file.writestr(name, data)
    return path


def tarred(path: Path, *entries: tuple[tarfile.TarInfo, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as file:
        for entry, data in entries:
            file.addfile(entry, io.BytesIO(data))
    return path


def entry(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(data), kind, link
    return info, data


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


NESTED = {"Set5/baby.png": picture(0), "Set5/LR/x4/baby.png": picture(1), "read me.txt": b"words"}


@pytest.mark.parametrize("kind", ["zip", "deflated", "tar", "tgz", "tbz", "txz"])
def test_archives_keep_their_folders(tmp_path, kind):
    entries = {**NESTED, "Set5/.hidden.png": b"x", "__MACOSX/Set5/baby.png": b"x"}
    if kind in ("zip", "deflated"):
        archive = zipped(tmp_path / "a", entries, compression=zipfile.ZIP_DEFLATED if kind == "deflated" else zipfile.ZIP_STORED)
    else:
        mode = {"tar": "w", "tgz": "w:gz", "tbz": "w:bz2", "txz": "w:xz"}[kind]
        directories = [entry(".", kind=tarfile.DIRTYPE), entry("./Set5", kind=tarfile.DIRTYPE)]
        archive = tarred(tmp_path / "a", *directories, *(entry(f"./{name}", data) for name, data in entries.items()), mode=mode)
    unpack.unpack(archive, tmp_path / "all")
    assert tree(tmp_path / "all") == NESTED
    unpack.unpack(archive, tmp_path / "part", inside="Set5/LR")
    assert tree(tmp_path / "part") == {"x4/baby.png": NESTED["Set5/LR/x4/baby.png"]}
    with pytest.raises(UserError, match="a: holds no file below Set14"):
        unpack.unpack(archive, tmp_path / "none", inside="Set14")


ESCAPES = ["../a.png", "b/../../a.png", "/a.png", "C:\\a.png", "..\\a.png", "b/..", "a\n.png"]


@pytest.mark.parametrize("name", ESCAPES)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_no_entry_is_written_outside_the_folder(tmp_path, name, kind):
    folder = tmp_path / "deep" / "folder"
    if kind == "zip":
        archive = zipped(tmp_path / "a", {"good.png": picture(), name: picture()})
    else:
        archive = tarred(tmp_path / "a", entry(name, picture()))
    with pytest.raises(UserError, match=r"a: refused: its entry .* would be written outside its folder"):
        unpack.unpack(archive, folder)
    assert not list(tmp_path.rglob("*.png")), "and nothing of the others"


@pytest.mark.parametrize(
    "member",
    [
        entry("a.png", kind=tarfile.SYMTYPE, link="/etc/passwd"),
        entry("a.png", kind=tarfile.SYMTYPE, link="b.png"),
        entry("a.png", kind=tarfile.LNKTYPE, link="../../b.png"),
        entry("a.png", kind=tarfile.CHRTYPE),
        entry("a.png", kind=tarfile.BLKTYPE),
        entry("a.png", kind=tarfile.FIFOTYPE),
    ],
    ids=["link out", "link", "hard link", "character device", "block device", "pipe"],
)
def test_links_and_devices_are_refused(tmp_path, member):
    with pytest.raises(UserError, match=r"a: refused: its entry 'a.png' is a link or a device"):
        unpack.unpack(tarred(tmp_path / "a", member), tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


def test_links_in_zip_files_are_refused(tmp_path):
    link = zipfile.ZipInfo("a.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a", "w") as file:
        file.writestr(link, "/etc/passwd")
    with pytest.raises(UserError, match=r"'a\.png' is a link or a device"):
        unpack.unpack(tmp_path / "a", tmp_path / "folder")


def test_a_small_archive_does_not_become_a_large_folder(tmp_path):
    zeros = bytes(80 << 20)
    archive = zipped(tmp_path / "a", {"a.png": zeros}, compression=zipfile.ZIP_DEFLATED)
    assert archive.stat().st_size < 100_000
    with pytest.raises(UserError, match=r"entry 'a.png' makes it many times as large as the archive"):
        unpack.unpack(archive, tmp_path / "folder")
    with pytest.raises(UserError, match=r"entry 'a.png' makes it many times as large as the archive"):
        unpack.unpack(tarred(tmp_path / "b", entry("a.png", zeros)), tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


@pytest.mark.parametrize("announced", [10, 4000])
def test_an_entry_that_lies_about_its_size_is_refused(tmp_path, announced):
    archive = zipped(tmp_path / "a", {"a.png": bytes(2000)}, compression=zipfile.ZIP_DEFLATED)
    data = bytearray(archive.read_bytes())
    central = data.index(b"PK\x01\x02")
    data[central + 24 : central + 28] = struct.pack("<I", announced)
    archive.write_bytes(data)
    with pytest.raises(UserError, match=r"a: (the archive is damaged|refused: its entry 'a.png' has 2,000 bytes, and announces 4,000)"):
        unpack.unpack(archive, tmp_path / "folder")


def test_too_many_files_and_too_large_ones_are_refused(tmp_path, monkeypatch):
    archive = zipped(tmp_path / "a", {f"{i}.png": bytes(i) for i in range(4)})
    monkeypatch.setattr(unpack, "MOST_FILES", 3)
    with pytest.raises(UserError, match="is one more than 3 files"):
        unpack.unpack(archive, tmp_path / "folder")
    monkeypatch.setattr(unpack, "MOST_BYTES", 2)
    with pytest.raises(UserError, match=r"'3\.png' has 3 bytes, more than a picture has"):
        unpack.unpack(archive, tmp_path / "folder")


def test_an_archives_own_records_cannot_ask_for_much_memory(tmp_path):
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 1 << 32
    (tmp_path / "a").write_bytes(gzip.compress(info.tobuf(tarfile.USTAR_FORMAT) + bytes(100_000)))
    with pytest.raises(UserError, match="asks for 4,294,967,296 bytes at once"):
        unpack.unpack(tmp_path / "a", tmp_path / "folder")


@pytest.mark.parametrize(
    "names", [("a.png", "A.png"), ("ä.png", "a\u0308.png"), ("a", "a/b.png"), ("a/b.png", "A"), ("s/a.png", "S/A.PNG")]
)
def test_entries_that_are_one_file_on_some_disk_are_refused(tmp_path, names):
    archive = zipped(tmp_path / "a", {name: picture(i) for i, name in enumerate(names)})
    with pytest.raises(UserError, match="would be written over another one"):
        unpack.unpack(archive, tmp_path / "folder")


def test_the_same_entry_twice_and_a_second_archive_write_over_nothing(tmp_path):
    with zipfile.ZipFile(tmp_path / "a", "w") as file:
        file.writestr("a.png", b"1")
        with pytest.warns(UserWarning, match="Duplicate name"):
            file.writestr("a.png", b"2")
    with pytest.raises(UserError, match="would be written over another one"):
        unpack.unpack(tmp_path / "a", tmp_path / "folder")
    archive = zipped(tmp_path / "b", {"b.png": b"1"})
    unpack.unpack(archive, tmp_path / "folder")
    with pytest.raises(UserError, match="would be written over another one"):
        unpack.unpack(archive, tmp_path / "folder")


def test_encrypted_entries_are_refused(tmp_path):
    archive = zipped(tmp_path / "a", {"a.png": b"1"})
    data = bytearray(archive.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(data)
    with pytest.raises(UserError, match=r"'a\.png' is encrypted"):
        unpack.unpack(archive, tmp_path / "folder")


@pytest.mark.parametrize("packed", [lambda data: data, gzip.compress, bz2.compress, lzma.compress], ids=["tar", "gzip", "bzip2", "xz"])
def test_damaged_archives_are_said(tmp_path, packed):
    plain = tarred(tmp_path / "plain", entry("a.png", picture(0, 64)), mode="w").read_bytes()
    data = packed(plain)
    for cut in (len(data) // 2, 30):
        (tmp_path / "a").write_bytes(data[:cut])
        with pytest.raises(UserError, match=r"^a: "):
            unpack.unpack(tmp_path / "a", tmp_path / f"folder{cut}")
    if packed is not gzip.compress:
        return
    whole = zipped(tmp_path / "z", {"a.png": picture(0, 64)}).read_bytes()
    (tmp_path / "z").write_bytes(whole[:-10])
    with pytest.raises(UserError, match="z: the archive is damaged"):
        unpack.unpack(tmp_path / "z", tmp_path / "zipped")


def test_what_is_no_archive_is_said_with_how_it_begins(tmp_path):
    (tmp_path / "a").write_bytes(b"<!DOCTYPE html><html>Sign in")
    with pytest.raises(UserError, match=r"a: no zip, tar or Parquet file, and no picture: it begins with b'<!DOCTYPE html>"):
        unpack.unpack(tmp_path / "a", tmp_path / "folder", name="a.png")
    zipped(tmp_path / "b", {})
    with pytest.raises(UserError, match="b: holds no file"):
        unpack.unpack(tmp_path / "b", tmp_path / "folder")


def test_a_picture_is_put_there_under_its_name(tmp_path):
    (tmp_path / "a").write_bytes(picture())
    unpack.unpack(tmp_path / "a", tmp_path / "folder", name="baby.png")
    assert tree(tmp_path / "folder") == {"baby.png": picture()}


def parquet_file(path: Path, column: str, values: list[Any], kind: Any = None, **more: list[Any]) -> Path:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    kind = kind or pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    parquet.write_table(pyarrow.table({column: pyarrow.array(values, kind), **more}), path)
    return path


def test_pictures_come_out_of_parquet_under_their_names(tmp_path):
    names = ["baby.png", "in/head.png", None, "../baby.png", "strange"]
    values = [{"bytes": picture(i), "path": name} for i, name in enumerate(names)]
    unpack.unpack(parquet_file(tmp_path / "a", "image", values, label=[1] * 5), tmp_path / "folder")
    wanted = ["baby.png", "head.png", "00002.png", "00003-baby.png", "00004.png"]
    assert tree(tmp_path / "folder") == dict(sorted((name, picture(i)) for i, name in enumerate(wanted)))


def test_parquet_of_other_columns_and_damaged_files_are_said(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    unpack.unpack(parquet_file(tmp_path / "a", "photo", [picture()], pyarrow.large_binary()), tmp_path / "one")
    assert tree(tmp_path / "one") == {"00000.png": picture()}
    both = parquet_file(tmp_path / "b", "hr", [picture()], pyarrow.binary(), lr=pyarrow.array([picture()], pyarrow.binary()))
    with pytest.raises(UserError, match=r"b: not one column of pictures' bytes, but 2, among its columns hr \(binary\), lr \(binary\)"):
        unpack.unpack(both, tmp_path / "two")
    with pytest.raises(UserError, match="c, row 1: not a picture"):
        unpack.unpack(parquet_file(tmp_path / "c", "image", [picture(), b"words"], pyarrow.binary()), tmp_path / "three")
    (tmp_path / "d").write_bytes(both.read_bytes()[:-30])
    with pytest.raises(UserError, match="d: the Parquet file is damaged"):
        unpack.unpack(tmp_path / "d", tmp_path / "four")


def test_equal_pictures_that_parquet_stores_once_are_counted_as_often_as_they_come(tmp_path, monkeypatch):
    monkeypatch.setattr(unpack, "FLOOR", 1000)
    same = parquet_file(tmp_path / "a", "image", [{"bytes": picture(), "path": None}] * 1000)
    assert same.stat().st_size * unpack.RATIO < 1000 * len(picture())
    with pytest.raises(UserError, match="makes it many times as large"):
        unpack.unpack(same, tmp_path / "folder")


# ------------------------------------------------------------------------------------------------------------------- whole sets


def tiny(**values: Any) -> NamedSet:
    """A set of three pictures called Tiny."""
    given = {"name": "Tiny", "title": "Three pictures", "page": "https://example.com", "terms": "none", "count": 3, "read_in": "here"}
    return NamedSet(**{**given, **values})


PICTURES = {f"{name}.png": picture(i) for i, name in enumerate("abc")}


@pytest.fixture
def named_set(monkeypatch):
    def add(**values: Any) -> NamedSet:
        chosen = tiny(**values)
        monkeypatch.setitem(named.NAMED, chosen.name, chosen)
        return chosen

    return add


def pixels(folder: dict[str, bytes]) -> str:
    """The digest of the pixels, written a second time: SHA-256 of (H, W, 3) cut to multiples of 12."""
    arrays = [images.from_pillow(images.decode(data, "")).permute(1, 2, 0).numpy() for data in folder.values()]
    hashes = sorted(hashlib.sha256(array[: len(array) // 12 * 12, : array.shape[1] // 12 * 12].tobytes()).hexdigest() for array in arrays)
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


@pytest.mark.parametrize("top", ["", "Tiny/", "Tiny/Tiny/", "Other/"])
def test_a_set_is_fetched_verified_and_unpacked(site, tmp_path, named_set, top):
    archive = zipped(tmp_path / "a.zip", {f"{top}{name}": data for name, data in PICTURES.items()})
    url = site.put("/a.zip", archive.read_bytes())
    named_set(downloads=(Download(url, archive.stat().st_size, files.sha256_file(archive)),), pixels=pixels(PICTURES))
    folder, said = datasets.fetch("tiny", tmp_path / "data")
    assert folder == tmp_path / "data" / "Tiny"
    assert tree(folder) == {f"{top.removeprefix('Tiny/')}{name}": data for name, data in PICTURES.items()}
    assert said[0] == f"{folder}: 3 pictures, SHA-256 verified, the pixels are those known"
    assert "Terms: none" in said[-1]
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["Tiny"], "downloads and lock are gone"
    site.asked.clear()
    assert datasets.fetch("Tiny", tmp_path / "data")[1][0] == f"{folder}: 3 pictures, there already"
    assert site.asked == []


def test_pictures_are_fetched_one_by_one_under_their_names(site, tmp_path, named_set):
    items = tuple(Download(site.put(f"/x/{name}", data), save_as=f"the {name[0]}") for name, data in PICTURES.items())
    contents = named.digest(files.sha256(data) for data in PICTURES.values())
    named_set(downloads=items, contents=contents)
    folder, said = datasets.fetch("Tiny", tmp_path)
    assert tree(folder) == {f"the {name}": data for name, data in PICTURES.items()}
    assert said[0].endswith("3 pictures, SHA-256 verified")
    site.put("/x/b.png", picture(9))
    with pytest.raises(UserError, match="wrong checksum: the files that came are not those that were known"):
        datasets.fetch("Tiny", tmp_path / "other")
    assert not (tmp_path / "other" / "Tiny").exists()


def test_what_cannot_be_verified_says_so(site, tmp_path, named_set):
    archive = zipped(tmp_path / "a.zip", PICTURES)
    chosen = named_set(downloads=(Download(site.put("/a.zip", archive.read_bytes())),), pixels="0" * 64)
    assert chosen.how == "HTTPS, one archive, checksum unverified"
    folder, said = datasets.fetch("Tiny", tmp_path)
    assert said[0] == f"{folder}: 3 pictures, checksum unverified, other pixels than those known"


def test_another_place_is_held_to_the_checksum_where_the_file_has_the_same_name(site, tmp_path, named_set):
    archive = zipped(tmp_path / "a.zip", PICTURES)
    named_set(downloads=(Download("https://example.com/a.zip", archive.stat().st_size, files.sha256_file(archive)),))
    url = site.put("/mirror/a.zip", archive.read_bytes())
    assert "SHA-256 verified" in datasets.fetch("Tiny", tmp_path / "one", url=url)[1][0]
    other = zipped(tmp_path / "b.zip", {f"Set/{name}": data for name, data in PICTURES.items()}).read_bytes()
    assert "checksum unverified" in datasets.fetch("Tiny", tmp_path / "two", url=site.put("/mirror/b.zip", other))[1][0]
    with pytest.raises(UserError, match="the server announces"):
        datasets.fetch("Tiny", tmp_path / "three", url=site.put("/other/a.zip", other))


def test_an_interrupted_set_leaves_no_half_and_is_not_downloaded_again(site, tmp_path, named_set, monkeypatch):
    url = site.put("/a.zip", zipped(tmp_path / "a.zip", PICTURES).read_bytes())
    named_set(downloads=(Download(url),))
    write = unpack._Room.write

    def interrupted(room, path, source, size):
        if path.name == "b.png":
            raise KeyboardInterrupt
        write(room, path, source, size)

    with monkeypatch.context() as patch:
        patch.setattr(unpack._Room, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            datasets.fetch("Tiny", tmp_path / "data")
    assert [path.name for path in (tmp_path / "data").iterdir()] == [".downloads"]
    # Killed without a chance to clean up, too.
    (tmp_path / "data" / ".Tiny.partial").mkdir()
    (tmp_path / "data" / ".Tiny.partial" / "a.png").write_bytes(b"half")
    site.asked.clear()
    folder, _ = datasets.fetch("Tiny", tmp_path / "data")
    assert tree(folder) == PICTURES
    assert site.asked == []


def test_a_set_of_another_number_of_pictures_is_refused(site, tmp_path, named_set):
    few = dict(list(PICTURES.items())[:2])
    named_set(downloads=(Download(site.put("/a.zip", zipped(tmp_path / "a.zip", few).read_bytes())),))
    with pytest.raises(UserError, match="Tiny has 3 pictures, but 2 came"):
        datasets.fetch("Tiny", tmp_path / "data")
    assert not (tmp_path / "data" / "Tiny").exists()
    # What was mended at its place is fetched anew.
    site.put("/a.zip", zipped(tmp_path / "a.zip", PICTURES).read_bytes())
    folder, _ = datasets.fetch("Tiny", tmp_path / "data")
    (folder / "b.png").unlink()
    with pytest.raises(UserError, match=r"Tiny has 3 pictures, .*Tiny holds 2: half unpacked\?.*rename the folder"):
        datasets.fetch("Tiny", tmp_path / "data")


def test_a_broken_archive_is_not_kept(site, tmp_path, named_set):
    named_set(downloads=(Download(site.put("/a.zip", b"<html>")),))
    with pytest.raises(UserError, match="no zip, tar or Parquet file"):
        datasets.fetch("Tiny", tmp_path / "data")
    site.put("/a.zip", zipped(tmp_path / "a.zip", PICTURES).read_bytes())
    assert tree(datasets.fetch("Tiny", tmp_path / "data")[0]) == PICTURES


def test_a_set_brings_those_that_it_needs(site, tmp_path, named_set):
    high = site.put("/hr.zip", zipped(tmp_path / "hr.zip", {"0801.png": picture(0, 48)}).read_bytes())
    low = site.put("/lr.zip", zipped(tmp_path / "lr.zip", {"Tiny_LR/0801x2.png": picture(1, 24)}).read_bytes())
    named_set(name="Tiny_HR", count=1, downloads=(Download(high),))
    named_set(name="Tiny_LR", count=1, downloads=(Download(low),), needs=("Tiny_HR",), ground_truth=False)
    folder, said = datasets.fetch("Tiny_LR", tmp_path / "data")
    assert [line.split(": ")[0] for line in said] == [str(tmp_path / "data" / "Tiny_HR")] * 2 + [str(folder)] * 2
    assert [name for name, *_ in datasets.pairs(folder, tmp_path / "data" / "Tiny_HR", 2)] == ["0801"]


def test_a_set_that_must_be_asked_for_says_how(tmp_path):
    with pytest.raises(UserError, match=r"Manga109 cannot be fetched: it must be asked for at .*into .*Manga109 \(terms: academic"):
        datasets.fetch("manga109", tmp_path)
    with pytest.raises(UserError, match=r"Test2k cannot be fetched: it is made from DIV8K: pictures 1201 to 1300"):
        datasets.fetch("Test2K", tmp_path)
    with pytest.raises(UserError, match="unknown set 'Set6': did you mean 'Set"):
        datasets.fetch("Set6", tmp_path)
    with pytest.raises(UserError, match="only addresses that begin with https://"):
        datasets.fetch("Manga109", tmp_path, url="http://example.com/a.zip")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_names_the_mirror(site, tmp_path, named_set):
    named_set(downloads=(Download(site.url + "/gone.zip"),), mirror="hf://datasets/some/one")
    with pytest.raises(UserError, match=r"404 Not Found.* \(a mirror: --url hf://datasets/some/one\)"):
        datasets.fetch("Tiny", tmp_path)


def test_two_processes_do_not_fetch_one_set(site, tmp_path, named_set):
    named_set(downloads=(Download(site.url + "/a.zip"),))
    with files.exclusive(tmp_path / ".downloads" / "Tiny" / ".lock", ""), pytest.raises(UserError, match="another process is fetching it"):
        datasets.fetch("Tiny", tmp_path)


# -------------------------------------------------------------------------------------------------------------- the Hub, in a fake


class Hub(types.ModuleType):
    """A stand-in for huggingface_hub: `held` by name, at one revision."""

    def __init__(self, folder: Path, held: dict[str, bytes]) -> None:
        super().__init__("huggingface_hub")
        self.folder, self.held = folder, held
        self.asked: list[tuple[str, str]] = []

    def dataset_info(self, repository: str, *, revision: str | None) -> Any:
        if repository != "some/one":
            raise RuntimeError("404 Client Error:\nRepository Not Found")
        return types.SimpleNamespace(sha=revision or "abc123", siblings=[types.SimpleNamespace(rfilename=name) for name in self.held])

    def hf_hub_download(self, repository: str, name: str, *, repo_type: str, revision: str, local_dir: Path) -> str:
        assert repo_type == "dataset"
        self.asked.append((name, revision))
        files.write_bytes(Path(local_dir) / name, self.held[name])
        return str(Path(local_dir) / name)


@pytest.fixture
def hub(tmp_path, monkeypatch, named_set):
    named_set(downloads=(Download("https://example.com/a.zip"),))

    def hold(held: dict[str, bytes]) -> Hub:
        fake = Hub(tmp_path, held)
        monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
        return fake

    return hold


def test_pictures_come_from_a_dataset_repository(hub, tmp_path):
    fake = hub(
        {"README.md": b"", ".gitattributes": b"", "data/.x.png": b"", **{f"data/HR/{name}": data for name, data in PICTURES.items()}}
    )
    folder, said = datasets.fetch("Tiny", tmp_path / "one", url="hf://datasets/some/one")
    assert tree(folder) == {f"data/HR/{name}": data for name, data in PICTURES.items()}
    assert "checksum unverified" in said[0]
    assert {revision for _, revision in fake.asked} == {"abc123"}
    folder, _ = datasets.fetch("Tiny", tmp_path / "two", url="hf://datasets/some/one@main/data/HR")
    assert tree(folder) == PICTURES
    assert [path.name for path in (tmp_path / "two").iterdir()] == ["Tiny"]


def test_archives_and_parquet_come_from_a_dataset_repository(hub, tmp_path):
    archive = zipped(tmp_path / "a", {f"Tiny_HR/{name}": data for name, data in PICTURES.items()}).read_bytes()
    low = zipped(tmp_path / "b", {"Tiny_LR/a.png": picture(5)}).read_bytes()
    fake = hub({"data/Tiny_HR.zip": archive, "data/Tiny_LR_x4.zip": low, "Tiny.py": b""})
    folder, _ = datasets.fetch("Tiny", tmp_path / "one", url="hf://datasets/some/one@abc/data/Tiny_HR.zip")
    assert tree(folder) == {f"Tiny_HR/{name}": data for name, data in PICTURES.items()}
    assert fake.asked == [("data/Tiny_HR.zip", "abc")]
    folder, _ = datasets.fetch("Tiny", tmp_path / "both", url="hf://datasets/some/one")
    assert set(tree(folder)) == {*(f"data/Tiny_HR/{name}" for name in PICTURES), "data/Tiny_LR/a.png"}
    values = [{"bytes": data, "path": name} for name, data in PICTURES.items()]
    hub({"data/train-0.parquet": parquet_file(tmp_path / "p", "image", values).read_bytes(), "preview.png": picture()})
    folder, _ = datasets.fetch("Tiny", tmp_path / "two", url="hf://datasets/some/one/data")
    assert tree(folder) == PICTURES


def test_what_the_hub_cannot_give_is_said(hub, tmp_path, monkeypatch):
    hub({"README.md": b"", "../escape.png": picture(), "/escape.png": picture()})
    for place, words in (
        ("hf://datasets/no/one", "cannot be fetched (404 Client Error: Repository Not Found)"),
        ("hf://datasets/some/one", "holds no Parquet file, picture or archive"),
        ("hf://datasets/some", "write hf://datasets/OWNER/NAME"),
    ):
        with pytest.raises(UserError, match=re.escape(f"{place}: {words}")):
            datasets.fetch("Tiny", tmp_path / "data", url=place)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"such places need huggingface_hub: pip install 'wildsr\[parquet\]'"):
        datasets.fetch("Tiny", tmp_path / "data", url="hf://datasets/some/one")


# ----------------------------------------------------------------------------------------------------------- the list of sets


def test_what_the_list_says_is_of_the_right_form():
    for name, chosen in named.NAMED.items():
        assert name == chosen.name
        assert chosen.page.startswith("http")
        assert chosen.terms
        assert chosen.read_in
        assert bool(chosen.downloads) != bool(chosen.by_hand)
        assert all(needed in named.NAMED for needed in chosen.needs)
        for item in chosen.downloads:
            download.require_safe(item.url)
            assert item.url.startswith("https://")
            assert item.sha256 is None or re.fullmatch("[0-9a-f]{64}", item.sha256)
        for value in (chosen.contents, chosen.pixels):
            assert value is None or re.fullmatch("[0-9a-f]{64}", value)
        if len(chosen.downloads) > 1:
            assert len({item.url for item in chosen.downloads}) == len({item.save_as for item in chosen.downloads}) == chosen.count
        assert chosen.verified == ("SHA-256" in chosen.how)
    wanted = {"Set5", "Set14", "B100", "Urban100", "Manga109", "DIV2K_train_HR", "DIV2K_valid_HR", "RealSRSet", "Test2k"}
    assert named.NAMED.keys() == wanted | {f"DIV2K_valid_LR_{track}" for track in ("mild", "difficult", "wild")}


def test_names_of_one_set_are_one():
    spellings = {
        "B100": "B100 b100 BSD100 bsds100 BSDS100_HR",
        "Set5": "Set5 SET5 set5_HR",
        "DIV2K_valid_HR": "DIV2K_valid_HR DIV2K-valid div2k_valid",
        "DIV2K_valid_LR_wild": "NTIRE2018-wild ntire2018_wild",
        "Test2k": "Test2K test2k",
    }
    for name, several in spellings.items():
        assert {datasets.canonical_name(one) for one in several.split()} == {name}
    assert datasets.canonical_name("My photos") == "My photos"
    plain = [one.casefold() for chosen in named.NAMED.values() for one in (chosen.name, *chosen.aliases)]
    assert len(plain) == len(set(plain))


# ------------------------------------------------------------------------------------------------------------------ command line


def test_the_command_line_lists_and_fetches(wildsr, site, tmp_path, named_set):
    archive = zipped(tmp_path / "a.zip", PICTURES)
    named_set(downloads=(Download(site.put("/a.zip", archive.read_bytes()), archive.stat().st_size, files.sha256_file(archive)),))
    status, out, _ = wildsr("data", "list")
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert status == 0
    assert lines["chelsea"].split()[2:4] == ["held", "out"]
    assert re.fullmatch(r"Tiny +3 pictures  HTTPS, 0 MB, SHA-256 +none", lines["Tiny"])
    assert "by hand" in lines["Manga109"]
    assert len({lines[name].index("pictures") for name in named.NAMED}) == 1, "aligned"
    status, out, err = wildsr("data", "fetch", "Tiny", "--root", tmp_path / "sets")
    assert (status, err) == (0, "")
    assert out.splitlines()[0] == f"{tmp_path / 'sets' / 'Tiny'}: 3 pictures, SHA-256 verified"
    status, out, err = wildsr("data", "fetch", "Tiny", "--root", tmp_path / "sets", "--url", "https://example.com/b.zip")
    assert (status, "there already" in out) == (0, True)
    status, _, err = wildsr("data", "fetch", "Test2k", "--root", tmp_path / "sets")
    assert (status, err.count("\n")) == (2, 1)


def test_the_list_is_given_without_the_sample_photographs(wildsr, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None)
    status, out, err = wildsr("data", "list")
    assert status == 3
    assert "Urban100" in out
    assert "pip install 'wildsr[demo]'" in err
