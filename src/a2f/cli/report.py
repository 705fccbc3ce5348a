"""Report the results of a batch to the user and to programs."""

import sys
from dataclasses import replace
from typing import Any

import click

from a2f.cli.batch import Outcome
from a2f.cli.console import Messages, error_text, json_line, printable
from a2f.errors import A2FError, WriteError
from a2f.files import write_all


class Reporter:
    """Reports the result of each image.

    Args:
        count: number of images.
        as_json: print one JSON object per line on standard output.
        verbose: print engines and times.
        quiet: print only errors.
        resume_option: the option that continues the batch after Ctrl-C.
    """

    def __init__(
        self, count: int, *, as_json: bool, verbose: bool, quiet: bool, resume_option: str = "--skip-existing"
    ) -> None:
        self.resume_option = resume_option
        self.count, self.as_json, self.verbose = count, as_json, verbose
        self.messages = Messages(quiet=quiet)
        self.stdout = sys.stdout  # of this moment: Ray writes messages of its own to the standard output
        self.failed: list[Outcome] = []
        self.skipped = self.done = 0
        self.engines_told: set[str] = set()

    def __enter__(self) -> "Reporter":
        if self.count == 1:  # a bar for the share of one image, only if it takes long
            shares = "{percentage:3.0f} %|{bar}| {elapsed}, {remaining} left"
            self.messages.start_bar(total=1.0, bar_format=shares, delay=1, leave=False)
        else:
            self.messages.start_bar(total=self.count, unit="image")
        return self

    def progress(self, share: float) -> None:
        """Show the share of a single image that is done, in [0, 1]."""
        bar = self.messages.bar
        if bar is not None and self.count == 1:
            bar.n = share
            bar.refresh()

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.messages.end_bar()
        if kind is None:
            self._summary()

    def __call__(self, outcome: Outcome) -> None:
        """Report one result."""
        for note in outcome.notes:
            self.note(note)
        if outcome.status == "failed":
            self.failed.append(outcome)
            assert outcome.error is not None
            self.messages.error(outcome.error)
        elif outcome.status == "skipped":
            self.skipped += 1
            if not outcome.notes:
                self.note(f"{outcome.task.output} exists, skipped")
        else:
            self._tell_done(outcome)
        if self.as_json:
            click.echo(json_line(_record(outcome)), file=self.stdout)
        if self.messages.bar is not None and self.count > 1:
            self.messages.bar.update()

    def interrupted(self) -> None:
        """Print the progress, and how to continue."""
        if self.count > 1:
            done = self.done + self.skipped
            self.messages.line(
                f"{done} of {self.count} done; run the same command with {self.resume_option} to continue"
            )

    def _tell_done(self, outcome: Outcome) -> None:
        if outcome.encoded is not None:
            try:
                write_all(sys.stdout.buffer, outcome.encoded)
            except WriteError as error:
                self.failed.append(replace(outcome, status="failed", error=error))
                self.messages.error(error)
                return
        self.done += 1
        for description in outcome.engines:
            self.tell_engine(description)
        if self.verbose and outcome.choice:
            self.note(f"{outcome.task.name}: {outcome.choice}")
        assert outcome.size is not None
        if self.messages.bar is None or self.count == 1 or self.verbose:
            width, height = outcome.size
            where = "standard output" if outcome.encoded is not None else outcome.task.output
            self.note(f"{outcome.task.name} -> {where} ({width} x {height}, {outcome.seconds:.2f} s)")

    def tell_engine(self, description: str) -> None:
        """Print the engine of the images, once, if verbose."""
        if self.verbose and description not in self.engines_told:
            self.engines_told.add(description)
            self.note(description)

    def note(self, text: str) -> None:
        """Print a message that is no error."""
        self.messages.note(text)

    def _summary(self) -> None:
        if self.count < 2 or (self.messages.quiet and not self.failed):
            return
        parts = [f"{self.done} done"]
        parts += [f"{self.skipped} skipped"] if self.skipped else []
        parts += [f"{len(self.failed)} failed:"] if self.failed else []
        click.echo(", ".join(parts), err=True)
        for outcome in self.failed:
            click.echo(f"  {printable(outcome.task.name)}", err=True)

    @property
    def exit_code(self) -> int:
        """The exit code of the batch so far."""
        errors = [outcome.error for outcome in self.failed if outcome.error is not None]
        return exit_code_of(errors, others=self.done + self.skipped)


def exit_code_of(errors: list[A2FError], *, others: int) -> int:
    """The exit code of a batch, see `EXIT_CODES`.

    Args:
        errors: errors of the failed images.
        others: number of images that did not fail.
    """
    if not errors:
        return 0
    if others:
        return 1
    return 2 if all(error.exit_code == 2 for error in errors) else 3


def _record(outcome: Outcome) -> dict[str, Any]:
    size = outcome.size or (None, None)
    return {
        "input": outcome.task.name if outcome.task.addresses else str(outcome.task.source),
        "output": outcome.task.output if outcome.status != "failed" else None,
        "status": outcome.status,
        "width": size[0],
        "height": size[1],
        "model": outcome.model,
        "jpeg_quality": outcome.jpeg_quality,
        "seconds": round(outcome.seconds, 3),
        "error": None if outcome.error is None else error_text(outcome.error),
        "notes": list(outcome.notes),
    }
