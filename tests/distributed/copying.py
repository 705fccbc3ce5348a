"""Workers that copy files, and their driver, to test the distribution of work.

The content of a file controls its worker: ``kill`` ends the worker, ``wait`` waits for the file `GO` in the folder of
results. A waiting worker writes a file there with its process and its machine.
"""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from a2f.batch.journal import Item, Journal
from a2f.batch.plan import Layout, ResumeOptions, plan
from a2f.batch.sources import Scan
from a2f.batch.work import Keeper, Notes, Recipe, Work
from a2f.distributed.cluster import RayCrew, Share, connect, disconnect, memory_of_each
from a2f.distributed.driver import Driver
from a2f.errors import A2FError
from a2f.files import make_folder, write_bytes_atomic

JOURNAL, GO = "journal.sqlite", "go"
RECIPE = Recipe(text="{}", sha256={})


@dataclass(frozen=True)
class Ended:
    status: str
    error: A2FError | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Copying:
    """Opens itself in a worker."""

    out: Path

    def __call__(self) -> "Copying":
        return self

    def do(self, item: Item, notes: Notes) -> Ended:
        keeper = Keeper(notes, RECIPE, overwrite=False)
        ended = keeper.do(item, self.enlarge, lambda error: Ended("failed", error))
        return Ended("skipped") if ended is None else ended

    def stop(self) -> None:
        pass

    def enlarge(self, work: Work) -> Ended:
        content = work.source.read_bytes()
        if content.startswith(b"kill"):
            os.kill(os.getpid(), signal.SIGKILL)
        if content.startswith(b"wait"):
            self.wait(work.source.stem)
        try:
            make_folder(work.target.parent)
            write_bytes_atomic(work.target, work.recorded([content, content], None), replace=work.replace)
        except A2FError as error:
            return Ended("failed", error)
        return Ended("done")

    def wait(self, stem: str) -> None:
        import ray

        waiting = self.out / f"{stem}.waiting"
        told = f"{os.getpid()} {ray.get_runtime_context().get_node_id()}"
        write_bytes_atomic(waiting, told.encode())
        while not (self.out / GO).exists():
            time.sleep(0.01)


def begin(journal: Journal, given: Path, out: Path) -> list[str]:
    """Start a run over a folder."""
    files = Scan().files([str(given)])
    return plan(journal, files, Layout(mark="", output=str(out)), ResumeOptions(resume=True), recipe=RECIPE.text)


def drive(address: str, given: Path, out: Path) -> None:
    """Run to the end; print the result of each file."""
    with Journal(out / JOURNAL) as journal:
        begin(journal, given, out)
        connect(address)
        share = Share(cpus=1, memory=memory_of_each(Share(cpus=1)) // 4)
        crew = RayCrew(Copying(out), share=share, recipe=journal.recipe)
        driver = Driver(journal, crew, lost=lambda item, error: Ended("failed", error), note=print)
        for item, ended in driver.run():
            print(Path(item.source).name, ended.status, ended.error or "", flush=True)
        crew.close()
        disconnect()
        journal.end()
