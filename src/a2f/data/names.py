"""Find the files that belong to the images of a set, by their names.

A file belongs to the image ``baby`` of a set if its name without the suffix is

- ``baby``,
- ``baby`` with the scale: ``babyx4``, ``baby_x4``, ``baby-x4``,
- either of these, then ``_`` or ``-`` and any words: ``baby_CARN``, ``babyx4_SR``, ``baby_x4_CARN``, ``baby_CARN_x4``.

A name with another scale belongs to no image. If the names of two images match, as ``a`` and ``a_b`` match ``a_b_x4``,
the longer one is used.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from a2f.errors import InputError

RULE = "a file of the image baby is named baby, babyx4, baby_x4, or one of these and more words after _ or -: baby_CARN"
_REST = re.compile(r"(?:[-_]?[xX]\d+)?(?:[-_].+)?")
_SCALE = re.compile(r"(?:^|[-_])[xX](\d+)(?=$|[-_])")
_LISTED = 3  # names in an error


@dataclass(frozen=True, kw_only=True)
class Partners:
    """The files found for the images of a set.

    Attributes:
        found: image name -> its file.
        missing: names of images without a file.
        several: image name -> its files, for images with more than one file.
        left: files that belong to no image of the set.
    """

    found: dict[str, Path]
    missing: list[str]
    several: dict[str, list[Path]]
    left: list[Path]

    def check(self, folder: Path, *, what: str, of: Path | str) -> None:
        """Raise an error unless each image has exactly one file.

        Args:
            folder: the folder of the files.
            what: kind of the files, for the message.
            of: name of the set, for the message.

        Raises:
            InputError: if an image has no file or several; the message names the images and the unpaired files.
        """
        for name, paths in self.several.items():
            both = " and ".join(path.relative_to(folder).as_posix() for path in paths[:2])
            raise InputError(f"{folder} has several files for {name} of {of}: {both}; leave one")
        if self.missing:
            left = [path.relative_to(folder).as_posix() for path in self.left]
            rest = f"; files that belong to no image: {_listed(left)}" if left else "; it holds no other images"
            count, total = len(self.missing), len(self.missing) + len(self.found)
            raise InputError(
                f"{folder} has no {what} for {count} of the {total} images of {of}: {_listed(self.missing)}{rest} "
                f"({RULE})"
            )


def find_partners(names: Sequence[str], files: Iterable[Path], *, scale: int) -> Partners:
    """Pair files with the images of a set.

    Args:
        names: names of the images, without suffixes.
        files: the candidates.
        scale: s.
    """
    of_name: dict[str, list[Path]] = {name: [] for name in names}
    left: list[Path] = []
    for path in files:
        starts = (path.stem[:length] for length in range(len(path.stem), 0, -1))
        name = next((start for start in starts if start in of_name and _fits(path.stem, start, scale)), None)
        (left if name is None else of_name[name]).append(path)
    return Partners(
        found={name: paths[0] for name, paths in of_name.items() if len(paths) == 1},
        missing=[name for name, paths in of_name.items() if not paths],
        several={name: paths for name, paths in of_name.items() if len(paths) > 1},
        left=left,
    )


def scales_in_names(*names: str) -> set[int | None]:
    """The scales in the names of files or folders, for example 4 for "babyx4_SR" and for "X4"."""
    return {int(scale) for name in names for scale in re.findall(r"[xX](\d)(?=$|[-_])", name)}


def branch(folder: Path, name: str, *, scale: int) -> Path:
    """The subfolder for a set and a scale, if there is one: ``folder/Set5/x4`` or ``folder/x4/Set5``.

    Names are compared without regard to case.
    """
    for wanted in (name, f"x{scale}", name):
        inner = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_dir()}
        folder = inner.get(wanted.lower(), folder)
    return folder


def _fits(stem: str, name: str, scale: int) -> bool:
    """Whether a stem that begins with an image name belongs to this image."""
    rest = stem[len(name) :]
    if not _REST.fullmatch(rest):
        return False
    told = {int(found) for found in _SCALE.findall(rest if rest[:1] in "-_" else f"_{rest}")}
    return told <= {scale}


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
