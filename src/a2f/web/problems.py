"""What can go wrong, as `application/problem+json` (RFC 9457) with types that stay."""

from dataclasses import dataclass
from typing import Any

from a2f.errors import (
    A2FError,
    EngineError,
    ImageReadError,
    ImageWriteError,
    LossyFormatError,
    MemoryLimitError,
    MissingExtraError,
    PixelLimitError,
    TruncatedImageError,
    UsageError,
    WriteError,
)

MEDIA_TYPE = "application/problem+json"
STOPPING, STOPPED_S = "the server is shutting down", 5  # and after how many seconds another one may answer


@dataclass(frozen=True, kw_only=True)
class ProblemKind:
    """One kind of problem.

    Attributes:
        name: end of its type URI, `/problems/NAME`.
        status: HTTP status code.
        title: one line, the same each time.
        remedy: what a client can do.
    """

    name: str
    status: int
    title: str
    remedy: str


_ALL = (
    ProblemKind(name="bad-request", status=400, title="The request is malformed",
         remedy="Send the picture as the body, or multipart/form-data with one file in the field `image`."),
    ProblemKind(name="unauthorized", status=401, title="The API key is missing or wrong",
         remedy="Send `Authorization: Bearer KEY`; browsers ask for the key as a password, with any user name."),
    ProblemKind(name="wrong-origin", status=403, title="Another site may not use this server",
         remedy="Use the page of this server, or a program: CORS is off."),
    ProblemKind(name="not-found", status=404, title="There is nothing at this address",
         remedy="`/docs` lists the addresses. A job is forgotten some time after it is done: send the picture again."),
    ProblemKind(name="method-not-allowed", status=405, title="This address does not take this method",
         remedy="The header `Allow` lists the methods."),
    ProblemKind(name="not-acceptable", status=406, title="The server cannot make any of the accepted types",
         remedy="Accept an image type from `GET /v1/models`, or `*/*`."),
    ProblemKind(name="too-slow", status=408, title="The request arrived too slowly",
         remedy="Send it again over a faster connection."),
    ProblemKind(name="not-ready", status=409, title="The job has no result",
         remedy="Wait for the status `done`; the job tells why it failed."),
    ProblemKind(name="too-large", status=413, title="The request has too many bytes",
         remedy="`limits.body_bytes` of `GET /v1/models` is the limit."),
    ProblemKind(name="too-many-pixels", status=413, title="The picture or its result has too many pixels",
         remedy="`limits.pixels` of `GET /v1/models` is the limit of a picture; a result may have 16 times as many."),
    ProblemKind(name="too-much-memory", status=413, title="The picture needs more memory than there is",
         remedy="Send a smaller picture, or ask for a smaller size."),
    ProblemKind(name="not-a-picture", status=415, title="The body is not a picture that can be read",
         remedy="`formats` of `GET /v1/models` lists the formats."),
    ProblemKind(name="missing-package", status=415, title="The server lacks a package for this format",
         remedy="Send another format, or install the extra `formats` on the server."),
    ProblemKind(name="wrong-host", status=421, title="This server does not have this name",
         remedy="Ask for it by an IP address or localhost; `a2f serve --host-name NAME` adds a name."),
    ProblemKind(name="bad-option", status=422, title="An option is unknown or has a wrong value",
         remedy="`/docs` lists the options."),
    ProblemKind(name="damaged-picture", status=422, title="The picture is damaged or ends too early",
         remedy="Send the whole file; `allow_truncated=true` enlarges the readable part."),
    ProblemKind(name="format-loses", status=422, title="The format cannot hold all of the picture",
         remedy="Choose png or tiff, or accept the loss with `force=true`; `loses` lists what would be lost."),
    ProblemKind(name="queue-full", status=429, title="Too many requests are waiting",
         remedy="Send it again after the seconds in `Retry-After`."),
    ProblemKind(name="failed", status=500, title="The picture could not be enlarged",
         remedy="Try again; if it fails again, report the picture."),
    ProblemKind(name="busy", status=503, title="The server has no room at the moment",
         remedy="Send it again after the seconds in `Retry-After`."),
    ProblemKind(name="stopping", status=503, title="The server is shutting down",
         remedy="Send it again after the seconds in `Retry-After`."),
    ProblemKind(name="took-too-long", status=504, title="The picture took too long",
         remedy="Send a smaller picture, or ask for a smaller scale."),
)  # fmt: skip
KINDS = {kind.name: kind for kind in _ALL}

_OF_ERRORS: tuple[tuple[type[Exception], str], ...] = (
    (PixelLimitError, "too-many-pixels"),
    (TruncatedImageError, "damaged-picture"),
    (ImageReadError, "not-a-picture"),
    (LossyFormatError, "format-loses"),
    (ImageWriteError, "failed"),
    (WriteError, "too-much-memory"),  # a temporary file of a network; results are not written
    (UsageError, "bad-option"),
    (MissingExtraError, "missing-package"),  # to read the picture: options that need a package are not offered
    (EngineError, "bad-option"),
    (MemoryLimitError, "too-much-memory"),
    (MemoryError, "too-much-memory"),
)


class ProblemError(Exception):
    """Why a request was not carried out.

    Args:
        name: of one of `KINDS`.
        detail: what was got, what is allowed, what to do.
        retry_after_s: seconds after which to try again; None if that would not help.
        options: options with which the request would pass, each by itself: ``("force=true",)``.
        loses: what the format would lose of the picture, each a `Loss`.
    """

    def __init__(
        self,
        name: str,
        detail: str,
        *,
        retry_after_s: int | None = None,
        options: tuple[str, ...] = (),
        loses: tuple[str, ...] = (),
    ) -> None:
        super().__init__(detail)
        self.kind, self.detail, self.retry_after_s = KINDS[name], detail, retry_after_s
        self.options, self.loses = options, loses

    def as_json(self) -> dict[str, Any]:
        """The body of the answer."""
        kind = self.kind
        return {
            "type": f"/problems/{kind.name}",
            "title": kind.title,
            "status": kind.status,
            "detail": self.detail,
            "options": list(self.options),
            "loses": list(self.loses),
        }

    def headers(self) -> dict[str, str]:
        """Headers of the answer."""
        given = {"WWW-Authenticate": 'Basic realm="a2f", charset="UTF-8"'} if self.kind.status == 401 else {}
        return given if self.retry_after_s is None else given | {"Retry-After": str(self.retry_after_s)}


def problem_name(error: Exception) -> str:
    """The kind of problem that an error of a2f is to a client."""
    for kind, name in _OF_ERRORS:
        if isinstance(error, kind):
            return name
    return "bad-option" if isinstance(error, A2FError) else "failed"
