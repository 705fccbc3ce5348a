"""``a2f serve``."""

from typing import TYPE_CHECKING, Any

import click

from a2f.cli.parameters import NATURAL, POSITIVE, BytesType, CountType
from a2f.errors import MissingExtraError

if TYPE_CHECKING:
    from a2f.web.settings import Settings

EPILOG = """\b
Examples:
  a2f serve                                   a web page on http://127.0.0.1:8000
  A2F_API_KEY=... a2f serve --host 0.0.0.0    for other machines too, with a key
  curl --data-binary @photo.jpg http://127.0.0.1:8000/v1/upscale -o large.jpg

The HTTP interface is described in docs/serve.md and on the server under /docs.
"""


@click.command(epilog=EPILOG)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="Port; 0 chooses a free one."
)
@click.option(
    "--api-key",
    envvar="A2F_API_KEY",
    metavar="KEY",
    help="Key that clients must send, at least 16 characters; better in $A2F_API_KEY.",
)
@click.option("--no-auth", is_flag=True, help="Require no key: everyone who can reach --host may use the server.")
@click.option("--host-name", "host_names", multiple=True, metavar="NAME", help="Host name to accept; can be repeated.")
@click.option(
    "--workers", type=POSITIVE, metavar="N", help="Number of pictures at a time.  [default: 2; 1 on one core]"
)
@click.option(
    "--threads",
    type=POSITIVE,
    metavar="N",
    help="Threads of each worker.  [default: the cores, divided; all cores for a picture that runs alone]",
)
@click.option(
    "--max-memory",
    type=BytesType(),
    help="Memory limit for the server and its workers, e.g. 2GB.  [default: half of what is free]",
)
@click.option("--max-body", type=BytesType(), default="64MB", show_default=True, help="Reject larger requests.")
@click.option("--max-pixels", type=CountType(), default="50M", show_default=True, help="Reject larger pictures.")
@click.option("--queue", type=NATURAL, default=64, show_default=True, help="Largest number of waiting pictures.")
@click.option(
    "--timeout", type=POSITIVE, default=600, show_default=True, metavar="S", help="Time limit per picture, seconds."
)
@click.option(
    "--keep", type=POSITIVE, default=600, show_default=True, metavar="S", help="Time to keep a result, seconds."
)
@click.option("--keep-size", type=BytesType(), help="Memory for kept results.  [default: an eighth of the memory]")
@click.option(
    "--grace",
    type=POSITIVE,
    default=60,
    show_default=True,
    metavar="S",
    help="Time to finish running work after Ctrl-C, seconds.",
)
@click.option("-q", "--quiet", is_flag=True, help="Write no access log.")
def serve(quiet: bool, **given: Any) -> None:
    """Serve a web page and an HTTP interface that enlarge pictures.

    By default only programs on this machine can reach the server; see --host. Pictures and results are kept in memory
    for a short time only. The access log goes to standard error, one line of JSON per request.
    """
    import asyncio
    import logging

    settings = _settings(given)
    try:
        from a2f.web.server import listen
        from a2f.web.server import serve as run
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"a2f serve needs {error.name}: pip install 'a2f[web]'") from error

    logging.basicConfig(format="%(message)s", level=logging.WARNING if quiet else logging.INFO)
    listener = listen(settings)
    asyncio.run(run(settings, listener, tell=lambda text: click.echo(text, err=True)))


def _settings(given: dict[str, Any]) -> "Settings":
    from a2f.machine import available_bytes, usable_cores
    from a2f.web.settings import Settings, default_workers

    workers = given["workers"] or default_workers()
    free, cores = available_bytes(), usable_cores()
    return Settings(
        host=given["host"],
        port=given["port"],
        api_key=given["api_key"] or None,
        no_auth=given["no_auth"],
        host_names=given["host_names"],
        workers=workers,
        threads=given["threads"] or max(1, cores // workers),
        alone_threads=given["threads"] or cores,
        memory_bytes=given["max_memory"] or free // 2,
        body_bytes=given["max_body"],
        max_pixels=given["max_pixels"],
        queue=given["queue"],
        timeout_s=given["timeout"],
        keep_s=given["keep"],
        keep_bytes=given["keep_size"] or 0,
        grace_s=given["grace"],
    )
