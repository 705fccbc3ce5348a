"""``a2f upscale --ray``: the work of a batch on all machines of a cluster."""

import contextlib
import io
import math
import sys
import threading
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from a2f.batch.archive import SCHEME as ZIP
from a2f.batch.journal import Item
from a2f.batch.places import Places
from a2f.batch.work import Keeper, Notes, Recipe, recipe_of
from a2f.cli.batch import MANY, BatchOptions, Outcome, Runner
from a2f.cli.console import error_text
from a2f.distributed.cluster import RayCrew, Share, connect, disconnect, memory_of_each
from a2f.distributed.driver import SLOTS, Driver
from a2f.errors import A2FError, EngineError, UsageError, WeightsError

if TYPE_CHECKING:
    from a2f.cli.journaled import Session
    from a2f.cli.report import Reporter


@dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """What was asked for of a cluster.

    Attributes:
        address: as `connect`.
        cpus: cores of a worker.
        gpus: cards of a worker.
    """

    address: str
    cpus: float = 1
    gpus: float = 0

    def check(self, output: str | None, *, watch: bool) -> None:
        """Refuse what a cluster cannot do.

        Args:
            output: where results go.
            watch: go on with what arrives.

        Raises:
            UsageError: and says why.
        """
        if watch:
            raise UsageError("--watch works on this machine alone: leave out --ray")
        if output is not None and output.startswith(ZIP):
            raise UsageError(f"-o {output} is a file of this machine, which others cannot write: leave out --ray")


class Enlarging:
    """What a worker does, by the code of one machine: `Hands`.

    Args:
        options: what counts for all images alike.
        recipe: the options that results depend on.
        places: where sources and results are.

    Raises:
        EngineError: if this machine has other weights than the driver.
        A2FError: if the model or the engine cannot be had here.
    """

    def __init__(self, options: BatchOptions, recipe: Recipe, places: Places) -> None:
        self.options, self.recipe, self.places = options, recipe, places
        try:
            here = recipe_of(options.model, options.request, options.engine)
        except WeightsError as error:
            raise EngineError(f"{error.message}: put the file at this path on all machines") from error
        if here.text != recipe.text:
            raise EngineError(f"its weights of {options.model} differ from the driver's: install the same on all")
        self.runner = Runner(options, count=MANY * SLOTS)
        self._lock = threading.Lock()

    def do(self, item: Item, notes: Notes) -> Outcome:
        """Do one item; one at a time is made, while another one is read or written."""
        from a2f.cli.journaled import Turn, do_item

        overwrite = self.options.request.overwrite
        keeper = Keeper(notes, self.recipe, overwrite=overwrite, places=self.places, told=error_text)
        return do_item(self.runner, keeper, item, turn=Turn(self._lock))

    def stop(self) -> None:
        """End what is under way."""
        self.runner.stopping.set()


@dataclass(frozen=True, kw_only=True)
class Opening:
    """Makes `Enlarging` in a worker; small enough to send.

    Attributes:
        options: as `Enlarging`.
        recipe: as `Enlarging`.
        places: as `Enlarging`.
    """

    options: BatchOptions
    recipe: Recipe
    places: Places

    def __call__(self) -> Enlarging:
        """In the worker."""
        return Enlarging(self.options, self.recipe, self.places)


def work_on_cluster(session: "Session", recipe: Recipe, cluster: ClusterOptions, reporter: "Reporter") -> None:
    """Do all that the journal says is left to do, on all machines of a cluster.

    Args:
        session: with the run begun.
        recipe: of the run.
        cluster: which one, and what a worker takes of it.
        reporter: is told of each image.
    """
    options = session.options
    share = Share(cpus=cluster.cpus, gpus=cluster.gpus, memory=options.engine.max_memory, workers=options.jobs)
    # Ray writes its messages to the standard output, which --json needs for itself.
    aside = sys.stderr if reporter.verbose else io.StringIO()
    with contextlib.redirect_stdout(aside):
        connect(cluster.address)
        try:
            share = replace(share, memory=memory_of_each(share))
            _work(session, recipe, share, reporter)
        finally:
            disconnect()


def _work(session: "Session", recipe: Recipe, share: Share, reporter: "Reporter") -> None:
    from a2f.cli.journaled import shown

    given = session.options
    engine = replace(
        given.engine, threads=given.engine.threads or max(1, math.floor(share.cpus)), max_memory=share.memory
    )
    opening = Opening(options=replace(given, engine=engine, jobs=1), recipe=recipe, places=session.places)
    keeper = session.keeper(recipe)

    def detail(text: str) -> None:
        if reporter.verbose:
            reporter.note(text)

    def lost(item: Item, error: A2FError) -> Outcome:
        return Outcome(task=shown(item), status="failed", error=error)

    crew = RayCrew(opening, share=share, recipe=session.journal.recipe, note=reporter.note)
    driver = Driver(
        session.journal,
        crew,
        lost=lost,
        note=reporter.note,
        detail=detail,
        copy_to_quarantine=keeper.copy_to_quarantine,
        told=error_text,
    )
    reporter.note(f"a worker: {share.cpus:g} CPU, {share.gpus:g} GPU, {(share.memory or 0) / 1e9:.1f} GB")
    with reporter, closing(crew):
        try:
            with closing(driver.run()) as outcomes:
                for item, outcome in outcomes:
                    reporter(replace(outcome, task=shown(item)))
        except KeyboardInterrupt:
            reporter.interrupted()
            raise
