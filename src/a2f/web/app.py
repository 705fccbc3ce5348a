"""The application: what each address answers."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import Any
from urllib.parse import quote

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from a2f.imageio import FORMATS
from a2f.web.body import BodyReader, gone
from a2f.web.guard import OTHER, Guard
from a2f.web.job import FINISHED, Job, Result
from a2f.web.jobs import Jobs
from a2f.web.metrics import Metrics, log_request
from a2f.web.openapi import document
from a2f.web.options import MEDIA_TYPES, accepted_format, formats
from a2f.web.pages import documentation, page_files
from a2f.web.problems import STOPPED_S, STOPPING, ProblemError
from a2f.web.settings import Settings
from a2f.weights import available_scales, shipped_models

SENT_BYTES = 2**18  # at a time
TOLD_EVERY_S = 0.25  # at most, by server-sent events
HEARTBEAT_S = 15.0


class Service:
    """Answers requests.

    Args:
        settings: of the server.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings, self.metrics = settings, Metrics()
        self.jobs = Jobs(settings, self.metrics)
        self.document = document(settings)
        self.files = page_files() | documentation(self.document)

    def app(self) -> ASGIApp:
        """The ASGI application."""
        routes = [
            Route("/v1/models", self.models),
            Route("/v1/upscale", self.upscale, methods=["POST"]),
            Route("/v1/jobs", self.submit, methods=["POST"]),
            Route("/v1/jobs/{id}", self.job, methods=["GET", "DELETE"]),
            Route("/v1/jobs/{id}/events", self.events),
            Route("/v1/jobs/{id}/result", self.result),
            Route("/openapi.json", self.openapi),
            Route("/healthz", self.health),
            Route("/readyz", self.ready),
            Route("/metrics", self.figures),
            *(Route(path, self.page) for path in self.files),
        ]
        router = Router(routes, redirect_slashes=False, lifespan=self._lifespan)
        return Guard(router, routes=routes, settings=self.settings, metrics=self.metrics)

    @asynccontextmanager
    async def _lifespan(self, app: Any) -> AsyncIterator[None]:
        await self.jobs.start()
        try:
            yield
        finally:
            await self.jobs.stop()

    def tell_refused(self, client: str, bytes_out: int) -> None:
        """Count and log what came in place of a request, and was refused."""
        self.metrics.requests.labels(OTHER, "other", "400").inc()
        given = {"client": client, "method": "other", "route": OTHER, "status": 400}
        log_request({**given, "bytes_in": 0, "bytes_out": bytes_out, "seconds": 0.0})

    async def models(self, request: Request) -> Response:
        """`GET /v1/models`."""
        members = ("name", "scale", "parameters", "kind", "jpeg_below")
        models = [{member: getattr(m, member) for member in members} for m in shipped_models()]
        s = self.settings
        limits = {"body_bytes": s.body_bytes, "pixels": s.pixels, "queue": s.queue, "workers": s.workers}
        return JSONResponse({"models": models, "formats": list(formats()), "limits": limits})

    async def upscale(self, request: Request) -> ASGIApp:
        """`POST /v1/upscale`; a client that goes away ends its work."""
        with ExitStack() as held:
            job = await self._submitted(request, held)
            held.callback(self.jobs.forget, job)
            leaving = asyncio.create_task(gone(request))
            ending = asyncio.create_task(job.finished.wait())
            try:
                await asyncio.wait({leaving, ending}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                leaving.cancel()
                ending.cancel()
            if not job.finished.is_set():
                raise ClientDisconnect
            if job.result is None:
                raise job.error or ProblemError("failed", "the job was cancelled")
            return PictureAnswer(job, job.result, held.pop_all())

    async def submit(self, request: Request) -> Response:
        """`POST /v1/jobs`."""
        with ExitStack() as held:
            job = await self._submitted(request, held)
            where = {"Location": f"/v1/jobs/{job.id}"}
            return JSONResponse(self.jobs.as_json(job), status_code=202, headers=where)

    async def job(self, request: Request) -> Response:
        """`GET` and `DELETE /v1/jobs/{id}`."""
        job = self.jobs.find(request.path_params["id"])
        if request.method == "DELETE":
            self.jobs.drop(job)
            return Response(status_code=204)
        return JSONResponse(self.jobs.as_json(job))

    async def events(self, request: Request) -> ASGIApp:
        """`GET /v1/jobs/{id}/events`."""
        return Events(self.jobs, self.jobs.find(request.path_params["id"]))

    async def result(self, request: Request) -> ASGIApp:
        """`GET /v1/jobs/{id}/result`."""
        job = self.jobs.find(request.path_params["id"])
        if job.result is None:
            raise job.error or ProblemError("not-ready", f"the job is {job.status}")
        held = ExitStack()
        held.enter_context(self.jobs.watch(job))
        return PictureAnswer(job, job.result, held)

    async def openapi(self, request: Request) -> Response:
        """`GET /openapi.json`."""
        return JSONResponse(self.document)

    async def health(self, request: Request) -> Response:
        """`GET /healthz`."""
        return PlainTextResponse("ok\n")

    async def ready(self, request: Request) -> Response:
        """`GET /readyz`."""
        if self.jobs.draining:
            raise ProblemError("stopping", STOPPING, retry_after_s=STOPPED_S)
        if not self.jobs.is_ready:
            raise ProblemError("busy", "no worker is ready", retry_after_s=1)
        return PlainTextResponse("ready\n")

    async def figures(self, request: Request) -> Response:
        """`GET /metrics`."""
        jobs, metrics = self.jobs, self.metrics
        metrics.waiting.set(jobs.waiting)
        metrics.running.set(jobs.running)
        metrics.body_bytes.set(jobs.bodies.taken)
        metrics.result_bytes.set(jobs.results.memory.taken)
        return Response(metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def page(self, request: Request) -> Response:
        """The page, its files and the documentation."""
        file = self.files[request.scope["path"]]
        headers = {"ETag": file.etag, "Cache-Control": file.cache, "Content-Type": file.media_type}
        known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
        if file.etag in known or "*" in known:
            return Response(status_code=304, headers=headers)
        return Response(file.content, headers=headers)

    async def _submitted(self, request: Request, held: ExitStack) -> Job:
        """Read a request, look at its picture, and put it into the queue; it is kept until `held` is closed."""
        self.jobs.check_room()
        sent = await BodyReader(request, self.settings, self.jobs.bodies).read()
        try:
            format, given = await self.jobs.inspect(sent.data)
            self.jobs.check_size(given, sent.options)
            options = sent.options
            if options.format is None:
                options = options.with_format(accepted_format(request.headers.get("accept", ""), format))
            scales = options.target.scales(given, available=available_scales(options.model))
            job = Job(
                options=options,
                name=sent.name,
                given=given,
                work_px=_work_px(given[0] * given[1], scales),
                data=sent.data,
                body_bytes=sent.taken,
            )
            held.enter_context(self.jobs.watch(job))
            await self.jobs.submit(job)
        except BaseException:
            self.jobs.bodies.give(sent.taken)
            raise
        tell_log(request.scope, job)
        return job


def tell_log(scope: Scope, job: Job) -> None:
    """Tell the access log about a job: the model that ran, or the one that was asked for if none has run yet."""
    result, options = job.result, job.options
    scope["a2f.told"] = {
        "width": job.given[0],
        "height": job.given[1],
        "model": result.model if result else options.model,
        "scale": result.scale if result else options.scale,
        "format": result.format if result else options.format,
    }


def _work_px(pixels: int, scales: tuple[int, ...]) -> float:
    """LR pixels of all passes; what reading and writing cost counts as some more."""
    work, factor = 0.02 * pixels + 1000, 1
    for scale in scales:
        work += pixels * factor**2
        factor *= scale
    return work


class PictureAnswer:
    """Answers with an enlarged picture, in parts, so that a client that takes none of them is noticed.

    Args:
        job: whose result it is.
        result: of the job.
        held: keeps the result; closed when the answer has ended.
    """

    def __init__(self, job: Job, result: Result, held: ExitStack) -> None:
        self.job, self.result, self.held = job, result, held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; ClientDisconnect if its client leaves before the end."""
        tell_log(scope, self.job)
        with self.held:
            leaving = asyncio.create_task(gone(Request(scope, receive)))
            try:
                headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in self._headers()]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                if scope["method"] != "HEAD":
                    await self._send_file(send, leaving)
                await send({"type": "http.response.body", "body": b""})
            finally:
                leaving.cancel()

    async def _send_file(self, send: Send, leaving: "asyncio.Task[None]") -> None:
        file = self.result.file
        for start in range(0, file.size, SENT_BYTES):
            await send({"type": "http.response.body", "body": file.read(start, SENT_BYTES), "more_body": True})
            await asyncio.sleep(0)  # lets `leaving` hear of the connection
            if leaving.done():
                raise ClientDisconnect
        self.job.is_fetched = True

    def _headers(self) -> list[tuple[str, str]]:
        result = self.result
        return [
            ("Content-Type", MEDIA_TYPES[result.format]),
            ("Content-Length", str(result.file.size)),
            ("Content-Disposition", disposition(self.job, result)),
            ("A2F-Model", result.model),
            ("A2F-Scale", str(result.scale)),
            ("A2F-Seconds", f"{result.seconds:.3f}"),
            *(("A2F-Note", quote(note, safe=" ,;:()/'=<>")) for note in result.notes),
        ]


def disposition(job: Job, result: Result) -> str:
    """A header with the file's name: that of the client's file, and what was made of it (RFC 6266)."""
    options = job.options
    made = "_{}x{}".format(*options.target.final(job.given)) if options.target.is_exact else f"_x{options.scale}"
    name = (job.name or "picture") + made + FORMATS[result.format].suffixes[0]
    if name.isascii():
        return f'attachment; filename="{name}"'
    plain = f"picture{made}{FORMATS[result.format].suffixes[0]}"
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


class Events:
    """Answers with server-sent events, until a job has ended or the client is gone.

    Args:
        jobs: where it is.
        job: to follow.
    """

    def __init__(self, jobs: Jobs, job: Job) -> None:
        self.jobs, self.job = jobs, job

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        with self.jobs.watch(self.job):
            await self._follow(scope, receive, send)

    async def _follow(self, scope: Scope, receive: Receive, send: Send) -> None:
        leaving = asyncio.create_task(gone(Request(scope, receive)))
        try:
            headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            while not leaving.done():
                changed = self.job.changed
                data = json.dumps(self.jobs.as_json(self.job))
                text = f"event: status\ndata: {data}\n\n".encode()
                await send({"type": "http.response.body", "body": text, "more_body": True})
                if self.job.status in FINISHED:
                    break
                await self._next(changed, leaving)
            await send({"type": "http.response.body", "body": b""})
        finally:
            leaving.cancel()

    async def _next(self, changed: asyncio.Event, leaving: "asyncio.Task[None]") -> None:
        """Wait for a change, or for a while: estimates change by themselves."""
        waiting = asyncio.create_task(changed.wait())
        pause = HEARTBEAT_S if self.job.status == "queued" else 4 * TOLD_EVERY_S
        await asyncio.wait({waiting, leaving}, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self.job.status not in FINISHED:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.job.finished.wait(), TOLD_EVERY_S)
