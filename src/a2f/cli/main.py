"""The command `a2f`, a group that imports a command only when it is called."""

import os
import sys
from importlib import import_module
from typing import NoReturn

import click

import a2f
from a2f.cli.console import INTERRUPTED, end_at_once_when_asked_again, error_text, is_interrupt, never_fatal
from a2f.errors import EXIT_CODES, A2FError, did_you_mean

COMMANDS = {
    "upscale": "Enlarge images: files, folders, or a stream.",
    "video": "Enlarge a video, with its sound and all other streams.",
    "compare": "Show pictures side by side on one sheet, with enlarged crops.",
    "batch": "Show the progress of a batch and the results of its files.",
    "serve": "Serve a web page and an HTTP interface.",
    "formats": "List the file formats and what each can store.",
    "models": "List the models in this package and their quality.",
    "export": "Write a model as a checked ONNX file.",
    "calibrate": "Prepare a weights file for 8-bit integers (upscale --dtype fast).",
    "convert": "Convert a checkpoint of the paper's authors or of another network.",
    "eval": "Measure models on benchmark sets with the paper's protocol.",
    "figure": "Draw the figures of the paper as SVG or PDF.",
    "profile": "Measure the cost of networks: parameters, operations, time.",
    "data": "Prepare images for training, and download data sets.",
    "train": "Train a network on a folder of photographs.",
    "plot": "Plot the curves of training runs.",
    "completion": "Print the completion script for your shell.",
}

EXIT_LINE = f"Exit code: {', '.join(f'{code} {meaning}' for code, meaning in EXIT_CODES.items())}."
FAILED = A2FError.exit_code
MODULES = {"batch": "batches"}  # modules with another name than the command


class LazyGroup(click.Group):
    """A group that knows the name and a description of its commands; a module is imported when its command runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All command names, the most used first."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command of this name."""
        if cmd_name not in COMMANDS:
            if ctx.resilient_parsing:
                return None
            raise click.UsageError(f"No such command {cmd_name!r}{did_you_mean(cmd_name, COMMANDS)}.", ctx)
        module = MODULES.get(cmd_name, cmd_name)
        command: click.Command = getattr(import_module(f"a2f.cli.{module}"), cmd_name)
        _add_exit_codes(command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write names and descriptions without importing the commands."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _add_exit_codes(command: click.Command) -> None:
    """Add the exit codes to the help of a command and its subcommands."""
    if isinstance(command, click.Group):
        for below in command.commands.values():
            _add_exit_codes(below)
    if EXIT_LINE not in (command.epilog or ""):
        command.epilog = f"{(command.epilog or '').rstrip()}\n\n{EXIT_LINE}".lstrip()


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=f"Example:  a2f upscale photo.jpg      writes photo_x4.jpg in the same folder\n\n{EXIT_LINE}",
)
@click.version_option(a2f.__version__, "-V", "--version", message="a2f %(version)s")
def cli() -> None:
    """Enlarge images 2, 3 or 4 times with a small neural network. No GPU, no download."""


def main() -> None:
    """Run the command line; errors become one line and an exit code."""
    never_fatal()
    try:
        sys.exit(cli.main(prog_name="a2f", standalone_mode=False) or 0)
    except (click.exceptions.Abort, KeyboardInterrupt):
        _interrupted()
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except A2FError as error:
        _end(f"error: {error_text(error)}", error.exit_code)
    except BrokenPipeError:
        # The reader has closed the pipe; without this, Python would report it again when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except MemoryError:
        _end("error: out of memory: use a smaller image or lower --jobs", FAILED)
    except Exception as error:
        if is_interrupt(error):
            _interrupted()
        if os.environ.get("A2F_DEBUG"):
            raise
        _end(
            f"error: unexpected {type(error).__name__}: {error} (this is a bug: set A2F_DEBUG=1 for a traceback)",
            FAILED,
        )


def _interrupted() -> NoReturn:
    end_at_once_when_asked_again()
    _end("interrupted", INTERRUPTED)


def _end(message: str, code: int) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(code)
