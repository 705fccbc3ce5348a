"""Downloading a file that may be large over a connection that may break."""

import contextlib
import http.client
import json
import os
import re
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import a2f
from a2f.errors import DownloadError
from a2f.files import write_bytes_atomic

TRIES = 6
TIMEOUT_S = 30
BLOCK_BYTES = 1 << 18
ELSEWHERE = "; a copy got elsewhere can be put into the folder of archives, or a mirror named with --base-url"
# Worth another try: too early, too many, and what servers say when they are in trouble themselves.
PASSING = {408, 425, 429, 500, 502, 503, 504}


class _CutError(Exception):
    """The connection failed in a way that another try may mend."""

    def __init__(self, message: str, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.wait_s = wait_s


@dataclass(frozen=True)
class Partial:
    """What is there of a download: the bytes, and beside them a note on the version of the file they are of.

    Attributes:
        path: of the bytes.
    """

    path: Path

    @property
    def note(self) -> Path:
        """The file that keeps the note."""
        return self.path.with_name(f"{self.path.name}.json")

    @property
    def size_bytes(self) -> int:
        """Bytes that are there."""
        return self.path.stat().st_size if self.path.exists() else 0

    def validator(self, url: str) -> str | None:
        """ETag or date of the version that the bytes are of; None if that is not known."""
        try:
            note = json.loads(self.note.read_text(encoding="utf-8"))
            return str(note["validator"]) if note["url"] == url and note["validator"] else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def begin(self, url: str, headers: Any) -> None:
        """Forget the bytes, and note what version the next ones are of."""
        self.discard()
        etag = headers.get("ETag")
        # A weak ETag does not promise the same bytes.
        validator = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")
        write_bytes_atomic(self.note, json.dumps({"url": url, "validator": validator}).encode())

    def discard(self) -> None:
        """Remove bytes and note."""
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def fetch(
    url: str,
    part: Partial,
    *,
    size_bytes: int | None = None,
    report: Callable[[int, int | None], None],
    tell: Callable[[str], None],
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Download a file, going on from what is there of it.

    What is there is used only if the server says that it is of the same version of the file; a server that cannot send
    the rest alone sends all of it again.

    Args:
        url: http or https.
        part: takes the bytes; complete at the end.
        size_bytes: length of the file, if known.
        report: takes the bytes there are and the length of the file, if known.
        tell: takes lines for people.
        pause: waits for seconds.

    Raises:
        DownloadError: if there is no such file, it is not to be had, its length is wrong, or the disk is full.
    """
    best, failures = part.size_bytes, 0
    while True:
        try:
            _try(url, part, size_bytes, report)
            return
        except _CutError as cut:
            if part.size_bytes > best:
                best, failures = part.size_bytes, 0
            failures += 1
            if failures >= TRIES:
                raise DownloadError(f"{url}: {cut}; given up after {failures} tries{_kept(part)}{ELSEWHERE}") from cut
            wait_s = min(cut.wait_s if cut.wait_s is not None else 2.0 ** (failures - 1), 60.0)
            tell(f"{cut}; again in {wait_s:g} s")
            pause(wait_s)


def _kept(part: Partial) -> str:
    kept = f"; {part.path} keeps {part.size_bytes:,} bytes, and the same command goes on from there"
    return kept if part.size_bytes else ""


def _try(url: str, part: Partial, size_bytes: int | None, report: Callable[[int, int | None], None]) -> None:
    validator = part.validator(url)
    have = part.size_bytes if validator else 0
    headers = {"User-Agent": f"a2f/{a2f.__version__}", "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": str(validator)}
    with _open(urllib.request.Request(url, headers=headers)) as response:
        if response.status == 416:
            if _total(response) == have:
                return
            part.discard()
            raise _CutError(f"{have:,} bytes are more than the file has")
        if response.status == 206 and not _continues(response, have):
            part.discard()
            raise _CutError("the server sent another part than was asked for")
        if response.status != 206:
            part.begin(url, response.headers)
            have = 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length and length.isdigit() else None
        _check_room(url, part, have, total, size_bytes)
        done = _receive(response, part, have, total, report)
    expected = total if total is not None else size_bytes
    if expected is not None and done < expected:
        raise _CutError(f"the connection ended after {done:,} of {expected:,} bytes")


def _open(request: urllib.request.Request) -> Any:
    """The response, that to a range beyond the end included."""
    url = request.full_url
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            return error
        with error:
            if error.code in PASSING:
                after = error.headers.get("Retry-After", "")
                raise _CutError(
                    f"the server says {error.code} {error.reason}", float(after) if after.isdigit() else None
                ) from error
            what = {401: "asks for a login", 403: "refuses it", 404: "has no such file", 410: "has it no more"}
            raise DownloadError(
                f"{url}: the server {what.get(error.code, 'does not send it')} ({error.code} {error.reason}){ELSEWHERE}"
            ) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise DownloadError(f"{url}: the server's certificate is not to be trusted: {reason}") from error
        raise _CutError(f"no connection to {request.host}: {reason}") from error


def _total(response: Any) -> int | None:
    found = re.fullmatch(r"bytes (?:\*|\d+-\d+)/(\d+)", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _continues(response: Any, have: int) -> bool:
    return bool(re.match(rf"bytes {have}-", response.headers.get("Content-Range", "")))


def _check_room(url: str, part: Partial, have: int, total: int | None, size_bytes: int | None) -> None:
    if total is not None and size_bytes is not None and total != size_bytes:
        part.discard()
        raise DownloadError(f"{url} has {total:,} bytes instead of {size_bytes:,}: it is not the file that is meant")
    free = shutil.disk_usage(part.path.parent).free
    if total is not None and total - have > free:
        raise DownloadError(
            f"{url} needs {total - have:,} bytes more, but {part.path.parent} has only {free:,} free; "
            "make room, and the same command goes on"
        )


def _receive(
    response: Any, part: Partial, have: int, total: int | None, report: Callable[[int, int | None], None]
) -> int:
    """Append what comes to the part; how many bytes are there then."""
    with _writing(part) as file:
        report(have, total)
        while True:
            try:
                block = response.read(BLOCK_BYTES)
            except (OSError, http.client.HTTPException) as error:
                raise _CutError(f"the connection broke after {have:,} bytes: {error}") from error
            if not block:
                return have
            file.write(block)
            have += len(block)
            report(have, total)


@contextlib.contextmanager
def _writing(part: Partial) -> Iterator[IO[bytes]]:
    """The part, open to append; flushed to the disk at the end, also where that is an interruption."""
    try:
        with part.path.open("ab") as file:
            try:
                yield file
            finally:
                file.flush()
                os.fsync(file.fileno())
    except OSError as error:
        raise DownloadError(
            f"cannot write {part.path}: {error.strerror or error}; what is there is kept: "
            "make room, and the same command goes on"
        ) from error
