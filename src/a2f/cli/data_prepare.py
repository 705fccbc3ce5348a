"""``a2f data prepare``."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from a2f.cli.console import Messages
from a2f.cli.parameters import NATURAL, POSITIVE, ScalesType

if TYPE_CHECKING:
    from a2f.data.prepare import Prepared

EPILOG = """\b
Examples:
  a2f data prepare photos/ train/                        sub-images of 480 pixels, 240 apart
  a2f data prepare photos/ train/ --lr 2,3,4             their LR images too
  a2f data prepare photos/ whole/ --size 0 --lr 4        whole images
  a2f train sd -s 4 --data train/ -o runs/sd_x4          what it is for

\b
The same command again makes only what is missing, changed or damaged, also after a crash.
Exit code: 0 all done, 1 some failed, 2 wrong request, 3 all failed.
"""


@click.command(epilog=EPILOG, short_help="Check images, cut sub-images, make LR images and an index.")
@click.argument("source", type=Path, metavar="SRC")
@click.argument("target", type=Path, metavar="DST")
@click.option(
    "--size", type=NATURAL, default=480, show_default=True, metavar="N", help="Side of sub-images; 0: whole images."
)
@click.option("--step", type=POSITIVE, default=240, show_default=True, metavar="N", help="From one to the next.")
@click.option(
    "--threshold",
    type=NATURAL,
    default=0,
    show_default=True,
    metavar="N",
    help="A rest of more pixels at the edge gets a sub-image of its own.",
)
@click.option("--min-size", type=POSITIVE, default=64, show_default=True, metavar="N", help="Skip images below this.")
@click.option("--lr", "scales", type=ScalesType(), default=(), help="Make bicubic LR images of these scales.")
@click.option("-j", "--jobs", type=POSITIVE, metavar="N", help="Processes.  [default: all cores]")
@click.option("-q", "--quiet", is_flag=True, help="Errors only.")
def prepare(source: Path, target: Path, jobs: int | None, quiet: bool, **given: Any) -> int:
    """Check a folder tree of images, cut them into sub-images, and write these to DST/HR as PNG.

    LR images go to DST/LR_bicubic/X4/<name>x4.png, MATLAB-compatible bicubic, where a2f train finds them.
    DST/index.json tells source, size and SHA-256 of each file. Files that cannot be read stop nothing: they are listed
    at the end.
    """
    from a2f.data.index import PrepareSettings
    from a2f.data.prepare import find_sources, run

    todo = find_sources(source, target, PrepareSettings(**given))
    with PrepareReporter(len(todo.tasks), quiet=quiet) as reporter:
        for note in todo.notes:
            reporter.messages.note(note)
        try:
            for result in run(todo, jobs=jobs or os.cpu_count() or 1):
                reporter(result)
        except KeyboardInterrupt:
            reporter.messages.note(f"the same command goes on from here ({target})")
            raise
    return reporter.exit_code


class PrepareReporter:
    """Tells what becomes of each image, and the count at the end.

    Args:
        count: of images.
        quiet: errors only.
    """

    def __init__(self, count: int, *, quiet: bool) -> None:
        self.count, self.messages = count, Messages(quiet=quiet)
        self.results: dict[str, list[Prepared]] = {"made": [], "kept": [], "skipped": [], "failed": []}
        self.files = 0

    def __enter__(self) -> "PrepareReporter":
        self.messages.start_bar(total=self.count, unit="image")
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.messages.end_bar()
        if kind is None:
            self._summary()

    def __call__(self, result: "Prepared") -> None:
        """Tell one result."""
        self.results[result.status].append(result)
        if result.entry is not None:
            files = len(result.entry.outputs)
            self.files += files
            if self.messages.bar is None:
                self.messages.note(f"{result.source}: {files} file(s)" + (", kept" if result.status == "kept" else ""))
        elif result.status == "failed":
            self.messages.error(result.reason)
        if self.messages.bar is not None:
            self.messages.bar.update()

    def _summary(self) -> None:
        made, kept, skipped, failed = (self.results[name] for name in ("made", "kept", "skipped", "failed"))
        if self.messages.quiet and not failed:
            return
        parts = [f"{len(made)} done", *([f"{len(kept)} kept from before"] if kept else [])]
        click.echo(f"{', '.join(parts)}: {self.files} files", err=True)
        for title, listed in (("skipped, too small", skipped), ("failed", failed)):
            if listed:
                click.echo(f"{len(listed)} {title}:", err=True)
                for result in listed:
                    click.echo(f"  {result.reason}", err=True)

    @property
    def exit_code(self) -> int:
        """0 all done, 1 some failed, 3 nothing came out."""
        if self.results["made"] or self.results["kept"]:
            return 1 if self.results["failed"] else 0
        return 3
