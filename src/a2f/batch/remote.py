"""Sources and results in object stores, archives and on web servers, through fsspec (extra `remote`).

A source is copied to a file on this machine, a part at a time. A result is written to such a file and sent when it is
whole, a part at a time: an object store shows an object only when its last part has arrived.
"""

import contextlib
import functools
import posixpath
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from a2f.batch.database import CACHE_KIB
from a2f.batch.journal import as_stored
from a2f.batch.places import is_address, joined, name_of
from a2f.batch.sources import Found, Scan, is_image, state_of
from a2f.errors import A2FError, ImageReadError, MissingExtraError, UsageError, WriteError

TRIES = 4
PAUSE_S = 0.5  # before the second try; doubled before each further one
READ_ONLY = ("http", "https")
VERSION_KEYS = ("ETag", "etag", "md5Hash", "CRC", "LastModified", "last_modified", "updated", "mtime")

T = TypeVar("T")


class Remote:
    """`Places` for addresses and for paths of this machine.

    Args:
        pause: waits for some seconds before a retry.
    """

    def __init__(self, *, pause: Callable[[float], None] = time.sleep) -> None:
        self._pause = pause

    def files(self, inputs: Sequence[str], scan: Scan) -> Iterator[Found]:
        """All images at addresses, and the files that `Scan` finds on this machine.

        Args:
            inputs: addresses of folders or files; paths.
            scan: how folders are searched; it counts the skipped files.

        Raises:
            ImageReadError: if an address cannot be listed.
            MissingExtraError: if a package for it is not installed.
        """
        for given in inputs:
            if is_address(given):
                found = self._listed(given, scan)
                yield from found if scan.shard is None else filter(scan.shard.has, found)
            else:
                yield from scan.files([given])

    def _listed(self, given: str, scan: Scan) -> Iterator[Found]:
        system, root = _system(given)
        told = self._again(lambda: system.info(root), f"cannot read {given}", ImageReadError)
        if told["type"] == "file":
            yield _found(given, name_of(given) or posixpath.basename(root), told)
            return
        for inner, told in self._below(system, root, given, recursive=scan.recursive):
            name = posixpath.basename(inner)
            if not is_image(name) or name.startswith("."):
                scan.skipped[given, "file(s) that are no images"] += 1
                continue
            yield _found(joined(given, inner), inner, told)

    def _below(self, system: Any, root: str, given: str, *, recursive: bool) -> Iterator[tuple[str, dict[str, Any]]]:
        """The path below the root, and the properties, of each file; S3 is listed a page at a time.

        fsspec lists whole folders, and a folder of S3 may hold more objects than fit into the memory.
        """
        if hasattr(system, "call_s3"):
            yield from self._objects(system, root, given, recursive=recursive)
            return
        length = len(root.strip("/"))
        for folder, _, files in system.walk(root, maxdepth=None if recursive else 1, detail=True, on_error="raise"):
            below = folder.strip("/")[length:].strip("/")
            for name, told in files.items():
                yield posixpath.join(below, name), told

    def _objects(self, system: Any, root: str, given: str, *, recursive: bool) -> Iterator[tuple[str, dict[str, Any]]]:
        bucket, key, _ = system.split_path(root)
        prefix = f"{key.strip('/')}/" if key.strip("/") else ""
        asked: dict[str, str] = {"Bucket": bucket, "Prefix": prefix} | ({} if recursive else {"Delimiter": "/"})
        while True:
            ask = functools.partial(system.call_s3, "list_objects_v2", **asked)
            page = self._again(ask, f"cannot list {given}", ImageReadError)
            for told in page.get("Contents", ()):
                inner = told["Key"][len(prefix) :]
                if inner and not inner.endswith("/"):  # empty objects that stand for folders
                    yield inner, {**told, "size": told["Size"]}
            if not page.get("NextContinuationToken"):
                return
            asked["ContinuationToken"] = page["NextContinuationToken"]

    def state(self, address: str) -> tuple[int, str] | None:
        """Size and version; None if there is no such object."""
        if not is_address(address):
            return state_of(address)
        system, path = _system(address)

        def ask() -> tuple[int, str] | None:
            system.invalidate_cache()
            try:
                return _state(system.info(path))
            except FileNotFoundError:
                return None

        return self._again(ask, f"cannot ask for {address}", ImageReadError)

    @contextlib.contextmanager
    def reading(self, address: str) -> Iterator[Path]:
        """A temporary local copy for the block; a file of this machine itself."""
        if not is_address(address):
            yield Path(address)
            return
        system, path = _system(address)
        with tempfile.TemporaryDirectory(prefix="a2f-") as folder:
            copy = Path(folder) / _name(path)

            def fetch() -> None:
                size = system.info(path).get("size")
                system.get_file(path, str(copy))
                if size is not None and copy.stat().st_size != size:
                    raise OSError(f"{copy.stat().st_size:,} of {size:,} bytes came")

            self._again(fetch, f"cannot read {address}", ImageReadError)
            yield copy

    @contextlib.contextmanager
    def writing(self, address: str) -> Iterator[Path]:
        """A local file that is uploaded at the end of the block, unless there is an error."""
        if not is_address(address):
            yield Path(address)
            return
        system, path = _system(address)
        with tempfile.TemporaryDirectory(prefix="a2f-") as folder:
            made = Path(folder) / _name(path)
            yield made

            self._again(lambda: system.put_file(str(made), path), f"cannot write {address}", WriteError)

    def states(self, folder: str) -> Callable[[str], tuple[int, str] | None]:
        """A function like `state` for all files in a folder, which is listed once, to a temporary database."""
        system, root = _system(folder)
        base = sqlite3.connect("", check_same_thread=False)  # a file without a name; SQLite removes it
        base.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        base.execute("CREATE TABLE there (path, size, version, PRIMARY KEY (path)) WITHOUT ROWID")
        start = root.rstrip("/")
        if self._again(lambda: system.exists(root), f"cannot list {folder}", ImageReadError):
            listed = self._below(system, root, folder, recursive=True)
            rows = ((as_stored(f"{start}/{inner}"), *_state(told)) for inner, told in listed)
            base.executemany("INSERT OR REPLACE INTO there VALUES (?, ?, ?)", rows)

        def state(address: str) -> tuple[int, str] | None:
            path = as_stored(_system(address)[1])
            found = base.execute("SELECT size, version FROM there WHERE path = ?", (path,)).fetchone()
            return None if found is None else (int(found[0]), str(found[1]))

        return state

    def _again(self, ask: Callable[[], T], what: str, kind: type[A2FError]) -> T:
        """Call a function; retry it if the network or the store fails."""
        for number in range(TRIES):
            try:
                return ask()
            except (FileNotFoundError, PermissionError, NotImplementedError) as error:  # which a retry does not solve
                raise kind(f"{what}: {_reason(error)}") from error
            except A2FError:
                raise
            except Exception as error:  # each store has its own error types
                if number == TRIES - 1:
                    raise kind(f"{what}: {_reason(error)} ({TRIES} tries)") from error
            self._pause(PAUSE_S * 2**number)
        raise AssertionError("unreachable")


def check_target(address: str) -> None:
    """Raise an error for an address that cannot be written.

    Raises:
        UsageError: for an address that can only be read.
    """
    protocol = address.partition("://")[0]
    if protocol in READ_ONLY:
        raise UsageError(
            f"-o {address}: {protocol}:// can only be read: give a folder, s3://, gs:// or zip://::results.zip"
        )


def _system(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path in that system."""
    try:
        import fsspec
    except ImportError as error:
        raise MissingExtraError(f"{address} needs the package fsspec: pip install 'a2f[remote]'") from error
    try:
        system, path = fsspec.core.url_to_fs(address, use_listings_cache=False)
    except ImportError as error:
        raise MissingExtraError(f"{address} needs a package: {error} (s3:// comes with 'a2f[remote]')") from error
    except ValueError as error:
        raise UsageError(f"{address}: {error}") from error
    except OSError as error:
        raise ImageReadError(f"cannot open {address}: {_reason(error)}") from error
    return system, path


def _found(address: str, below: str, told: dict[str, Any]) -> Found:
    size, version = _state(told)
    return Found(source=address, below=below, bytes=size, version=version)


def _state(told: dict[str, Any]) -> tuple[int, str]:
    version = next((told[key] for key in VERSION_KEYS if told.get(key) not in (None, "")), "")
    return int(told.get("size") or 0), str(version).strip('"')


def _name(path: str) -> str:
    """A short name for a copy, with the suffix of the address."""
    return posixpath.basename(path.partition("?")[0])[-60:] or "file"


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
