"""Reports about a journal: counts and time left, a table of all files, and a page with pictures."""

import base64
import csv
import html
import io
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from string import Template

from a2f.batch.journal import Item, Journal, State
from a2f.batch.places import is_address, name_of
from a2f.files import Parts

MAX_SHOWN = 500  # results with a picture on the page: a browser takes no more at ease
MAX_FAILURES = 2000
SIDE_PX, QUALITY = 168, 72  # of the small pictures
FAILURES: tuple[State, ...] = ("quarantined", "failed")
ORDER: tuple[State, ...] = (*FAILURES, "running", "todo", "skipped", "done")

COLUMNS: dict[str, Callable[[Item], object]] = {
    "state": lambda item: item.state,
    "source": lambda item: item.source,
    "target": lambda item: item.target,
    "error": lambda item: item.error or "",
    "source_bytes": lambda item: item.bytes,
    "source_modified": lambda item: _modified(item.version),
    "source_sha256": lambda item: item.sha256 or "",
    "width": lambda item: _plain(item.width),
    "height": lambda item: _plain(item.height),
    "model": lambda item: item.model or "",
    "model_sha256": lambda item: item.model_sha256 or "",
    "output_bytes": lambda item: _plain(item.output_bytes),
    "output_sha256": lambda item: item.output_sha256 or "",
    "seconds": lambda item: "" if item.seconds is None else f"{item.seconds:.3f}",
    "ended": lambda item: _time(item.ended),
    "tries": lambda item: item.tries,
    "options": lambda item: _plain(item.recipe),
}


@dataclass(frozen=True, kw_only=True)
class Status:
    """The progress of a batch.

    Attributes:
        journal: path of the journal.
        counts: number of files by state.
        in_use: whether a run uses the journal now.
        began: start of the last run, seconds since 1970; None if there was none.
        ended: end of the last run; None if it is active or was killed.
        seconds: total duration of all finished files.
        output_bytes: total size of all results.
        seconds_left: estimated; None if unknown or if no run is active.
        failures: the first few failed files.
    """

    journal: Path
    counts: dict[State, int]
    in_use: bool
    began: float | None
    ended: float | None
    seconds: float
    output_bytes: int
    seconds_left: float | None
    failures: tuple[Item, ...]


def status_of(journal: Journal, *, failures: int = 20) -> Status:
    """The progress of the batch of a journal.

    Args:
        journal: the open journal.
        failures: largest number of failed files to return.
    """
    runs = journal.rows("SELECT id, began, ended FROM runs ORDER BY id DESC LIMIT 1")
    _, began, ended = runs[0] if runs else (0, None, None)
    ((seconds, size),) = journal.rows("SELECT total(seconds), total(output_bytes) FROM items WHERE state = 'done'")
    in_use = journal.is_in_use()
    return Status(
        journal=journal.path,
        counts=journal.counts(),
        in_use=in_use,
        began=began,
        ended=ended,
        seconds=seconds,
        output_bytes=int(size),
        seconds_left=_seconds_left(journal, began) if in_use else None,
        failures=tuple(islice(journal.items(*FAILURES), failures)),
    )


def _seconds_left(journal: Journal, began: float) -> float | None:
    """Estimate from the finished files of this run, by their estimated pixels."""
    ((done,),) = journal.rows("SELECT total(weight) FROM items WHERE state = 'done' AND ended >= ?", began)
    ((left,),) = journal.rows("SELECT total(weight) FROM items WHERE state IN ('todo', 'running')")
    return (time.time() - began) * left / done if done else None


def as_csv(journal: Journal) -> Iterator[bytes]:
    """A table of all files, failures first, as UTF-8; one part per line."""
    yield _line(list(COLUMNS))
    for item in _in_order(journal):
        yield _line([value(item) for value in COLUMNS.values()])


def _line(cells: Sequence[object]) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue().encode(errors="backslashreplace")  # names that are no Unicode text


def _in_order(journal: Journal) -> Iterator[Item]:
    return chain.from_iterable(journal.items(state) for state in ORDER)


def as_html(journal: Journal) -> Parts:
    """A page with embedded pictures: failures first, then results.

    The page shows 2,000 failures and 500 results at most, and tells how many there are; `as_csv` has all of them.
    """
    status = status_of(journal, failures=0)
    total = sum(status.counts.values())
    failed = sum(status.counts[state] for state in FAILURES)
    yield _HEAD.substitute(
        name=_text(journal.path.absolute().parent.name),
        path=_text(str(journal.path)),
        total=f"{total:,}",
        tiles="".join(_tile(state, status.counts[state]) for state in ORDER if status.counts[state]),
        facts=_text(_facts(status)),
    ).encode()
    if failed:
        yield _heading("Failed", shown=min(failed, MAX_FAILURES), count=failed)
        yield from (_failure(item) for item in islice(journal.items(*FAILURES), MAX_FAILURES))
        yield b"</tbody></table>\n"
    results = status.counts["done"] + status.counts["skipped"]
    if results:
        yield _section("Results", shown=min(results, MAX_SHOWN), count=results)
        yield from (_result(item) for item in islice(journal.items("done", "skipped"), MAX_SHOWN))
        yield b"</div>\n"
    options = journal.rows("SELECT id, text FROM recipes ORDER BY id")
    yield b"<h2>Options</h2>\n"
    for number, text in options:
        pretty = json.dumps(json.loads(text), indent=1, ensure_ascii=False)
        yield f"<details><summary>Options {number}</summary><pre>{_text(pretty)}</pre></details>\n".encode()
    yield b"</main></body></html>\n"


def _facts(status: Status) -> str:
    done = status.counts["done"]
    parts = [f"{status.seconds / done:.2f} s a file"] if done else []
    parts += [f"{status.output_bytes / 1e6:,.1f} MB of results"] if done else []
    parts += [f"last run began {_time(status.began)}"] if status.began else []
    if status.in_use:
        parts.append("it is running")
    elif status.began:
        parts.append(f"ended {_time(status.ended)}" if status.ended else "it was ended before it was done")
    return " · ".join(parts)


def _tile(state: State, count: int) -> str:
    return f'<div class="tile {state}"><b>{count:,}</b> {state}</div>'


def _heading(title: str, *, shown: int, count: int) -> bytes:
    return (
        f"<h2>{title} <small>{_shown(shown, count)}</small></h2>\n"
        "<table><thead><tr><th>File</th><th>Why</th><th>Kind</th><th>Tries</th></tr></thead><tbody>\n"
    ).encode()


def _section(title: str, *, shown: int, count: int) -> bytes:
    return f'<h2>{title} <small>{_shown(shown, count)}</small></h2>\n<div class="grid">\n'.encode()


def _shown(shown: int, count: int) -> str:
    return f"{count:,}" if shown == count else f"the first {shown:,} of {count:,}; a CSV report has all"


def _failure(item: Item) -> bytes:
    cells = [_link(item.source), _text(item.error or ""), _text(item.state), str(item.tries)]
    return ("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>\n").encode()


def _result(item: Item) -> bytes:
    picture = _small(item.target)
    seen = f'<img src="{picture}" alt="" loading="lazy">' if picture else '<span class="none">no preview</span>'
    size = f"{item.width} x {item.height}" if item.width else ""
    told = [size, item.model or "", "" if item.seconds is None else f"{item.seconds:.2f} s", item.error or ""]
    line = " · ".join(_text(part) for part in told if part)
    return _CARD.substitute(seen=seen, link=_link(item.target), line=line).encode()


def _small(target: str) -> str | None:
    """A small JPEG of a result, as a data URI; None if libvips cannot read the file."""
    import pyvips

    if is_address(target):
        return None
    with suppress(pyvips.Error, OSError), Path(target).open("rb") as file:
        # By the open file: libvips takes names as text, and [ in them for options.
        source = pyvips.Source.new_from_descriptor(file.fileno())
        image = pyvips.Image.thumbnail_source(source, SIDE_PX, size="down", export_profile="srgb")
        if image.hasalpha():
            image = image.flatten(background=[255, 255, 255])
        data: bytes = image.jpegsave_buffer(Q=QUALITY, keep="none")
        return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
    return None


def _link(address: str) -> str:
    name = name_of(address)
    href = address if is_address(address) else Path(os.path.abspath(address)).as_uri()
    return f'<a href="{html.escape(href)}" title="{_text(address)}">{_text(name)}</a>'


def _text(text: str) -> str:
    return html.escape(text.encode(errors="backslashreplace").decode())


def _plain(value: int | None) -> str:
    return "" if value is None else str(value)


def _time(seconds: float | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _modified(version: str) -> str:
    """The time in a version of a file, readable; the version itself if it is a tag of an object store."""
    return _time(int(version) / 1e9) if version.isdecimal() and len(version) > 15 else version


_HEAD = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>$name: batch report</title><style>
:root { color-scheme: light dark; --ink: #1c1c1a; --faint: #6b6b66; --paper: #fbfbf9; --line: #d9d9d2; --bad: #b3261e;
  --good: #256b3a }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ececE6; --faint: #a2a29a; --paper: #191918; --line: #3a3a37; --bad: #ff8a80; --good: #7fcf97 } }
* { box-sizing: border-box }
body { margin: 0; font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper) }
main { max-width: 1120px; margin: 0 auto; padding: 32px 24px }
h1 { font-size: 26px; margin: 0 } h2 { font-size: 19px; margin: 36px 0 12px }
small, .path, .facts { color: var(--faint); font-weight: 400 } .path { overflow-wrap: anywhere }
.tiles { display: flex; flex-wrap: wrap; gap: 12px; margin: 20px 0 8px }
.tile { border: 1px solid var(--line); border-radius: 8px; padding: 8px 16px } .tile b { font-size: 20px }
.quarantined, .failed { color: var(--bad); border-color: var(--bad) } .done b { color: var(--good) }
table { border-collapse: collapse; width: 100% } th { text-align: left; color: var(--faint); font-weight: 500 }
td, th { padding: 6px 12px 6px 0; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere }
th:nth-child(n+3), td:nth-child(n+3) { white-space: nowrap; overflow-wrap: normal }
a { color: inherit }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(168px, 1fr)); gap: 18px }
figure { margin: 0 } figcaption { font-size: 13px; overflow-wrap: anywhere } figcaption span { color: var(--faint) }
.frame { height: 168px; display: flex; align-items: center; justify-content: center; background: #8881;
  border-radius: 6px; overflow: hidden }
.frame img { max-width: 100%; max-height: 100% } .none { color: var(--faint); font-size: 13px }
pre { overflow-x: auto; font-size: 13px }
</style></head><body><main>
<h1>$name <small>$total files</small></h1>
<p class="path">$path</p>
<div class="tiles">$tiles</div>
<p class="facts">$facts</p>
""")

_CARD = Template("""<figure><div class="frame">$seen</div>
<figcaption>$link<br><span>$line</span></figcaption></figure>
""")
