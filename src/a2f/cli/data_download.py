"""``a2f data download``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from a2f.cli.console import Messages
from a2f.cli.parameters import ScalesType

if TYPE_CHECKING:
    from a2f.data.sources import DataSet, Part

EPILOG = """\b
Examples:
  What there is, from where, on which terms:
    a2f data download --list
  The benchmark sets of the paper, for a2f eval --data sets/Set5 sets/Set14:
    a2f data download set5 set14 b100 urban100 -o sets/
  For training: a2f train --data sets/DIV2K_train_HR
    a2f data download div2k --lr 4 -o sets/
  The weights of LPIPS, for a2f eval --lpips sets/lpips/alexnet.ckpt
    a2f data download lpips -o sets/

\b
After an interruption, the same command goes on where it stopped. If you have an archive already,
put it into OUT/archives. Manga109 must be asked for: --list says where.

\b
Exit code: 0 done, 1 failed, 2 wrong request.
"""


@click.command(epilog=EPILOG, short_help="Download data sets: checked, resumed, unpacked.")
@click.argument("names", nargs=-1, metavar="NAME...")
@click.option("-o", "--output", type=Path, metavar="OUT", help="The folder of all sets; a set becomes OUT/Set5.")
@click.option(
    "--lr", "scales", type=ScalesType(), default=(), help="Fetch LR images of these scales too (div2k, flickr2k)."
)
@click.option("--base-url", metavar="URL", help="Fetch from a mirror: URL/HOST/PATH for https://HOST/PATH.")
@click.option("--remove-archives", is_flag=True, help="Remove each archive after it is unpacked.")
@click.option("--list", "listing", is_flag=True, help="List all sets with sources, sizes and terms, and stop.")
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
def download(names: tuple[str, ...], output: Path | None, listing: bool, quiet: bool, **given: Any) -> None:
    """Download data sets, check them, and unpack them in the layout that a2f train and a2f eval read.

    What is there already is not fetched again. Read the terms first (--list): most sets are for research only.
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
            raise click.UsageError(f"{name} cannot be fetched by a program: {chosen.by_hand}. Terms: {chosen.terms}.")
    meter = Meter(quiet=quiet)
    for name, chosen in sets.items():
        if given["scales"] and not chosen.lr:
            raise click.UsageError(f"--lr is for sets whose LR images are apart, div2k and flickr2k, not {name}")
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
            click.echo(f"what is there is kept in {output / 'archives'}; the same command goes on from there", err=True)
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
    """Shows how a download goes: a bar on a terminal, a line each tenth of what is large otherwise.

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
        """Tell a line."""
        self.close()
        self.messages.note(text)

    def report(self, name: str, done: int, total: int | None) -> None:
        """Show how much is there."""
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
