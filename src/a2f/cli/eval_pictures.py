"""The pictures of `a2f eval`: a sheet of crops, and error maps."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from a2f.cli.entrants import Entrant
from a2f.cli.parameters import check_output

if TYPE_CHECKING:
    from a2f.evaluation.crops import Cell
    from a2f.evaluation.jpeg import Quality
    from a2f.evaluation.score import SetScore
    from a2f.evaluation.sets import Item


class Crops:
    """Draws the sheet of --sheet; without this option it does nothing.

    Args:
        path: path of the sheet; None for no sheet.
        sets: name -> items; the first set is drawn.
        scale: s.
        qualities: JPEG qualities of LR.
        pictures: comma-separated names; by default two pictures of the set.
        overwrite: replace an existing sheet.

    Raises:
        UsageError: if the sheet is no PNG, or if the set has no such picture.
        OutputExistsError: if the sheet exists and `overwrite` is False.
    """

    def __init__(
        self,
        path: Path | None,
        sets: "Mapping[str, Sequence[Item]]",
        *,
        scale: int,
        qualities: "Sequence[Quality]",
        pictures: str | None,
        overwrite: bool,
    ) -> None:
        from a2f.evaluation.crops import sheet_rows

        self.path, self.scale = path, scale
        self.data, self.items = next(iter(sets.items()))
        self.columns: dict[str, list[Cell]] = {}
        if path is not None:
            check_output(path, ".png", overwrite=overwrite)
            self.scenes = sheet_rows(self.items, scale=scale, qualities=qualities, pictures=_names(pictures))

    def add(self, entrant: Entrant) -> None:
        """Add a column."""
        from a2f.evaluation.crops import cells_of
        from a2f.evaluation.tables import with_scale

        if self.path is not None:
            method = entrant.method(self.items, data=self.data, scale=self.scale)
            self.columns[with_scale(entrant.name, self.scale)] = cells_of(self.scenes, method, scale=self.scale)

    def write(self) -> None:
        """Write the sheet."""
        import numpy as np

        from a2f.evaluation.crops import draw_crops
        from a2f.evaluation.score import protocol
        from a2f.imageio import Picture, write_image

        if self.path is not None:
            rules = protocol(["psnr_y"], [scene.quality for scene in self.scenes])
            note = f"Figures: PSNR-Y of the whole picture, dB. {rules}"
            sheet = draw_crops(self.scenes, self.columns, scale=self.scale, note=note)
            write_image(Picture(pixels=np.asarray(sheet)), self.path)
            click.echo(f"{self.path} ({sheet.width} x {sheet.height})", err=True)


class Maps:
    """Draws the error maps of --error-maps; without this option it does nothing.

    Args:
        folder: folder of the maps; None for no maps.
        sets: name -> items.
        scale: s.
        pictures: comma-separated names; by default the pictures of each set on which two models differ most.
        overwrite: write into a folder that already has PNG files.

    Raises:
        UsageError: if the folder has PNG files and `overwrite` is False, or no set has such a picture.
    """

    def __init__(
        self,
        folder: Path | None,
        sets: "Mapping[str, Sequence[Item]]",
        *,
        scale: int,
        pictures: str | None,
        overwrite: bool,
    ) -> None:
        self.folder, self.scale = folder, scale
        self.items = {(title, item.name): item for title, items in sets.items() for item in items}
        self.wanted = _names(pictures)
        if folder is None:
            return
        if folder.exists() and not folder.is_dir():
            raise click.UsageError(f"--error-maps {folder} is a file: give a folder")
        if folder.is_dir() and any(folder.glob("*.png")) and not overwrite:
            raise click.UsageError(f"{folder} has PNG files: --overwrite replaces those with the same names")
        known = list(dict.fromkeys(name for _, name in self.items))
        for name in self.wanted:
            if name not in known:
                raise click.UsageError(f"the sets have no picture {name!r}: choose from {', '.join(known)}")

    def write(self, scores: "Sequence[SetScore]", opened: Callable[[str], Entrant], *, metric: str) -> None:
        """Write the maps.

        Args:
            scores: scores of all models.
            opened: opens a model by its name.
            metric: metric that selects the pictures.
        """
        from a2f.evaluation.error_maps import draw_error_maps
        from a2f.evaluation.score import enlarged
        from a2f.evaluation.tables import with_scale
        from a2f.imageio import Picture, write_image

        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        chosen = [key for key in self.items if key[1] in self.wanted] or self._most_different(scores, metric)
        entrants = [opened(name) for name in dict.fromkeys(score.model for score in scores)]
        for title, name in chosen:
            item, images = self.items[title, name], {}
            for entrant in entrants:
                items = [i for (t, _), i in self.items.items() if t == title]
                method = entrant.method(items, data=title, scale=self.scale)
                images[with_scale(entrant.name, self.scale)] = enlarged(item, method, scale=self.scale)
            path = self.folder / f"{title.replace('/', '_')}_{name}.png"
            write_image(Picture(pixels=draw_error_maps(item, images, scale=self.scale)), path)
            click.echo(f"{path}", err=True)

    def _most_different(self, scores: "Sequence[SetScore]", metric: str) -> list[tuple[str, str]]:
        """Set and name of the pictures on which two models differ most; for one model, its worst pictures."""
        from a2f.evaluation.differences import ALL_SETS, compare
        from a2f.evaluation.tables import LOWER_IS_BETTER

        first = [score for score in scores if score.jpeg_quality == scores[0].jpeg_quality]
        pairs = [pair for pair in compare(first, [metric]) if pair.data != ALL_SETS]
        if pairs:
            return list(dict.fromkeys((pair.data, pair.largest_image) for pair in pairs))
        worst = max if metric in LOWER_IS_BETTER else min
        return [(s.data, worst(s.images, key=lambda image: s.images[image][metric])) for s in first]


def _names(pictures: str | None) -> list[str]:
    return [name.strip() for name in pictures.split(",")] if pictures else []
