"""What a folder holds that is no image to enlarge."""

from collections import Counter
from pathlib import Path


def passed_over(folder: Path, everything: list[Path], images: set[Path], *, recursive: bool) -> list[str]:
    """What to tell about all that lies in a folder and is no image to enlarge."""
    reasons = Counter(_reason(path, recursive=recursive) for path in everything if path not in images)
    del reasons[""]
    if not reasons:
        return []
    return [f"{folder}: passed over " + ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))]


def _reason(path: Path, *, recursive: bool) -> str:
    """Why a path is passed over; nothing for a folder that is looked into."""
    if path.is_dir():
        if recursive and not path.is_symlink():
            return ""
        return "link(s) to folders" if path.is_symlink() else "folder(s) (-r looks into them)"
    if not path.is_file():
        return "broken link(s) or special file(s)"
    if path.name.startswith("."):
        return "hidden file(s)"
    return f"{path.suffix.lower()} file(s)" if path.suffix else "file(s) without a suffix"
