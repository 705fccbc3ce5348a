"""The command `a2f`: a group whose commands are imported only when they are called."""

import os
import sys
from importlib import import_module
from typing import NoReturn

import click

import a2f
from a2f.cli.console import INTERRUPTED, end_at_once_when_asked_again, is_interrupt, never_fatal, told
from a2f.errors import A2FError

COMMANDS = {
    "upscale": "Enlarge images: files, folders, or a stream.",
    "video": "Enlarge a video, with its sound and all other streams.",
    "compare": "Lay pictures side by side on one sheet, crops enlarged.",
    "batch": "Tell how far a batch is, and what became of its files.",
    "serve": "Serve a page and an HTTP interface.",
    "formats": "List the file formats, and what each can hold.",
    "models": "List the models in this package, and how good they are.",
    "export": "Write a model as a checked ONNX file.",
    "calibrate": "Prepare a weights file for 8-bit integers (upscale --dtype fast).",
    "convert": "Read a checkpoint of the paper's authors, or of another network.",
    "eval": "Measure models on benchmark sets, by the paper's protocol.",
    "figure": "Draw the figures of the paper, SVG and PDF for print.",
    "profile": "Tell what networks cost: parameters, operations, time.",
    "data": "Prepare images for training, download data sets.",
    "train": "Train a network on a folder of photographs.",
    "plot": "Draw the curves of training runs.",
    "completion": "Print the completion script for your shell.",
}

MODULES = {"batch": "batches"}  # where they are not named after the command


class LazyGroup(click.Group):
    """Knows its commands by name and one line; a command's module is imported when it runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, the most used first."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now."""
        if cmd_name not in COMMANDS:
            return None
        module = MODULES.get(cmd_name, cmd_name)
        command: click.Command = getattr(import_module(f"a2f.cli.{module}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Names and lines without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example:  a2f upscale photo.jpg      writes photo_x4.jpg beside it",
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
        _end(f"error: {told(error)}", error.exit_code)
    except BrokenPipeError:
        # The reader went away; Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except MemoryError:
        _end("error: out of memory: take a smaller image or fewer --jobs", 1)
    except Exception as error:
        if is_interrupt(error):
            _interrupted()
        if os.environ.get("A2F_DEBUG"):
            raise
        _end(f"error: unexpected {type(error).__name__}: {error} (a bug: A2F_DEBUG=1 shows where)", 1)


def _interrupted() -> NoReturn:
    end_at_once_when_asked_again()
    _end("interrupted", INTERRUPTED)


def _end(message: str, code: int) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(code)
