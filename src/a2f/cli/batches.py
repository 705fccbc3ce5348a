"""``a2f batch``: report about the journal of a batch."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from a2f.batch.report import Status

EPILOG = """\b
Examples:
  a2f batch status large/                    the folder of an a2f upscale --resume run
  a2f batch report large/ -o report.html     a page, failures first; .csv: a table of all files
"""


@click.group(epilog=EPILOG)
def batch() -> None:
    """Show the progress of a batch and the results of its files.

    JOURNAL is the file that a2f upscale --resume writes, or its folder.
    """


@batch.command()
@click.argument("journals", nargs=-1, required=True, metavar="JOURNAL...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line, one for each journal.")
def status(journals: tuple[str, ...], as_json: bool) -> int:
    """Print counts, the reasons of failures, and the remaining time of an active run."""
    from a2f.batch.journal import Journal
    from a2f.batch.report import status_of
    from a2f.cli.console import json_line, printable

    for path in dict.fromkeys(path for given in journals for path in _journals(given)):
        with Journal(path, read_only=True) as opened:
            told = status_of(opened)
        if as_json:
            click.echo(json_line(_record(told)))
            continue
        for line in _lines(told):
            click.echo(printable(line))
    return 0


@batch.command()
@click.argument("journal")
@click.option("-o", "--output", required=True, metavar="FILE", help="The report: .html or .csv.")
@click.option("--overwrite", is_flag=True, help="Replace an existing report.")
def report(journal: str, output: str, overwrite: bool) -> int:
    """Write a page with pictures (.html), or a table (.csv)."""
    from a2f.batch.journal import Journal
    from a2f.batch.report import as_csv, as_html
    from a2f.cli.parameters import check_output
    from a2f.errors import UsageError, count_of
    from a2f.files import write_bytes_atomic

    path = Path(output)
    check_output(path, ".html", ".csv", overwrite=overwrite)
    found = _journals(journal)
    if len(found) > 1:
        listed = ", ".join(str(one) for one in found)
        raise UsageError(f"{journal} has {count_of(len(found), 'journal')}: give one of {listed}")
    with Journal(found[0], read_only=True) as opened:
        parts = as_csv(opened) if path.suffix.lower() == ".csv" else as_html(opened)
        write_bytes_atomic(path, parts)
    click.echo(f"{path}", err=True)
    return 0


def _journals(given: str) -> list[Path]:
    """The given journal, or the journals in the given folder."""
    from a2f.errors import JournalError

    path = Path(given)
    if not path.is_dir():
        return [path]
    found = sorted(path.glob(".a2f-journal*.sqlite"))
    if not found:
        raise JournalError(
            f"{path} has no journal (.a2f-journal.sqlite): a2f upscale --resume makes one; if the batch was started "
            "with --journal FILE, give that FILE"
        )
    return found


def _lines(status: "Status") -> Iterator[str]:
    from a2f.batch.report import FAILURES, ORDER
    from a2f.cli.dry_run import time_text
    from a2f.errors import count_of

    yield f"{status.journal}: {count_of(sum(status.counts.values()), 'file')}, {_how(status)}"
    for state in reversed(ORDER):
        if count := status.counts[state]:
            yield f"  {count:>9,} {state}"
    if done := status.counts["done"]:
        yield f"  {status.seconds / done:.2f} s per file, {status.output_bytes / 1e6:,.1f} MB of results"
    if status.seconds_left is not None:
        yield f"  {time_text(status.seconds_left)} left"
    for item in status.failures:
        named = Path(item.source).name in str(item.error)
        yield f"  {item.state}: {item.error}" if named else f"  {item.state}: {item.source}: {item.error}"
    unnamed = sum(status.counts[state] for state in FAILURES) - len(status.failures)
    if unnamed:
        yield f"  and {unnamed:,} more: a2f batch report {status.journal} -o report.html"
    if not status.in_use and status.counts["todo"] + status.counts["running"]:
        yield "  run the same a2f upscale command with --resume to continue"


def _how(status: "Status") -> str:
    if status.in_use:
        return "a run is in progress"
    return "the last run is finished" if status.ended else "the last run was stopped before its end"


def _record(status: "Status") -> dict[str, Any]:
    return {
        "journal": str(status.journal),
        **{str(state): count for state, count in status.counts.items()},
        "in_use": status.in_use,
        "began": status.began,
        "ended": status.ended,
        "seconds": round(status.seconds, 3),
        "output_bytes": status.output_bytes,
        "seconds_left": None if status.seconds_left is None else round(status.seconds_left, 1),
        "failures": [{"source": item.source, "state": item.state, "error": item.error} for item in status.failures],
    }
