"""Download a large file over an unreliable connection."""

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
MIRROR_HINT = "; you can put a copy into the folder of archives, or give a mirror with --base-url"
# HTTP codes that justify another attempt: timeouts, too many requests, server errors.
TEMPORARY_CODES = {408, 425, 429, 500, 502, 503, 504}


class _ConnectionLostError(Exception):
    """The connection failed; another attempt may succeed."""

    def __init__(self, message: str, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.wait_s = wait_s


@dataclass(frozen=True)
class Partial:
    """A partial download: the bytes, and a note beside them about the version of the file.

    Attributes:
        path: the file with the bytes.
    """

    path: Path

    @property
    def note(self) -> Path:
        """The path of the note."""
        return self.path.with_name(f"{self.path.name}.json")

    @property
    def size_bytes(self) -> int:
        """Number of bytes downloaded so far."""
        return self.path.stat().st_size if self.path.exists() else 0

    def validator(self, url: str) -> str | None:
        """ETag or date of the downloaded version; None if unknown."""
        try:
            note = json.loads(self.note.read_text(encoding="utf-8"))
            return str(note["validator"]) if note["url"] == url and note["validator"] else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def begin(self, url: str, headers: Any) -> None:
        """Remove the bytes and write the version of the following bytes into the note."""
        self.discard()
        etag = headers.get("ETag")
        # A weak ETag does not guarantee equal bytes.
        validator = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")
        write_bytes_atomic(self.note, json.dumps({"url": url, "validator": validator}).encode())

    def discard(self) -> None:
        """Remove the bytes and the note."""
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
    """Download a file; continue a partial download.

    A partial download is continued only if the server confirms the version of the file. A server that cannot send a
    part sends the whole file again.

    Args:
        url: http or https.
        part: the partial download; complete at the end.
        size_bytes: length of the file, if known.
        report: called with the number of bytes so far and the length of the file, if known.
        tell: called with lines for the user.
        pause: called with the seconds to wait.

    Raises:
        DownloadError: if there is no such file, it cannot be downloaded, its length is wrong, or the disk is full.
    """
    best, failures = part.size_bytes, 0
    while True:
        try:
            _try(url, part, size_bytes, report)
            return
        except _ConnectionLostError as cut:
            if part.size_bytes > best:
                best, failures = part.size_bytes, 0
            failures += 1
            if failures >= TRIES:
                raise DownloadError(f"{url}: {cut}; gave up after {failures} tries{_kept(part)}{MIRROR_HINT}") from cut
            wait_s = min(cut.wait_s if cut.wait_s is not None else 2.0 ** (failures - 1), 60.0)
            tell(f"{cut}; again in {wait_s:g} s")
            pause(wait_s)


def _kept(part: Partial) -> str:
    kept = f"; {part.path} keeps {part.size_bytes:,} bytes; run the same command to continue"
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
            raise _ConnectionLostError(f"the partial download of {have:,} bytes is longer than the file")
        if response.status == 206 and not _continues(response, have):
            part.discard()
            raise _ConnectionLostError("the server sent another part than requested")
        if response.status != 206:
            part.begin(url, response.headers)
            have = 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length and length.isdigit() else None
        _check_room(url, part, have, total, size_bytes)
        done = _receive(response, part, have, total, report)
    expected = total if total is not None else size_bytes
    if expected is not None and done < expected:
        raise _ConnectionLostError(f"the connection ended after {done:,} of {expected:,} bytes")


def _open(request: urllib.request.Request) -> Any:
    """Open the response; a response to a range beyond the end is returned, too."""
    url = request.full_url
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            return error
        with error:
            if error.code in TEMPORARY_CODES:
                after = error.headers.get("Retry-After", "")
                raise _ConnectionLostError(
                    f"the server says {error.code} {error.reason}", float(after) if after.isdigit() else None
                ) from error
            what = {401: "asks for a login", 403: "refuses it", 404: "has no such file", 410: "has it no more"}
            raise DownloadError(
                f"{url}: the server {what.get(error.code, 'refuses it')} ({error.code} {error.reason}){MIRROR_HINT}"
            ) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise DownloadError(f"{url}: the server's certificate is not trusted: {reason}") from error
        raise _ConnectionLostError(f"no connection to {request.host}: {reason}") from error


def _total(response: Any) -> int | None:
    found = re.fullmatch(r"bytes (?:\*|\d+-\d+)/(\d+)", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _continues(response: Any, have: int) -> bool:
    return bool(re.match(rf"bytes {have}-", response.headers.get("Content-Range", "")))


def _check_room(url: str, part: Partial, have: int, total: int | None, size_bytes: int | None) -> None:
    if total is not None and size_bytes is not None and total != size_bytes:
        part.discard()
        raise DownloadError(f"{url} has {total:,} bytes instead of {size_bytes:,}: it is not the expected file")
    free = shutil.disk_usage(part.path.parent).free
    if total is not None and total - have > free:
        raise DownloadError(
            f"{url} needs {total - have:,} bytes more, but {part.path.parent} has only {free:,} free; "
            "free some space and run the same command to continue"
        )


def _receive(
    response: Any, part: Partial, have: int, total: int | None, report: Callable[[int, int | None], None]
) -> int:
    """Append the received bytes to the part; return its length."""
    with _writing(part) as file:
        report(have, total)
        while True:
            try:
                block = response.read(BLOCK_BYTES)
            except (OSError, http.client.HTTPException) as error:
                raise _ConnectionLostError(f"the connection broke after {have:,} bytes: {error}") from error
            if not block:
                return have
            file.write(block)
            have += len(block)
            report(have, total)


@contextlib.contextmanager
def _writing(part: Partial) -> Iterator[IO[bytes]]:
    """Open the part for appending; it is flushed to the disk at the end, also after an interruption."""
    try:
        with part.path.open("ab") as file:
            try:
                yield file
            finally:
                file.flush()
                os.fsync(file.fileno())
    except OSError as error:
        raise DownloadError(
            f"cannot write {part.path}: {error.strerror or error}; the downloaded part is kept: "
            "free some space and run the same command to continue"
        ) from error
