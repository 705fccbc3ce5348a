"""What a client sends: the picture and the options, within bounds of bytes and time."""

import asyncio
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath

from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from a2f.web.options import MEDIA_TYPES, Options, read_options
from a2f.web.pace import Pace
from a2f.web.problems import ProblemError
from a2f.web.results import Room
from a2f.web.settings import Settings

FIELD = "image"
RAW_TYPES = ("application/octet-stream", "application/x-www-form-urlencoded", *MEDIA_TYPES.values())
FORM_TYPE = "multipart/form-data"
CHARSETS = (b"utf-8", b"us-ascii", b"iso-8859-1")  # in which no file name becomes what cannot be written again
MAX_FIELDS = 32
MAX_FIELD_BYTES = 256
FORM_OVERHEAD_BYTES = 64 * 1024  # what boundaries, headers and fields add to a picture
BUSY_S = 5  # after which to try again when there is no room


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What a client has sent.

    Attributes:
        data: the picture.
        options: what it asks for.
        name: of its file, without folders and suffix; empty if it told none.
        taken: bytes taken of the room; whoever has this gives them back.
    """

    data: bytes | bytearray
    options: Options
    name: str
    taken: int


class BodyReader:
    """Reads the body of one request.

    Args:
        request: of a client.
        settings: of the server.
        room: for the bodies of all requests; what is taken is given back if reading fails.
    """

    def __init__(self, request: Request, settings: Settings, room: Room) -> None:
        self.request, self.settings, self.room = request, settings, room
        self.taken = self.received = 0
        media, _, _ = request.headers.get("content-type", "application/octet-stream").partition(";")
        self.media = media.strip().lower()
        self.is_form = self.media == FORM_TYPE
        self.max_bytes = settings.body_bytes + (FORM_OVERHEAD_BYTES if self.is_form else 0)

    async def read(self) -> Sent:
        """Read all of it.

        Raises:
            ProblemError: what is wrong with it.
            ClientDisconnect: if the client goes away.
        """
        self._check_head()
        query = self.request.query_params.multi_items()
        read_options(query)  # before megabytes are read
        try:
            data, fields, name = await (self._read_form() if self.is_form else self._read_raw())
            if not data:
                raise ProblemError("bad-request", "the body is empty: send the bytes of a picture")
            return Sent(data=data, options=read_options([*query, *fields]), name=name, taken=self.taken)
        except BaseException:
            self.room.give(self.taken)
            raise

    def _check_head(self) -> None:
        if not self.is_form and self.media not in RAW_TYPES and not self.media.startswith("image/"):
            told = f"Content-Type {self.media[:60]!r}: send image/*, application/octet-stream or {FORM_TYPE}"
            raise ProblemError("not-a-picture", told)
        coding = self.request.headers.get("content-encoding", "identity").strip().lower()
        if coding not in ("", "identity"):
            raise ProblemError("not-a-picture", f"Content-Encoding {coding[:40]!r}: send the file as it is")
        charset = parse_options_header(self.request.headers.get("content-type", ""))[1].get(b"charset", b"utf-8")
        if self.is_form and charset.lower() not in CHARSETS:
            raise ProblemError("bad-request", f"charset={charset[:40].decode('latin-1')!r}: send the form in UTF-8")
        declared = self.request.headers.get("content-length", "0")
        if declared.isdecimal() and int(declared[:18]) > self.max_bytes:
            raise self._too_large(f"{declared[:18]} bytes")

    def _too_large(self, what: str) -> ProblemError:
        return ProblemError("too-large", f"{what}: at most {self.settings.body_bytes:,} bytes are taken")

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes, as long as it comes quickly enough and there is room."""
        pace = Pace(slowest=self.settings.slowest, slack_s=self.settings.header_s)
        chunks = self.request.stream()
        while True:
            try:
                async with asyncio.timeout(pace.left_s):
                    chunk = await anext(chunks, None)
            except TimeoutError as error:
                raise self._too_slow() from error
            if chunk is None:
                return
            self.received += len(chunk)
            pace.move(len(chunk))
            if self.received > self.max_bytes:
                raise self._too_large(f"more than {self.max_bytes:,} bytes")
            self._take(len(chunk) * (2 if self.is_form else 1))  # a form is copied once
            yield chunk

    def _too_slow(self) -> ProblemError:
        needed = f"{self.settings.slowest:,} bytes a second, and no pause of {self.settings.header_s:g} seconds"
        return ProblemError("too-slow", f"{self.received:,} bytes came too slowly: {needed}")

    def _take(self, count: int) -> None:
        if not self.room.take(count):
            raise ProblemError("busy", "the pictures of other requests fill the memory", retry_after_s=BUSY_S)
        self.taken += count

    async def _read_raw(self) -> tuple[bytearray, list[tuple[str, str]], str]:
        data = bytearray()
        async for chunk in self._chunks():
            data += chunk
        return data, [], ""

    async def _read_form(self) -> tuple[bytes, list[tuple[str, str]], str]:
        parser = MultiPartParser(
            self.request.headers,
            self._chunks(),
            max_files=1,
            max_fields=MAX_FIELDS,
            max_part_size=MAX_FIELD_BYTES,
        )
        parser.spool_max_size = 2 * self.max_bytes  # in memory alone: nothing stays on a disk
        ends: list[bool] = []
        parser.on_end = lambda: ends.append(True)  # type: ignore[method-assign]
        try:
            form = await parser.parse()
        except MultiPartException as error:
            raise ProblemError("bad-request", f"the form cannot be read: {error.message}") from error
        try:
            if not ends:
                raise ProblemError("bad-request", "the form has no end: its last boundary is missing")
            files = [(name, value) for name, value in form.multi_items() if isinstance(value, UploadFile)]
            if [name for name, _ in files] != [FIELD]:
                raise ProblemError("bad-request", f"the form needs one file, in the field {FIELD}")
            upload = files[0][1]
            fields = [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
            data = await upload.read()
        finally:
            await form.close()
        return data, fields, stem_of(upload.filename or "")


def stem_of(filename: str) -> str:
    """The name of a client's file without folders and suffix, and without what no file name should hold."""
    plain = re.sub("%(22|0D|0A)", "", filename, flags=re.IGNORECASE)  # how HTML writes quotes and line ends in forms
    name = PurePosixPath(PureWindowsPath(plain).name).stem
    return re.sub(r'[\x00-\x1f\x7f-\x9f"<>|*?:/\\\u2028\u2029\u202a-\u202e\u2066-\u2069]', "", name).strip(" .")[:100]


async def gone(request: Request) -> None:
    """Wait until the client goes away; the body has been read."""
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            return


__all__ = ["BodyReader", "ClientDisconnect", "Sent", "gone", "stem_of"]
