"""What stands before every route: host, origin, key, headers, the access log; errors become problems."""

import asyncio
import base64
import binascii
import hmac
import ipaddress
import json
import logging
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from a2f.errors import A2FError
from a2f.web.metrics import Metrics, log_request
from a2f.web.options import helpful_options, in_requests, losses_of
from a2f.web.problems import MEDIA_TYPE, STOPPED_S, STOPPING, ProblemError, problem_name
from a2f.web.settings import Settings

LOG = logging.getLogger("a2f.web")
OPEN_PATHS = ("/healthz", "/readyz")  # probes have no key
LINGER_S = 2.0
LINGER_BYTES = 16 * 10**6
CLIENT_GONE = 499  # in the access log: nobody was there to answer
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
OTHER = "other"  # paths that are no address of this server, in the log and in the figures


class Guard:
    """Lets requests in or not, and tells of them.

    Args:
        app: what answers them.
        routes: the addresses that `app` answers.
        settings: of the server.
        metrics: counts them.
    """

    def __init__(self, app: ASGIApp, *, routes: Sequence[BaseRoute], settings: Settings, metrics: Metrics) -> None:
        self.app, self.routes, self.settings, self.metrics = app, routes, settings, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        _put_in_origin_form(scope)
        exchange = Exchange(scope, receive, send)
        try:
            self._check(scope)
            scope["app"] = self  # so that the router raises what it does not find
            await self.app(scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            exchange.give_up()
        except asyncio.CancelledError:  # only where the server stops; uvicorn, which cancels, awaits nothing further
            exchange.has_body = False  # there is no time to wait for it
            if not exchange.status:
                await exchange.problem(ProblemError("stopping", STOPPING, retry_after_s=STOPPED_S))
        except HTTPException as error:
            await exchange.problem(_of_http(error), dict(error.headers or {}))
        except ProblemError as problem:
            await exchange.problem(problem)
        except A2FError as error:
            name, detail = problem_name(error), in_requests(error)
            await exchange.problem(ProblemError(name, detail, options=helpful_options(error), loses=losses_of(error)))
        except Exception as error:
            LOG.exception("unexpected error")
            await exchange.problem(ProblemError("failed", f"unexpected {type(error).__name__}"))
        finally:
            self._tell(scope, exchange)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._knows(host):
            raise ProblemError("wrong-host", f"the header Host is {host[:80]!r}, which is not a name of this server")
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2].lower() != host.lower():
            raise ProblemError("wrong-origin", f"the header Origin is {origin[:80]!r}, which is not this server")
        if headers.get("sec-fetch-site") == "cross-site" and scope["method"] not in ("GET", "HEAD"):
            raise ProblemError("wrong-origin", "the request comes from the page of another site")
        key = self.settings.api_key
        if key is None or scope["path"] in OPEN_PATHS:
            return
        if not hmac.compare_digest(_key(headers.get("authorization", "")), key.encode()):
            raise ProblemError("unauthorized", "the header Authorization has no key, or a wrong one")

    def _knows(self, host: str) -> bool:
        """Whether a client may call this server so: names could be made to point here by others, addresses not."""
        name = re.sub(r":[0-9]{1,5}$", "", host).lower()
        if name in ("localhost", *(known.lower() for known in self.settings.host_names)):
            return True
        try:
            ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
        except ValueError:
            return False
        return True

    def _route(self, scope: Scope) -> str:
        """The path of the route, without what one request alone has: what clients make up fills no figures."""
        for route in self.routes:
            if isinstance(route, Route) and route.matches(scope)[0] is not Match.NONE:
                return route.path
        return OTHER

    def _tell(self, scope: Scope, exchange: "Exchange") -> None:
        route, seconds = self._route(scope), time.perf_counter() - exchange.began
        method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST", "DELETE") else "other"
        self.metrics.requests.labels(route, method, str(exchange.status)).inc()
        self.metrics.request_seconds.labels(route).observe(seconds)
        log_request(
            {
                "client": (scope.get("client") or ("",))[0],
                "method": method,
                "route": route,
                "status": exchange.status,
                "bytes_in": exchange.bytes_in,
                "bytes_out": exchange.bytes_out,
                "seconds": round(seconds, 4),
                **scope.get("a2f.told", {}),
            }
        )


class Exchange:
    """One request and its answer: counted, with the headers of all answers.

    Args:
        scope: of the request.
        receive: of the server.
        send: of the server.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope, self._receive, self._send = scope, receive, send
        self.began = time.perf_counter()
        self.status, self.bytes_in, self.bytes_out = 0, 0, 0
        self.has_body = True

    async def receive(self) -> Message:
        """As ASGI."""
        message = await self._receive()
        self.bytes_in += len(message.get("body", b""))
        self.has_body = bool(message.get("more_body", False))
        return message

    async def send(self, message: Message) -> None:
        """As ASGI."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(raw=message.setdefault("headers", []))
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Cache-Control", "no-store")
        if self.scope["method"] != "HEAD":
            self.bytes_out += len(message.get("body", b""))
        await self._send(message)

    def give_up(self) -> None:
        """The client is gone, or took nothing and was cut off."""
        self.status = CLIENT_GONE

    async def problem(self, problem: ProblemError, headers: dict[str, str] | None = None) -> None:
        """Answer with a problem, if nothing has been answered yet."""
        if self.status:
            raise problem  # in the middle of an answer: the connection is cut, so that nobody takes it for whole
        body = json.dumps(problem.as_json()).encode()
        given = {"Content-Type": MEDIA_TYPE, "Content-Length": str(len(body)), **problem.headers(), **(headers or {})}
        unread = self.has_body and _sends_body(self.scope)
        if unread:
            given["Connection"] = "close"
        raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in given.items()]
        await self.send({"type": "http.response.start", "status": problem.kind.status, "headers": raw})
        await self.send({"type": "http.response.body", "body": body, "more_body": unread})
        if unread:
            await self._linger()
            await self._send({"type": "http.response.body", "body": b""})

    async def _linger(self) -> None:
        """Take some of what is still coming: a connection that is cut while data comes may lose the answer."""
        taken = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                message: dict[str, Any] = {"more_body": True}
                while message.get("more_body") and taken < LINGER_BYTES:
                    message = dict(await self._receive())
                    taken += len(message.get("body", b""))


def _put_in_origin_form(scope: Scope) -> None:
    """Change a target that is a whole URL, which names the host too, as proxies send it (RFC 9112, 3.2.2)."""
    if match := re.fullmatch(r"https?://([^/?#]*)(/.*)?", scope["path"], re.IGNORECASE | re.DOTALL):
        scope["path"] = match[2] or "/"
        others = [(name, value) for name, value in scope["headers"] if name != b"host"]
        scope["headers"] = [(b"host", match[1].encode()), *others]


def _sends_body(scope: Scope) -> bool:
    headers = Headers(scope=scope)
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


def _key(authorization: str) -> bytes:
    """The key of `Bearer KEY`, or the password of `Basic`, which browsers ask people for."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip().encode()
    if scheme.lower() == "basic":
        with suppress(binascii.Error, ValueError):
            return base64.b64decode(value, validate=True).partition(b":")[2]
    return b""


def _of_http(error: HTTPException) -> ProblemError:
    if error.status_code == 404:
        return ProblemError("not-found", "there is no such page")
    if error.status_code == 405:
        return ProblemError("method-not-allowed", f"allowed: {(error.headers or {}).get('Allow', '')}")
    return ProblemError("bad-request", error.detail)
