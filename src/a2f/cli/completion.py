"""``a2f completion``."""

import click
from click.shell_completion import get_completion_class

EPILOG = """\b
Examples:
  a2f completion bash >> ~/.bashrc
  a2f completion zsh >> ~/.zshrc
  a2f completion fish > ~/.config/fish/completions/a2f.fish
"""


@click.command(epilog=EPILOG)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for your shell."""
    from a2f.cli.main import cli

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(cli, {}, "a2f", "_A2F_COMPLETE").source())
