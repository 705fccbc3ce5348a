"""Videos: every frame enlarged, everything else kept. Needs PyAV, the extra `video`."""

from a2f.errors import MissingExtraError

try:
    import av as _av  # noqa: F401
except ImportError as error:
    raise MissingExtraError(
        "videos need the package av, which is not installed: pip install 'a2f[video]'"
        if error.name == "av"
        else f"videos need the package av, which does not load here ({error})"
    ) from error
