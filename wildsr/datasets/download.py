"""Files from the web, whole or not at all: resumed where they broke off, never glued of two versions, only over HTTPS."""

import contextlib
import functools
import http.client
import ipaddress
import json
import os
import shutil
import ssl
import string
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from email.message import Message
from pathlib import Path
from typing import Any

from wildsr import __version__, files
from wildsr.errors import UserError

Report = Callable[[int, int | None], None]
"""Is told how many bytes are here, and how many there are to be."""

_WAITS = (1.0, 4.0, 15.0)  # seconds before what failed is tried again; what got farther in the meantime starts again with the first
_TRIES = 100  # of one file at most, however little each brings
_SILENCE = 30.0  # seconds without a byte that count as a failure
_CHUNK = 1 << 20
_MOST = 64 << 30  # bytes of a file whose size is not known
_PASSING = {408, 425, 429, 500, 502, 503, 504}  # statuses that may be others a moment later


class _PassingError(Exception):
    """What may pass by itself. `wait`: seconds that the server asks for."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


def download(url: str, target: Path, *, size: int | None = None, sha256: str | None = None, report: Report | None = None) -> None:
    """Fetches a file to `target`, which takes its name only when it is whole; what is there already and right is not fetched again.

    What broke off is kept as `target`.part and continued by a Range request, on condition that the file is still the one that was begun
    (If-Range with its ETag or its date); a server that knows no ranges, or has another file, starts it over. Failures that may pass are
    tried again after 1, 4 and 15 seconds.

    Raises UserError: for an address, or a redirect to one, that is neither https nor, from this machine to itself, http; for what does not
    pass; and where size or SHA-256 are not those given."""
    require_safe(url)
    url = in_ascii(url)
    part, note = target.with_name(f"{target.name}.part"), target.with_name(f"{target.name}.part.json")
    if target.is_file():
        if _flaw(target, url, size, sha256) is None:
            return
        target.unlink()
    target.parent.mkdir(parents=True, exist_ok=True)
    failures, farthest = 0, 0
    for _ in range(_TRIES):
        try:
            continued = _transfer(url, part, note, size, report or (lambda done, total: None))
        except _PassingError as error:
            have = _length(part)
            failures, farthest = (0 if have > farthest else failures), max(have, farthest)
            if failures == len(_WAITS):
                raise UserError(f"{url}: {error}: try again later (what is here already is kept), or name another place") from None
            time.sleep(max(_WAITS[failures], error.wait))
            failures += 1
            continue
        flaw = _flaw(part, url, size, sha256)
        if flaw is None:
            os.replace(part, target)
            note.unlink(missing_ok=True)
            return
        part.unlink()
        note.unlink(missing_ok=True)
        # Of what was put together from two transfers, one may have been of another file after all.
        if not continued:
            raise UserError(flaw)
    raise UserError(f"{url}: not whole after {_TRIES} tries: try again later, or name another place")


def _transfer(url: str, part: Path, note: Path, size: int | None, report: Report) -> bool:
    """Fetches what is missing of the file; says whether earlier bytes were kept."""
    begun = _read_note(note, url)
    start = _length(part) if begun.get("validator") else 0
    headers = {"Range": f"bytes={start}-", "If-Range": begun["validator"]} if start else {}
    with _open(url, headers) as answer:
        if answer.status == 416:
            if _total(answer.headers) == start > 0:
                return True
            raise _restart(part, "the server has less of the file than is here")
        validator = _validator(answer.headers)
        if answer.status == 206:
            first, total = _first(answer.headers), _total(answer.headers)
            if first != start or (validator or begun["validator"]) != begun["validator"] or total != begun.get("total", total):
                raise _restart(part, "the server continues another file")
        else:
            start, total = 0, _number(answer.headers.get("Content-Length"))
        if size is not None and total not in (None, size):
            raise UserError(f"{url}: the server announces {total:,} bytes, the file has {size:,}: it has changed, or is another")
        if (total or 0) - start > shutil.disk_usage(part.parent).free:
            raise UserError(f"{part.parent}: {total:,} bytes do not fit on the disk: make room")
        files.write_text(note, json.dumps({"url": url, "validator": validator or begun.get("validator"), "total": total}))
        with open(part, "r+b" if start else "wb") as file:
            file.seek(start)
            for have in _write(_chunks(answer), file, start):
                if have > (total or size or _MOST):
                    raise UserError(f"{url}: the server sends more than the {total or size or _MOST:,} bytes of the file")
                report(have, total)
            file.flush()
            os.fsync(file.fileno())
    have = _length(part)
    if total is not None and have < total:
        raise _PassingError(f"the connection ended after {have:,} of {total:,} bytes")
    return start > 0


def _write(chunks: Iterator[bytes], file: Any, have: int) -> Iterator[int]:
    for chunk in chunks:
        file.write(chunk)
        have += len(chunk)
        yield have


def _chunks(answer: Any) -> Iterator[bytes]:
    while True:
        try:
            chunk = answer.read(_CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise _PassingError(f"the connection broke ({_line(error)})") from None
        if not chunk:
            return
        yield chunk


def _restart(part: Path, why: str) -> _PassingError:
    part.unlink(missing_ok=True)
    return _PassingError(why)


def _flaw(path: Path, url: str, size: int | None, sha256: str | None) -> str | None:
    """What is wrong with a file that should be whole."""
    if size is not None and _length(path) != size:
        return f"{url}: {_length(path):,} bytes came, the file has {size:,}: it has changed, or is another"
    if sha256 is not None and (found := files.sha256_file(path)) != sha256:
        return f"{url}: wrong checksum: its SHA-256 is {found}, not {sha256}: it was damaged on the way, has changed, or is another"
    return None


# ------------------------------------------------------------------------------------------------------------------- requests


@contextlib.contextmanager
def _open(url: str, headers: dict[str, str]) -> Iterator[Any]:
    """An answer of status 200, 206 or 416. Raises _PassingError for what may pass, UserError for what will not."""
    opener = urllib.request.OpenerDirector()  # with these handlers alone: no file:, ftp: or data:
    for handler in (
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=_trust()),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(),
        *([] if _is_here(url) else [urllib.request.ProxyHandler()]),
    ):
        opener.add_handler(handler)
    # Bytes as they lie on the server: an archive that it takes for a compressed page must not be unpacked on the way.
    headers = {"User-Agent": f"wildsr/{__version__}", "Accept-Encoding": "identity", **headers}
    try:
        answer = opener.open(urllib.request.Request(url, headers=headers), timeout=_SILENCE)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416:
                yield error
                return
            what = f"{error.code} {http.client.responses.get(error.code, error.reason)}"
            if error.code in _PASSING:
                raise _PassingError(f"the server answers {what}", min(60.0, _number(error.headers.get("Retry-After")) or 0.0)) from None
            if 300 <= error.code < 400:
                require_safe(urllib.parse.urljoin(url, error.headers.get("Location") or url), url)
                raise UserError(f"{url}: redirected without end: name another place") from None
        raise UserError(f"{url}: the server answers {what}: the address may have changed; name another place") from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise UserError(f"{url}: the server's certificate is not valid ({error.reason.verify_message})") from None
        raise _PassingError(f"no connection ({_line(error.reason)})") from None
    except (OSError, http.client.HTTPException) as error:
        raise _PassingError(f"no answer ({_line(error)})") from None
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{url}: redirects to what is no address ({_line(error)})") from None
    with answer:
        yield answer


@functools.cache
def _trust() -> ssl.SSLContext:
    """The certificates that this machine trusts, read once."""
    return ssl.create_default_context()


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        require_safe(newurl, req.full_url)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def in_ascii(url: str) -> str:
    """An address as servers are asked for it: the host in Punycode, bytes that are not ASCII, and spaces, as %XX. Raises UserError for a
    host that no address has."""
    if url.isascii() and url.isprintable() and " " not in url:
        return url
    parts = urllib.parse.urlsplit(url)
    try:
        host = (parts.hostname or "").encode("idna").decode()
    except ValueError as error:
        raise UserError(f"{url}: not an address ({error})") from None
    place = f"{host}{f':{parts.port}' if parts.port else ''}" if not parts.netloc.isascii() else parts.netloc
    path, query = (urllib.parse.quote(part, safe=string.punctuation) for part in (parts.path, parts.query))
    return urllib.parse.urlunsplit((parts.scheme, place, path, query, ""))


def require_safe(url: str, before: str = "") -> None:
    """Raises UserError unless an address is https, or http within this machine. before: the address that redirects to it."""
    try:
        parts = urllib.parse.urlsplit(url)
        scheme, _ = parts.scheme.lower(), parts.port
    except ValueError as error:
        raise UserError(f"{before}: redirects to {url}: not an address" if before else f"{url}: not an address ({error})") from None
    if scheme == "https" or (scheme == "http" and _is_here(url) and (not before or _is_here(before))):
        return
    if before:
        raise UserError(f"{before}: redirects to {url}: only https is followed")
    raise UserError(f"{url}: only addresses that begin with https:// are fetched")


def _is_here(url: str) -> bool:
    host = urllib.parse.urlsplit(url).hostname or ""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _validator(headers: Message) -> str | None:
    """What tells one version of a file from the next; weak tags do not."""
    tag = headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified")


def _first(headers: Message) -> int | None:
    """Where the answer begins, of "Content-Range: bytes FIRST-LAST/TOTAL"."""
    return _number(headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0])


def _total(headers: Message) -> int | None:
    return _number(headers.get("Content-Range", "").rpartition("/")[2])


def _number(text: str | None) -> int | None:
    return int(text) if text and text.strip().isascii() and text.strip().isdecimal() else None


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _read_note(note: Path, url: str) -> dict[str, Any]:
    """What is known of the transfer that began a .part file; nothing where that was of another address."""
    with contextlib.suppress(OSError, ValueError):
        values = json.loads(note.read_text(encoding="utf-8"))
        if isinstance(values, dict) and values.get("url") == url:
            return values
    return {}


def _line(error: object) -> str:
    return " ".join(str(error).split()) or type(error).__name__
