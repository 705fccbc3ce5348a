"""Workers in a Ray cluster (extra `ray`): each is an actor with its share of cores, GPUs and memory."""

import contextlib
import logging
import math
import os
import pickle
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import a2f
from a2f.batch.journal import Item
from a2f.distributed.bench import Bench, End, Hands, Report
from a2f.distributed.driver import SLOTS, Answered, Event, Lost, Opened
from a2f.errors import A2FError, EngineError, Hint, MissingExtraError, UsageError

AUTO = "auto"  # the cluster that this machine belongs to
LOCAL = "local"  # a cluster of this machine alone, for as long as the run lasts
HEARD_AFTER_S = 1.0  # what happened in the cluster, at the latest
LOOKED_EVERY_S = 5.0  # at the machines of the cluster
ASKED_EVERY_S = 0.5  # a worker that does not answer
PATIENCE_S = 5.0  # with workers at the end
NOTED_AFTER_S = 20.0  # while no worker has started
MAX_OPENING = 3  # workers in a row that end before they are ready
MAX_ANSWER_S = 20.0  # for the answer of a cluster
SECONDS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 120]  # of the histogram


@dataclass(frozen=True, kw_only=True)
class Share:
    """The share of a machine that a worker uses.

    Attributes:
        cpus: number of cores; workers share a core if it is a fraction.
        gpus: number of GPUs; workers share a GPU if it is a fraction.
        memory: bytes; None: an equal share of the machine for each of its workers.
        workers: number of workers; None: as many as fit into the cluster at any time.
    """

    cpus: float = 1
    gpus: float = 0
    memory: int | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.cpus <= 0 and self.gpus <= 0:
            raise UsageError("a worker with neither cores nor GPUs: give --ray-cpus or --ray-gpus a number above 0")

    def room(self, resources: dict[str, float]) -> int:
        """The number of workers that fit on a machine."""
        counts = [resources.get(name, 0) / each for name, each in self.asked().items() if each]
        return math.floor(min(counts) + 1e-9)

    def asked(self) -> dict[str, float]:
        """The share with the resource names of Ray."""
        return {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory or 0}


def connect(address: str) -> None:
    """Join a cluster.

    Args:
        address: `AUTO`, `LOCAL`, or ``host:port`` of its head.

    Raises:
        MissingExtraError: if Ray is not installed.
        UsageError: if there is no such cluster, if it does not answer in time, or if it has another Ray or Python.
    """
    if address.startswith("ray://"):
        raise UsageError(f"--ray {address}: start a2f on a machine of the cluster, and give --ray alone or host:port")
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("--ray needs the package ray: pip install 'a2f[ray]'") from error
    how = {"log_to_driver": False, "logging_level": logging.ERROR, "namespace": "a2f"}
    if address != LOCAL:
        _check_answer(address)
    try:
        if address == LOCAL:
            ray.init(include_dashboard=False, **how)
        else:
            ray.init(address=address, **how)
    except (ConnectionError, RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise _no_cluster(address, first) from error


def _check_answer(address: str) -> None:
    """Raise an error unless a cluster answers within `MAX_ANSWER_S`.

    Ray waits for minutes, prints its own messages and may end the process, so a child process asks.
    """
    at = os.environ.get("RAY_ADDRESS", AUTO) if address == AUTO else address
    host, _, port = at.rpartition(":")
    if host and port.isdecimal():
        try:
            socket.create_connection((host, int(port)), timeout=MAX_ANSWER_S).close()
        except (OSError, OverflowError) as error:
            raise _no_cluster(at, getattr(error, "strerror", None) or str(error)) from error
    ask = [sys.executable, "-P", "-m", "ray.scripts.scripts", "status", *([] if at == AUTO else ["--address", at])]
    try:
        done = subprocess.run(
            ask, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=MAX_ANSWER_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise _no_cluster(at, f"no answer in {MAX_ANSWER_S:g} s") from error
    if done.returncode:
        said = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise _no_cluster(at, said.removeprefix("ConnectionError: ").partition(". ")[0])


def _no_cluster(address: str, reason: str) -> UsageError:
    where = "on this machine" if address == AUTO else f"at {address}"
    return UsageError(
        f"--ray: no Ray cluster answers {where} ({reason})",
        Hint(text="start one with `ray start --head`"),
        Hint(text="use this machine alone with --ray local"),
    )


def disconnect() -> None:
    """Leave the cluster; all its work for this run ends."""
    import ray

    ray.shutdown()


def memory_of_each(share: Share) -> int:
    """The smallest memory per worker over all machines of the cluster, bytes.

    Raises:
        UsageError: if no machine has room for a worker.
    """
    import ray

    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    rooms = [(machine.get("memory", 0), share.room(machine)) for machine in machines]
    shares = [int(memory / room) for memory, room in rooms if room]
    if shares:
        return share.memory or min(shares)
    most = {name: max((machine.get(name, 0) for machine in machines), default=0) for name in share.asked()}
    raise UsageError(
        f"no machine of the cluster has room for a worker of {share.cpus:g} CPU, {share.gpus:g} GPU and "
        f"{(share.memory or 0) / 1e9:.1f} GB; the largest numbers are {most['CPU']:g}, {most['GPU']:g} and "
        f"{most['memory'] / 1e9:.1f} GB: give less with --ray-cpus, --ray-gpus or --max-memory"
    )


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A worker is ready.

    Attributes:
        machine: its name.
        node: the machine's identity in the cluster.
    """

    machine: str
    node: str


class A2FWorker:
    """The actor. Its methods are the stages that the dashboard shows."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._bench: Bench[Any] | None = None

    def open(self, version: str, packed: bytes, recipe: int) -> Ready | A2FError:
        """Open the worker, or return the reason of the failure.

        Args:
            version: version of a2f on the driver.
            packed: makes the `Hands`, pickled.
            recipe: number of the options, in the journal of the driver.
        """
        import ray
        from ray.util.metrics import Counter, Gauge, Histogram

        machine = socket.gethostname()
        if version != a2f.__version__:
            return UsageError(f"{machine} has a2f {a2f.__version__}, the driver {version}: install the same on both")
        try:
            hands: Hands[Any] = pickle.loads(packed)()
        except A2FError as error:
            return type(error)(f"{machine}: {error.message}", *error.hints)
        self._bench = Bench(hands, recipe=recipe, slots=SLOTS)
        self._ended = Counter("a2f_images", description="Images that came to an end.", tag_keys=("status",))
        self._begun = Gauge("a2f_under_way", description="Images under way in a worker.", tag_keys=("worker",))
        self._begun.set_default_tags({"worker": str(self.number)})
        self._seconds = Histogram(
            "a2f_seconds", description="Seconds of a stage.", boundaries=SECONDS, tag_keys=("stage",)
        )
        self._held = 0
        return Ready(machine=machine, node=ray.get_runtime_context().get_node_id())

    def enlarge(self, item: Item) -> Report[Any]:
        """Read an image and make its complete result, without renaming it."""
        self._count(1)
        return self._timed("enlarge", lambda bench: bench.enlarge(item))

    def place(self, item: int) -> Report[Any]:
        """Rename a result, or send it to the store."""
        return self._timed("place", lambda bench: bench.place(item))

    def stop(self) -> None:
        """Stop the work in progress."""
        if self._bench is not None:
            self._bench.stop()

    def ping(self) -> None:
        """Answer."""

    def _timed(self, stage: str, do: Callable[[Bench[Any]], Report[Any]]) -> Report[Any]:
        assert self._bench is not None
        began = time.perf_counter()
        report = do(self._bench)
        self._seconds.observe(time.perf_counter() - began, tags={"stage": stage})
        if isinstance(report, End):
            self._count(-1)
            self._ended.inc(tags={"status": getattr(report.outcome, "status", "failed")})
        return report

    def _count(self, change: int) -> None:
        self._held += change
        self._begun.set(self._held)


@dataclass(kw_only=True)
class _Actor:
    handle: Any
    ready: Ready | None = None
    silent_since: float | None = None


class RayCrew:
    """The `Crew` of a driver: workers in the connected cluster.

    Args:
        open: makes the `Hands` in a worker. It is pickled.
        share: share of each worker.
        recipe: number of the options, in the journal.
        note: called with messages for the user.
    """

    def __init__(
        self,
        open: Callable[[], Hands[Any]],
        *,
        share: Share,
        recipe: int,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        import ray
        from ray.util.metrics import Counter, Gauge

        self._ray, self.share, self.recipe, self._note = ray, share, recipe, note
        self._packed = ray.put(pickle.dumps(open))
        self._actors: dict[int, _Actor] = {}
        self._refs: dict[Any, tuple[int, int | None, str]] = {}  # worker, item, stage
        self._hired = self._failed_to_open = 0
        self._room, self._looked_at = 0, -math.inf
        self._began, self._told_to_wait = time.monotonic(), False
        self._count = Gauge("a2f_workers", description="Workers that are ready or starting.")
        self._losses = Counter("a2f_workers_lost", description="Workers that were lost.")
        job = ray.get_runtime_context().get_job_id()
        self._name = f"a2f-{job[-4:]}"

    def wanted(self) -> int:
        """The number of workers that fit into the cluster now, or the requested number."""
        if self.share.workers is not None:
            return self.share.workers
        now = time.monotonic()
        if now - self._looked_at > LOOKED_EVERY_S:
            nodes = self._ray.nodes()
            self._room = sum(self.share.room(node["Resources"]) for node in nodes if node["Alive"])
            self._looked_at = now
        return self._room

    def hire(self) -> int:
        """Start an actor."""
        self._hired += 1
        number, share = self._hired, self.share
        handle = (
            self._ray.remote(A2FWorker)
            .options(
                name=f"{self._name}-{number}",
                num_cpus=share.cpus,
                num_gpus=share.gpus,
                memory=share.memory,
                max_restarts=0,  # the driver starts another one, and decides about the items
                max_task_retries=0,
                max_concurrency=SLOTS + 2,
                scheduling_strategy="SPREAD",
            )
            .remote(number)
        )
        self._actors[number] = _Actor(handle=handle)
        self._call(number, None, "open", a2f.__version__, self._packed, self.recipe)
        self._count.set(len(self._actors))
        return number

    def dismiss(self, worker: int) -> None:
        """End an actor."""
        self._forget(worker)

    def enlarge(self, worker: int, item: Item) -> None:
        """Start an item on a worker."""
        self._call(worker, item.id, "enlarge", item)

    def place(self, worker: int, item: int) -> None:
        """Rename the result of an item."""
        self._call(worker, item, "place", item)

    def events(self) -> Sequence[Event]:
        """The new events; it waits up to a second."""
        self._ask_again()
        if not self._refs:
            time.sleep(ASKED_EVERY_S)
            self._tell_to_wait()
            return []
        ready, _ = self._ray.wait(list(self._refs), num_returns=1, timeout=HEARD_AFTER_S)
        if not ready:
            self._tell_to_wait()
            return []
        ready, _ = self._ray.wait(list(self._refs), num_returns=len(self._refs), timeout=0)
        found: list[Event] = []
        for ref in ready:
            if ref in self._refs:  # not of a worker that was lost a moment ago
                found += self._event(ref)
        return found

    def close(self) -> None:
        """End all workers and their work."""
        stopping = [actor.handle.stop.remote() for actor in self._actors.values() if actor.ready is not None]
        if stopping:
            self._ray.wait(stopping, num_returns=len(stopping), timeout=PATIENCE_S)
        for number in list(self._actors):
            self._forget(number, kill=True)

    def _call(self, worker: int, item: int | None, stage: str, *values: object) -> None:
        ref = getattr(self._actors[worker].handle, stage).remote(*values)
        self._refs[ref] = worker, item, stage

    def _event(self, ref: Any) -> list[Event]:
        from ray.exceptions import ActorUnavailableError, LocalRayletDiedError, RayError, RayTaskError

        worker, item, stage = self._refs.pop(ref)
        actor = self._actors[worker]
        try:
            answer = self._ray.get(ref)
        except RayTaskError as error:
            raise error.cause from error
        except LocalRayletDiedError as error:
            raise EngineError("this machine has left the cluster: start the same command again") from error
        except ActorUnavailableError:
            actor.silent_since = actor.silent_since or time.monotonic()
            return []
        except RayError as error:
            return [self._loss(worker, error)]
        if stage == "open":
            return [self._opened(worker, answer)]
        if stage == "ping":  # it lives, but an answer of it was lost
            self._forget(worker, kill=True)
            return [Lost(worker=worker, reason="its answers did not arrive", with_machine=True)]
        assert item is not None
        return [Answered(worker=worker, item=item, report=answer)]

    def _opened(self, worker: int, answer: Ready | A2FError) -> Opened:
        if isinstance(answer, A2FError):
            raise answer
        self._failed_to_open = 0
        self._actors[worker].ready = answer
        return Opened(worker=worker, note=f"worker {worker} is ready on {answer.machine}")

    def _ask_again(self) -> None:
        """Ask unreachable workers, until they answer or the cluster reports their loss."""
        now = time.monotonic()
        asked = {worker for worker, _, stage in self._refs.values() if stage == "ping"}
        for worker, actor in self._actors.items():
            if actor.silent_since is not None and worker not in asked and now - actor.silent_since > ASKED_EVERY_S:
                actor.silent_since = now
                self._call(worker, None, "ping")

    def _loss(self, worker: int, error: Exception) -> Lost:
        """The cluster's report about a lost worker.

        Raises:
            EngineError: if several workers in a row end before they are ready.
        """
        ready, alive = self._actors[worker].ready, {node["NodeID"] for node in self._ray.nodes() if node["Alive"]}
        self._forget(worker, kill=True)
        self._losses.inc()
        self._looked_at = -math.inf
        reason = _reason(str(error))
        if ready is None:
            self._failed_to_open += 1
            if self._failed_to_open >= MAX_OPENING:
                raise EngineError(f"{MAX_OPENING} workers in a row ended before they were ready: {reason}")
            return Lost(worker=worker, reason=reason, with_machine=True)
        if ready.node not in alive:
            return Lost(worker=worker, reason=f"its machine {ready.machine} left the cluster", with_machine=True)
        return Lost(worker=worker, reason=reason, with_machine=False)

    def _forget(self, worker: int, *, kill: bool = False) -> None:
        actor = self._actors.pop(worker)
        self._refs = {ref: told for ref, told in self._refs.items() if told[0] != worker}
        if kill:
            with contextlib.suppress(ValueError):
                self._ray.kill(actor.handle)
        self._count.set(len(self._actors))

    def _tell_to_wait(self) -> None:
        ready = any(actor.ready is not None for actor in self._actors.values())
        if not ready and not self._told_to_wait and time.monotonic() - self._began > NOTED_AFTER_S:
            free = self._ray.available_resources()
            told = ", ".join(f"{free.get(name, 0):g} {name}" for name in ("CPU", "GPU"))
            self._note(f"no worker has started yet; free in the cluster: {told}")
            self._told_to_wait = True


def _reason(told: str) -> str:
    """The reason for the end of a worker, from the long message of Ray."""
    kind = re.search(r"Worker exit type: (\w+)", told)
    if "OUT_OF_MEMORY" in told or "memory pressure" in told:
        return "its machine had no memory left"
    if kind is not None:
        return f"its process ended: {kind[1]}"
    return told.strip().splitlines()[-1].strip()
