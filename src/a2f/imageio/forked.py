"""libvips after a fork: its threads exist only in the parent, so work for them would never end."""

import os

from a2f.errors import UsageError

_used = _barred = False


def begin_vips() -> None:
    """Call this before using libvips.

    Raises:
        UsageError: in a process that was forked after libvips had worked in its parent.
    """
    global _used
    if _barred:
        raise UsageError(
            "image files cannot be read or written in a process that was forked after its parent used them: "
            "start it with multiprocessing.get_context('spawn'), or pass arrays"
        )
    _used = True


def _bar() -> None:
    global _barred
    _barred = _used


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_bar)
