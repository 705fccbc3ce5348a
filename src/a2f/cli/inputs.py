"""Find the input files of a batch and the output of each."""

import glob
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from a2f.errors import A2FError, ImageReadError, UsageError, count_of
from a2f.files import Parts, Times, ends_like_a_folder, is_own_name, times_of
from a2f.imageio import format_of_suffix
from a2f.imageio.formats import is_image_name
from a2f.pipeline import BOOK, Enlargement, output_name
from a2f.sizes import OWN_SUFFIX

STDIN = Path("-")


@dataclass(frozen=True, kw_only=True)
class OutputNames:
    """Names and places of the results.

    Attributes:
        mark: text to add to the name of each file.
        format: format of all results; None for the format of each input.
        output: a file, a folder, or `STDIN` for standard output; None for the folder of each input.
        output_folder: the output ends with a separator, so it is a folder, even if it does not exist.
        recursive: include subfolders of a folder.
    """

    mark: str
    format: str | None = None
    output: Path | None = None
    output_folder: bool = False
    recursive: bool = False

    def __post_init__(self) -> None:
        if {"/", os.sep} & set(self.mark):
            raise UsageError(f"--suffix {self.mark!r} has a folder separator: give folders with -o")


@dataclass(frozen=True, kw_only=True)
class Task:
    """One image to enlarge.

    Attributes:
        source: the file, or `STDIN`.
        target: the file to write, or `STDIN` for standard output.
        failure: an error that is known before the task starts.
        times: times of the file before it was opened; None if unknown.
        replace: the target may be replaced independent of the request, because it is an earlier result of the batch.
        recorded: wraps the parts of the file, see `a2f.pipeline.write`.
        addresses: addresses of source and target, if the files are local copies.
        reason: why the journal lists the file as work to do; None without a journal.
    """

    source: Path
    target: Path
    failure: A2FError | None = None
    times: Times | None = None
    replace: bool = False
    recorded: Callable[[Parts, Enlargement | None], Parts] = lambda parts, enlargement: parts
    addresses: tuple[str, str] | None = None
    reason: str | None = None

    @property
    def name(self) -> str:
        """The name of the input for messages."""
        if self.addresses is not None:
            return self.addresses[0]
        return "standard input" if self.source == STDIN else str(self.source)

    @property
    def output(self) -> str:
        """The name of the output for messages."""
        return str(self.target) if self.addresses is None else self.addresses[1]


def find_tasks(inputs: list[str], naming: OutputNames) -> tuple[list[Task], list[str]]:
    """Find all images and their outputs, before anything runs.

    Args:
        inputs: files, folders, patterns, or "-".
        naming: names and places of the results.

    Returns:
        The tasks in order, and notes.

    Raises:
        UsageError: for contradictory requests, for example two images with one output, or a folder for a stream.
    """
    if "" in inputs:
        raise UsageError("an input is empty (''): leave it out, or give . for this folder")
    if STDIN.name in inputs and len(inputs) > 1:
        raise UsageError("- (standard input) is one image: give no other inputs")
    if inputs == [STDIN.name]:
        return [_stream_task(naming)], []
    found, notes = _find(inputs, naming)
    single = len(found) == 1 and len(inputs) == 1 and not Path(inputs[0]).is_dir()
    tasks = [_task(path, below, naming, single=single) for path, below in found]
    _refuse_clashes(tasks, naming.output)
    return tasks, notes


def _stream_task(naming: OutputNames) -> Task:
    target = naming.output or STDIN
    if target != STDIN and (target.is_dir() or naming.output_folder):
        raise UsageError(f"-o {target} is a folder: for standard input give a file name, or - for standard output")
    if target != STDIN and naming.format not in (None, format_of_suffix(target.suffix)):
        raise UsageError(f"-o {target} and -f {naming.format} name two formats: leave one of them out")
    return Task(source=STDIN, target=target)


def _find(inputs: list[str], naming: OutputNames) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Every image, with the relative folder of its output."""
    found: list[tuple[Path, Path]] = []
    notes: list[str] = []
    for given in inputs:
        path = Path(given)
        if ends_like_a_folder(given) and path.is_file():
            raise UsageError(f"{given} ends with {given[-1]}, but is a file: leave out the {given[-1]}")
        if path.is_dir():
            inside, skipped = _images_of(path, naming)
            inside, made = _outside(inside, path, naming.output)
            notes += [*skipped, *made]
            found += [(p, p.parent.relative_to(path)) for p in inside] or [(path, Path())]
        elif not os.path.lexists(path) and glob.has_magic(given):
            everything = [Path(m) for m in sorted(glob.glob(given, recursive=True))]
            matches = [path for path in everything if _is_taken(path)]
            notes += skipped_note(path, everything, set(matches), recursive=True)
            found += [(p, Path()) for p in matches] or [(path, Path())]
        else:
            found.append((path, Path()))
    unique = dict.fromkeys(found)  # a pattern and a folder may contain the same file
    return list(unique), notes


def _outside(images: list[Path], folder: Path, output: Path | None) -> tuple[list[Path], list[str]]:
    """Remove images in the output folder, if it is inside the input folder; return the images and a note."""
    if output is None or output == STDIN:
        return images, []
    within = output.resolve()
    if folder.resolve() not in within.parents:
        return images, []
    kept = [p for p in images if within not in p.resolve().parents]
    left_out = len(images) - len(kept)
    return kept, [f"{folder}: skipped {count_of(left_out, 'file')} in the output folder {output}"] if left_out else []


def _images_of(folder: Path, naming: OutputNames) -> tuple[list[Path], list[str]]:
    below = folder.rglob("*") if naming.recursive else folder.iterdir()
    everything = sorted(p for p in below if not any(map(is_own_name, p.relative_to(folder).parts)))
    images = [p for p in everything if _is_taken(p) and p.is_file() and not p.name.startswith(".")]
    suffix, stems = naming.mark, {(p.parent, p.stem) for p in images}

    def made_earlier(p: Path) -> bool:
        stem = p.stem.removesuffix(suffix) if suffix else p.stem
        stem = OWN_SUFFIX.sub("", p.stem) if stem == p.stem else stem
        return stem != p.stem and (p.parent, stem) in stems

    passed = skipped_note(folder, everything, set(images), recursive=naming.recursive)
    earlier = [p for p in images if made_earlier(p)]
    ends = sorted({p.stem[p.stem.rindex("_") :] if "_" in p.stem else suffix for p in earlier})
    notes = [f"{folder}: skipped {count_of(len(earlier), 'earlier result')} (names ending in {', '.join(ends)})"]
    return [p for p in images if p not in earlier], (notes if earlier else []) + passed


def skipped_note(folder: Path, everything: list[Path], images: set[Path], *, recursive: bool) -> list[str]:
    """Make a note about the files in a folder that are skipped.

    Args:
        folder: name of the folder in the note.
        everything: all files and folders in it.
        images: the files that are enlarged.
        recursive: whether subfolders are included.
    """
    reasons = Counter(_why_skipped(path, recursive=recursive) for path in everything if path not in images)
    del reasons[""]
    if not reasons:
        return []
    return [f"{folder}: skipped " + ", ".join(count_of(count, reason) for reason, count in sorted(reasons.items()))]


def _why_skipped(path: Path, *, recursive: bool) -> str:
    """Why a path is skipped; empty for a folder that is searched."""
    if path.is_dir():
        if recursive and not path.is_symlink():
            return ""
        return "link(s) to folders" if path.is_symlink() else "folder(s) (-r includes them)"
    if not path.is_file():
        return "broken link(s) or special file(s)"
    if path.name.startswith("."):
        return "hidden file(s)"
    return f"{path.suffix.lower()} file(s)" if path.suffix else "file(s) without a suffix"


def _task(path: Path, below: Path, naming: OutputNames, *, single: bool) -> Task:
    times = times_of(path)
    name = output_name(path, mark=naming.mark, format=naming.format)
    out = naming.output
    if out is None:
        target = path.with_name(name)
    elif out == STDIN:
        if not single:
            raise UsageError("-o - writes one image to standard output, but there are several inputs: give a folder")
        target = out
    elif naming.output_folder or out.is_dir() or not (out.suffix if single else is_image_name(out)):
        if os.path.lexists(out) and not out.is_dir():
            raise UsageError(f"-o {out} is a file without an image suffix: give another name or a folder")
        target = out / below / name
    else:
        if not single:
            raise UsageError(f"-o {out} is a file, but the input is a folder or several images: give a folder")
        if not is_image_name(out) and not _is_book(path, out):
            raise UsageError(f"-o {out}: {out.suffix!r} is no image format; for a folder of this name add / at its end")
        if not _is_book(path, out) and naming.format not in (None, format_of_suffix(out.suffix)):
            raise UsageError(f"-o {out} and -f {naming.format} name two formats: leave one of them out")
        target = out
    failure = None
    if path.is_dir():
        deeper = "" if naming.recursive else " (-r includes subfolders)"
        failure = ImageReadError(f"{path} has no images{deeper}")
    return Task(source=path, target=target, failure=failure, times=times)


def _is_taken(path: Path) -> bool:
    """Whether a file in a folder is enlarged, because it is an image or a comic book."""
    return is_image_name(path) or path.suffix.lower() == BOOK


def _is_book(source: Path, target: Path) -> bool:
    return source.suffix.lower() == target.suffix.lower() == BOOK


def _refuse_clashes(tasks: list[Task], output: Path | None) -> None:
    sources = {_identity(task.source): task.source for task in tasks if task.source.exists()}
    taken: dict[str, Path] = {}
    for task in tasks:
        if task.target == STDIN or task.failure is not None:
            continue
        key = os.path.realpath(task.target).casefold()  # on some file systems A.png and a.png are one file
        if key in taken:
            raise UsageError(
                f"{taken[key]} and {task.source} would both be written to {task.target}: "
                "enlarge them separately, with another -o or --suffix for one of them"
            )
        taken[key] = task.source
        if task.target.exists() and _identity(task.target) in sources:
            advice = "choose another -o" if task.target == output else "choose another --suffix or -o"
            raise UsageError(f"{task.target} is itself an input, and an input is never overwritten: {advice}")


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino
