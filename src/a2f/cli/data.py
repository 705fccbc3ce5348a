"""``a2f data``: prepare and download images."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from a2f.cli.console import Messages
from a2f.cli.parameters import NATURAL, POSITIVE, ScalesType
from a2f.errors import count_of

if TYPE_CHECKING:
    from a2f.data.prepare import Prepared
    from a2f.data.sources import DataSet, Part

EPILOG = """\b
Examples:
  Cut photographs into sub-images and make LR images, to train on:
    a2f data prepare photos/ train/ --lr 2,3,4
  Download benchmark sets:
    a2f data download set5 set14 -o sets/
  List all sets with sources, sizes and terms of use:
    a2f data download --list
"""
PREPARE_EPILOG = """\b
Examples:
  a2f data prepare photos/ train/                        sub-images of 480 pixels, 240 apart
  a2f data prepare photos/ train/ --lr 2,3,4             and their LR images
  a2f data prepare photos/ whole/ --size 0 --lr 4        whole images
  a2f train sd -s 4 --data train/ -o runs/sd_x4          train on the result

\b
Running the command again makes only missing, changed or damaged files, also after a crash.
"""
DOWNLOAD_EPILOG = """\b
Examples:
  List all sets with sources, sizes and terms of use:
    a2f data download --list
  The benchmark sets of the paper, for a2f eval --data sets/Set5 sets/Set14:
    a2f data download set5 set14 b100 urban100 -o sets/
  For training: a2f train --data sets/DIV2K_train_HR
    a2f data download div2k --lr 4 -o sets/
  The weights of LPIPS, for a2f eval --lpips sets/lpips/alexnet.ckpt
    a2f data download lpips -o sets/

\b
After an interruption, run the same command to continue. If you have an archive already,
put it into OUT/archives. Manga109 must be requested from its authors: see --list.
"""


@click.group(epilog=EPILOG)
def data() -> None:
    """Prepare folders of images for training, and download data sets."""


@data.command(epilog=PREPARE_EPILOG, short_help="Check images, cut sub-images, make LR images and an index.")
@click.argument("source", type=Path, metavar="SRC")
@click.argument("target", type=Path, metavar="DST")
@click.option(
    "--size", type=NATURAL, default=480, show_default=True, metavar="N", help="Side of sub-images; 0: whole images."
)
@click.option("--step", type=POSITIVE, default=240, show_default=True, metavar="N", help="Step between sub-images.")
@click.option(
    "--threshold",
    type=NATURAL,
    default=0,
    show_default=True,
    metavar="N",
    help="A remainder of more pixels at the edge gets its own sub-image.",
)
@click.option("--min-size", type=POSITIVE, default=64, show_default=True, metavar="N", help="Skip smaller images.")
@click.option("--lr", "scales", type=ScalesType(), default=(), help="Make bicubic LR images of these scales.")
@click.option("-j", "--jobs", type=POSITIVE, metavar="N", help="Number of processes.  [default: all cores]")
@click.option("-q", "--quiet", is_flag=True, help="Print only errors.")
def prepare(source: Path, target: Path, jobs: int | None, quiet: bool, **given: Any) -> int:
    """Check the images of a folder, cut them into sub-images, and write these to DST/HR as PNG.

    LR images go to DST/LR_bicubic/X4/<name>x4.png, MATLAB-compatible bicubic, where a2f train finds them.
    DST/index.json has source, size and SHA-256 of each file. Unreadable files do not stop the run; they are listed at
    the end.
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
            reporter.messages.note(f"run the same command to continue ({target})")
            raise
    return reporter.exit_code


class PrepareReporter:
    """Prints the result of each image, and a summary at the end.

    Args:
        count: number of images.
        quiet: print only errors.
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
        """Print one result."""
        self.results[result.status].append(result)
        if result.entry is not None:
            files = len(result.entry.outputs)
            self.files += files
            if self.messages.bar is None:
                self.messages.note(
                    f"{result.source}: {count_of(files, 'file')}" + (", kept" if result.status == "kept" else "")
                )
        elif result.status == "failed":
            self.messages.error(result.reason)
        if self.messages.bar is not None:
            self.messages.bar.update()

    def _summary(self) -> None:
        made, kept, skipped, failed = (self.results[name] for name in ("made", "kept", "skipped", "failed"))
        if self.messages.quiet and not failed:
            return
        parts = [f"{len(made)} done", *([f"{len(kept)} kept from an earlier run"] if kept else [])]
        click.echo(f"{', '.join(parts)}: {self.files} files", err=True)
        for title, listed in (("skipped, too small", skipped), ("failed", failed)):
            if listed:
                click.echo(f"{len(listed)} {title}:", err=True)
                for result in listed:
                    click.echo(f"  {result.reason}", err=True)

    @property
    def exit_code(self) -> int:
        """See `EXIT_CODES`; 3 if no image is done."""
        if self.results["made"] or self.results["kept"]:
            return 1 if self.results["failed"] else 0
        return 3


@data.command(epilog=DOWNLOAD_EPILOG, short_help="Download data sets: checked, resumed, unpacked.")
@click.argument("names", nargs=-1, metavar="NAME...")
@click.option(
    "-o", "--output", type=Path, metavar="OUT", help="Folder of all sets; each set has a subfolder, e.g. OUT/Set5."
)
@click.option(
    "--lr", "scales", type=ScalesType(), default=(), help="Download LR images of these scales too (div2k, flickr2k)."
)
@click.option("--base-url", metavar="URL", help="Download from a mirror: URL/HOST/PATH for https://HOST/PATH.")
@click.option("--remove-archives", is_flag=True, help="Remove each archive after it is unpacked.")
@click.option("--list", "listing", is_flag=True, help="List all sets with sources, sizes and terms of use, and exit.")
@click.option("-q", "--quiet", is_flag=True, help="Print only errors.")
def download(names: tuple[str, ...], output: Path | None, listing: bool, quiet: bool, **given: Any) -> None:
    """Download data sets, check them, and unpack them in the layout for a2f train and a2f eval.

    Existing files are not downloaded again. Read the terms first (--list): most sets are for research only.
    """
    if listing:
        click.echo(_table())
        return
    if not names or output is None:
        raise click.UsageError("missing NAME or -o: --list shows the names")
    from a2f.data.download import Listener, download
    from a2f.data.sources import find_set

    sets = {name: find_set(name) for name in names}
    for name, chosen in sets.items():
        if chosen.by_hand:
            raise click.UsageError(f"{name} cannot be downloaded by a2f: {chosen.by_hand}. Terms: {chosen.terms}.")
    meter = Meter(quiet=quiet)
    for name, chosen in sets.items():
        if given["scales"] and not chosen.lr:
            raise click.UsageError(f"--lr is for sets with separate LR images, div2k and flickr2k, not {name}")
    with meter:
        for name, chosen in sets.items():
            meter.tell(f"{name}: {chosen.about}; terms: {chosen.terms}")
        parts = tuple(dict.fromkeys(part for chosen in sets.values() for part in chosen.wanted(given["scales"])))
        try:
            download(
                parts,
                output,
                listener=Listener(tell=meter.tell, report=meter.report),
                base_url=given["base_url"],
                keep=not given["remove_archives"],
            )
        except KeyboardInterrupt:
            meter.close()
            click.echo(
                f"partial downloads are kept in {output / 'archives'}; run the same command to continue", err=True
            )
            raise


def _table() -> str:
    from a2f.data.sources import SETS

    blocks = []
    for name, entry in SETS.items():
        lines = [f"{name}: {entry.about}", f"  terms: {entry.terms}", f"  more:  {entry.home}"]
        lines += [f"  from:  {address}" for address in _addresses(entry.parts)]
        lines += [f"  how:   {entry.by_hand}"] if entry.by_hand else []
        lines += [f"  --lr {scale}: {address}" for scale, parts in entry.lr.items() for address in _lr(entry, parts)]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _lr(entry: "DataSet", parts: "tuple[Part, ...]") -> list[str]:
    same = {part.archive for part in parts} <= {part.archive for part in entry.parts}
    return ["in the same archive"] if same else _addresses(parts)


def _addresses(parts: "tuple[Part, ...]") -> list[str]:
    archives = list(dict.fromkeys(part.archive for part in parts))
    shown = [f"{a.url} ({_size(a.size_bytes)}, {_vouched(a.sha256, a.md5)})" for a in archives]
    return shown if len(shown) < 5 else [shown[0], f"... and {len(shown) - 2} more, to", shown[-1]]


def _vouched(sha256: str | None, md5: str | None) -> str:
    return "SHA-256 known" if sha256 else "MD5 known" if md5 else "no checksum known"


def _size(size_bytes: int | None) -> str:
    return "size unknown" if size_bytes is None else f"{size_bytes / 1e6:,.0f} MB"


class Meter:
    """Shows the progress of a download: a bar on a terminal, otherwise a line per tenth of a large file.

    Args:
        quiet: show nothing.
    """

    def __init__(self, *, quiet: bool) -> None:
        self.messages = Messages(quiet=quiet)
        self._name, self._tenth = "", 0
        self._terminal = sys.stderr.isatty()

    def __enter__(self) -> "Meter":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the bar."""
        self.messages.end_bar()

    def tell(self, text: str) -> None:
        """Print a line."""
        self.close()
        self.messages.note(text)

    def report(self, name: str, done: int, total: int | None) -> None:
        """Show the progress."""
        if self.messages.quiet:
            return
        if self._terminal:
            self._draw(name, done, total)
            return
        if total is None or total < 10e6:
            return
        tenth = 10 * done // total
        if name != self._name:
            self._name, self._tenth = name, tenth
        elif tenth != self._tenth:
            self._tenth = tenth
            self.messages.note(f"{name}: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB")

    def _draw(self, name: str, done: int, total: int | None) -> None:
        if self.messages.bar is None:
            self.messages.start_bar(total=total, unit="B", unit_scale=True, desc=name, leave=False)
        self.messages.bar.n = done
        self.messages.bar.update(0)
