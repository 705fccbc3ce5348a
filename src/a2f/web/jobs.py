"""Jobs: the queue, what runs, and what is kept of results."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from a2f.sizes import Size
from a2f.web.job import FINISHED, Job, Result, Status
from a2f.web.metrics import Metrics
from a2f.web.options import Options, as_message
from a2f.web.problems import STOPPED_S, STOPPING, ProblemError
from a2f.web.process import WorkerProcess
from a2f.web.results import ResultFile, Results, Room
from a2f.web.settings import OUTPUT_FACTOR, Settings

MAX_JOBS = 4096  # that are remembered, finished ones included
SWEEP_S = 1.0
RESTART_S = 1.0  # about what a new worker takes: a picture that is done by then ends without one
INSPECT_S = 10.0  # to read a header
INSPECTED_WITHIN_S = 60.0  # with the headers of other pictures before it
FIRST_PX_PER_S = 50_000.0  # on two cores, before this server has measured its own
ESTIMATED_SHARE = 0.95  # the largest share that is told if the network tells nothing


class Jobs:
    """Takes jobs, runs them on worker processes and keeps their results for a while.

    Args:
        settings: of the server.
        metrics: counts what happens.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.settings, self.metrics = settings, metrics
        self.bodies = Room(settings.body_room)
        self.results = Results(memory=settings.result_room, disk=settings.spool_room)
        first = ("sd", 4, "float32")
        lost = metrics.workers_lost.inc
        self.workers = [WorkerProcess(settings, opened=first, tell_replaced=lost) for _ in range(settings.workers)]
        self.inspector = WorkerProcess(settings, opened=None)
        self._jobs: dict[str, Job] = {}
        self._waiting: deque[Job] = deque()
        self._arrived = asyncio.Condition()
        self._inspected = 0  # pictures that wait for their headers to be read
        self._tasks: list[asyncio.Task[None]] = []
        self.draining = False
        self._px_per_s = FIRST_PX_PER_S

    async def start(self) -> None:
        """Start the workers; returns at once, see `is_ready`."""
        self._tasks = [asyncio.create_task(self._work(worker)) for worker in self.workers]
        self._tasks += [asyncio.create_task(self._sweep())]
        self._tasks += [asyncio.create_task(self._keep(worker)) for worker in (*self.workers, self.inspector)]

    async def stop(self) -> None:
        """End everything at once."""
        self.end_all()
        tasks = [*self._tasks, *(job.task for job in self._jobs.values() if job.task is not None)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for job in list(self._jobs.values()):
            self.forget(job)
        for worker in (*self.workers, self.inspector):
            await worker.kill()

    def end_all(self) -> None:
        """End all jobs; whoever waits for one hears that the server is shutting down."""
        for job in list(self._jobs.values()):
            self._end(job, "cancelled", error=ProblemError("stopping", STOPPING, retry_after_s=STOPPED_S))

    @property
    def is_ready(self) -> bool:
        """Whether a picture sent now would be enlarged."""
        return not self.draining and self.inspector.is_ready and any(worker.is_ready for worker in self.workers)

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing runs."""
        return all(job.status in FINISHED for job in self._jobs.values())

    @property
    def has_unfetched(self) -> bool:
        """Whether a result is kept that nobody has fetched yet."""
        return any(job.result is not None and not job.is_fetched for job in self._jobs.values())

    @property
    def waiting(self) -> int:
        """Jobs in the queue."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Jobs that run."""
        return sum(job.status == "running" for job in self._jobs.values())

    async def inspect(self, data: bytes | bytearray) -> tuple[str, Size]:
        """Format and size of a picture, by its header.

        Raises:
            ProblemError: not-a-picture, or what else is wrong with it; as `check_room`.
        """
        self.check_room()
        self._inspected += 1
        try:
            async with asyncio.timeout(INSPECTED_WITHIN_S):
                told, _ = await self.inspector.ask({"kind": "inspect"}, data, timeout_s=INSPECT_S)
        except TimeoutError as error:
            reason = "the headers of other pictures are read first"
            raise ProblemError("busy", reason, retry_after_s=self.wait_s()) from error
        finally:
            self._inspected -= 1
        return told["format"], (told["width"], told["height"])

    def check_size(self, given: Size, options: Options) -> None:
        """Refuse a picture, or a result, of too many pixels.

        Raises:
            ProblemError: too-many-pixels.
        """
        limit = self.settings.pixels
        final = options.target.final(given)
        for what, (width, height), max_px in (("picture", given, limit), ("result", final, OUTPUT_FACTOR * limit)):
            if width * height > max_px:
                told = f"the {what} has {width * height:,} pixels ({width} x {height}); at most {max_px:,} are allowed"
                raise ProblemError("too-many-pixels", told)

    def check_room(self) -> None:
        """Refuse a picture, if possible before it is sent, when too many are waiting.

        Raises:
            ProblemError: stopping, queue-full or busy.
        """
        if self.draining:
            raise ProblemError("stopping", STOPPING, retry_after_s=STOPPED_S)
        waiting = self._inspected + len(self._waiting)
        free = sum(worker.is_ready for worker in self.workers) - self.running
        if waiting >= self.settings.queue + max(free, 0):
            told = f"{waiting} pictures are waiting; the limit is {self.settings.queue} beside those that run"
            raise ProblemError("queue-full", told, retry_after_s=self.wait_s())
        if len(self._jobs) >= MAX_JOBS and not self._forget_oldest():
            raise ProblemError(
                "busy", f"{MAX_JOBS} jobs are unfinished, which is the limit", retry_after_s=self.wait_s()
            )

    async def submit(self, job: Job) -> None:
        """Put a job into the queue.

        Raises:
            ProblemError: as `check_room`.
        """
        self.check_room()
        self._jobs[job.id] = job
        self._waiting.append(job)
        async with self._arrived:
            self._arrived.notify()

    def find(self, id: str) -> Job:
        """A job by its id, which is kept longer for it.

        Raises:
            ProblemError: not-found.
        """
        job = self._jobs.get(id)
        if job is None:
            raise ProblemError("not-found", "there is no such job, or it has been forgotten")
        job.asked_at = time.monotonic()
        return job

    @contextmanager
    def watch(self, job: Job) -> Iterator[None]:
        """Keep a job, and its result even if it is forgotten meanwhile, for a request that waits for it or takes it."""
        job.watchers += 1
        try:
            yield
        finally:
            job.watchers -= 1
            job.asked_at = time.monotonic()
            self._let_go(job)

    def drop(self, job: Job) -> None:
        """Cancel a job that has not ended; forget one that has."""
        if job.status in FINISHED:
            self.forget(job)
        else:
            self._end(job, "cancelled")

    def forget(self, job: Job) -> None:
        """Cancel a job if it has not ended, and know it no more; requests that take its result still get all of it."""
        self._end(job, "cancelled")
        self._jobs.pop(job.id, None)
        self._let_go(job)

    def _let_go(self, job: Job) -> None:
        """Close the result of a job that is forgotten, as soon as no request needs it."""
        if job.id not in self._jobs and not job.watchers and job.result is not None:
            job.result.file.close()

    def wait_s(self) -> int:
        """About how many seconds it takes until there is room in the queue."""
        ahead = sum(job.work_px for job in self._jobs.values() if job.status not in FINISHED)
        slots = self.settings.workers
        return max(1, min(600, math.ceil(ahead / self._px_per_s / slots / max(1, len(self._waiting)))))

    def as_json(self, job: Job) -> dict[str, Any]:
        """What clients are told about a job."""
        progress, left = self._progress(job)
        width, height = job.options.target.final(job.given)
        told: dict[str, Any] = {"id": job.id, "status": job.status}
        if job.status == "queued" and job in self._waiting:
            told["position"] = self._waiting.index(job) + 1
        return told | {
            "progress": progress,
            "seconds_left": left,
            "width": width,
            "height": height,
            "error": job.error.as_json() if job.error else None,
            "result": f"/v1/jobs/{job.id}/result" if job.result else None,
            "notes": list(job.result.notes) if job.result else [],
        }

    def _progress(self, job: Job) -> tuple[float, float | None]:
        """Share that is done, and seconds left: what the network tells, or an estimate from earlier pictures."""
        if job.status == "done":
            return 1.0, 0.0
        if job.status in FINISHED:
            return round(job.told, 3), None
        expected = job.work_px / self._px_per_s
        if job.began_at is None:
            running = [other for other in self._jobs.values() if other.status == "running"]
            ahead = sum((self._progress(other)[1] or 0.0) for other in running)
            for other in self._waiting:
                if other is job:
                    break
                ahead += other.work_px / self._px_per_s
            return 0.0, round(ahead / self.settings.workers + expected, 1)
        spent = time.monotonic() - job.began_at
        if job.told > 0:
            return round(job.told, 3), round(spent * (1 - job.told) / job.told, 1)
        share = min(ESTIMATED_SHARE, spent / expected)
        return round(share, 3), round(max(0.1, expected - spent), 1)

    async def _keep(self, worker: WorkerProcess) -> None:
        """Start a worker, and replace it when it has ended, for ever: otherwise a server that is not ready stays so."""
        while True:
            if not worker.is_ready:
                with suppress(ProblemError):  # the next round tries again
                    await worker.start()
            await asyncio.sleep(SWEEP_S)

    async def _work(self, worker: WorkerProcess) -> None:
        """Run jobs on one worker, for ever."""
        with suppress(ProblemError):
            await worker.start()  # until then the other workers take the jobs
        while True:
            async with self._arrived:
                await self._arrived.wait_for(lambda: bool(self._waiting))
                job = self._waiting.popleft()
            job.status, job.began_at = "running", time.monotonic()
            job.task = asyncio.create_task(self._run(job, worker))
            job.tell_change()
            await asyncio.wait([job.task])
            if not worker.is_ready:
                with suppress(ProblemError):
                    await worker.start()

    async def _run(self, job: Job, worker: WorkerProcess) -> None:
        async def tell(share: float) -> None:
            job.told = max(job.told, share)
            job.tell_change()

        assert job.data is not None
        is_alone = self.running == 1 and not self._waiting  # then its network takes all cores
        header = {"kind": "enlarge", "options": as_message(job.options), "is_alone": is_alone}
        try:
            told, file = await worker.ask(
                header, job.data, timeout_s=self.settings.timeout_s, tell=tell, open_file=self._open
            )
        except ProblemError as problem:
            self._end(job, "failed", error=problem)
            return
        except asyncio.CancelledError:
            self._end(job, "cancelled")
            raise
        assert file is not None
        if job.finished.is_set():  # cancelled meanwhile
            file.close()
            return
        self._measure(job)
        kept = {key: told[key] for key in ("format", "model", "scale", "seconds")}
        self._end(job, "done", result=Result(file=file, notes=tuple(told["notes"]), **kept))

    def _open(self, size: int) -> ResultFile:
        """Take room for a result: the oldest that are kept make place, but for those that clients take."""
        return self.results.open(size, free=self._forget_oldest)

    def _forget_oldest(self, room: Room | None = None) -> bool:
        """Forget the finished job that was asked about least lately and has no watcher; False if there is none.

        Args:
            room: where its result lies; None takes any job.
        """
        finished = [job for job in self._jobs.values() if job.status in FINISHED and not job.watchers]
        if room is not None:
            finished = [job for job in finished if job.result is not None and job.result.file.room is room]
        if not finished:
            return False
        self.forget(min(finished, key=lambda job: job.asked_at))
        return True

    def _measure(self, job: Job) -> None:
        """Learn how quick this machine is, from pictures that take long enough to tell."""
        assert job.began_at is not None
        seconds = time.monotonic() - job.began_at
        self.metrics.pixels.inc(job.given[0] * job.given[1])
        self.metrics.job_seconds.observe(seconds)
        if seconds > 0.05:
            self._px_per_s += 0.3 * (job.work_px / seconds - self._px_per_s)

    def _end(
        self, job: Job, status: Status, *, error: ProblemError | None = None, result: Result | None = None
    ) -> None:
        """Let a job end, once."""
        if job.finished.is_set():
            return
        job.status, job.error, job.result = status, error, result
        job.finished.set()
        job.tell_change()
        if job in self._waiting:
            self._waiting.remove(job)
        if job.task is not None and status == "cancelled" and not job.task.done():
            asyncio.get_running_loop().call_later(RESTART_S, job.task.cancel)
        self.metrics.jobs.labels(status).inc()
        job.asked_at = time.monotonic()
        job.data = None
        self.bodies.give(job.body_bytes)

    async def _sweep(self) -> None:
        """Let go of what was kept long enough, and of what nobody asks about any more."""
        while True:
            await asyncio.sleep(SWEEP_S)
            now = time.monotonic()
            for job in list(self._jobs.values()):
                if not job.watchers and now - job.asked_at > self.settings.keep_s:
                    self.forget(job)
                elif job.status == "queued" and now - job.queued_at > self.settings.timeout_s:
                    told = f"it waited for more than {self.settings.timeout_s:g} seconds"
                    self._end(job, "failed", error=ProblemError("busy", told, retry_after_s=self.wait_s()))
