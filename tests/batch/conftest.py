"""A batch that copies files instead of enlarging them, to test only the journal."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from a2f.batch.journal import Item, Journal
from a2f.batch.plan import Layout, ResumeOptions, plan
from a2f.batch.sources import Scan, Shard
from a2f.batch.work import Keeper, Recipe, Work
from a2f.errors import A2FError
from a2f.files import make_folder, write_bytes_atomic


@dataclass(frozen=True)
class Ended:
    status: str
    error: A2FError | None = None
    notes: tuple[str, ...] = ()


@dataclass
class Batch:
    """A folder of files to copy, and the names of the files that the last run processed."""

    root: Path
    options: str = "{}"
    fails: Callable[[Work], A2FError | None] = lambda work: None
    worked: list[str] = field(default_factory=list)

    @property
    def given(self) -> Path:
        return self.root / "in"

    @property
    def out(self) -> Path:
        return self.root / "out"

    @property
    def journal_path(self) -> Path:
        return self.root / "journal.sqlite"

    def put(self, name: str, content: bytes = b"content") -> Path:
        path = self.given / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def run(self, options: ResumeOptions | None = None, *, mark: str = "_x4", shard: Shard | None = None) -> list[str]:
        """Run the batch; return its notes."""
        self.worked.clear()
        with Journal(self.journal_path) as journal:
            scan = Scan(recursive=True, shard=shard)
            layout = Layout(mark=mark, output=str(self.out))
            files = scan.files([str(self.given)])
            notes = plan(journal, files, layout, options or ResumeOptions(resume=True), recipe=self.options)
            recipe = Recipe(text=self.options, sha256={})
            keeper = Keeper(
                journal, recipe, overwrite=bool(options and options.overwrite), quarantine=self.root / "bad"
            )
            for item in journal.todo():
                keeper.do(item, self.enlarge, self.failed)
            journal.end()
        return notes

    def enlarge(self, work: Work) -> Ended:
        self.worked.append(work.source.name)
        if (error := self.fails(work)) is not None:
            return Ended("failed", error)
        make_folder(work.target.parent)
        try:
            parts = [work.source.read_bytes(), self.options.encode()]
            write_bytes_atomic(work.target, work.recorded(parts, None), replace=work.replace)
        except A2FError as error:
            return Ended("failed", error)
        return Ended("done")

    def failed(self, error: A2FError) -> Ended:
        return Ended("failed", error)

    def item(self, name: str) -> Item:
        with Journal(self.journal_path, read_only=True) as journal:
            found = journal.find(str(self.given / name))
        assert found is not None
        return found

    def states(self) -> dict[str, str]:
        with Journal(self.journal_path, read_only=True) as journal:
            rows = journal.rows("SELECT source, state FROM items")
        return {Path(source).name: state for source, state in rows}


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    return Batch(tmp_path)
