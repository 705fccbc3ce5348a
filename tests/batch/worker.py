"""A batch for the kill tests: it copies files slowly with a journal, in two threads.

The result of a file is its bytes twice over, written in small parts. ``python worker.py IN OUT``
"""

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from a2f.batch.journal import Item, Journal
from a2f.batch.plan import Layout, ResumeOptions, plan
from a2f.batch.sources import Scan
from a2f.batch.work import Keeper, Recipe, Work
from a2f.errors import A2FError
from a2f.files import make_folder, write_bytes_atomic

WORKERS = 2


@dataclass(frozen=True)
class Ended:
    status: str
    error: A2FError | None = None
    notes: tuple[str, ...] = ()


def enlarge(work: Work) -> Ended:
    def parts() -> Iterator[bytes]:
        for _ in range(2):
            data = work.source.read_bytes()
            for at in range(0, len(data), 1024):
                time.sleep(0.0005)
                yield data[at : at + 1024]

    make_folder(work.target.parent)
    try:
        write_bytes_atomic(work.target, work.recorded(parts(), None), replace=work.replace)
    except A2FError as error:
        return Ended("failed", error)
    return Ended("done")


def main(given: str, out: str) -> None:
    with Journal(Path(out) / "journal.sqlite") as journal:
        recipe = Recipe(text="twice", sha256={})
        plan(
            journal, Scan().files([given]), Layout(mark="", output=out), ResumeOptions(resume=True), recipe=recipe.text
        )
        keeper = Keeper(journal, recipe, overwrite=False)

        def do(item: Item) -> None:
            keeper.do(item, enlarge, lambda error: Ended("failed", error))

        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(do, journal.todo()))
        journal.end()


if __name__ == "__main__":
    main(*sys.argv[1:])
