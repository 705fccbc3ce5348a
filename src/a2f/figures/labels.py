"""Place the labels of points so that they cover neither each other nor the points."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

NEAR_PT, STEP_PT, RINGS = (
    1.5,
    5.0,
    12,
)  # smallest distance of a label from its mark, the distance between rings, and their number
DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
PASSES = 10
LEADER_PT = 4.0  # labels farther than this from their mark get a thin leader line
OUTSIDE, OVER_LABEL, OVER_POINT, CROSSED, AWAY = 1000.0, 400.0, 400.0, 150.0, 1.0  # costs of a position
MARK_PT = 7.0


Line = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class Box:
    """A rectangle in figure pixels."""

    left: float
    bottom: float
    right: float
    top: float

    def overlap(self, other: "Box") -> float:
        """The common area as a share of the area of this box."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        area = (self.right - self.left) * (self.top - self.bottom)
        return max(0.0, width) * max(0.0, height) / area

    def holds(self, other: "Box") -> bool:
        """Whether the other box is completely inside this box."""
        across = self.left <= other.left and other.right <= self.right
        return across and self.bottom <= other.bottom and other.top <= self.top

    def wider(self, margin: float) -> "Box":
        """The box with a margin on each side."""
        return Box(
            left=self.left - margin, bottom=self.bottom - margin, right=self.right + margin, top=self.top + margin
        )

    def nearest(self, x: float, y: float) -> tuple[float, float]:
        """The point of the box that is nearest to (x, y)."""
        return min(max(x, self.left), self.right), min(max(y, self.bottom), self.top)

    def crossed_by(self, line: "Line") -> bool:
        """Whether a line crosses the box."""
        (x0, y0), (x1, y1) = line
        first, last = 0.0, 1.0
        for start, way, low, high in ((x0, x1 - x0, self.left, self.right), (y0, y1 - y0, self.bottom, self.top)):
            if way == 0:
                if not low < start < high:
                    return False
                continue
            into, out = sorted(((low - start) / way, (high - start) / way))
            first, last = max(first, into), min(last, out)
        return first < last


@dataclass(frozen=True, kw_only=True)
class Label:
    """A text beside a point of an axis.

    Attributes:
        x, y: position of the point, in data units.
        text: text of the label.
        color: colour of the text.
        bold: whether the text is bold.
        mark_pt: diameter of the mark at the point.
    """

    x: float
    y: float
    text: str
    color: str
    bold: bool = False
    mark_pt: float = MARK_PT


def draw_labels(axis: Any, labels: Sequence[Label], *, size_pt: float) -> list[Box]:
    """Draw labels at positions where they cover nothing; earlier labels are closer to their points.

    The search is deterministic: each label takes the cheapest position of a fixed set, given the other labels,
    repeatedly.

    Args:
        axis: a matplotlib axis with final limits; the layout must not change afterwards.
        labels: labels in order of importance.
        size_pt: size of the text, points.

    Returns:
        The box of each label.
    """
    figure = axis.figure
    for _ in range(2):  # the first layout pass does not know the widths of the tick labels
        figure.canvas.draw()
    figure.set_layout_engine("none")
    scale = figure.dpi / 72
    texts = [_text(axis, label, size_pt) for label in labels]
    sizes = [text.get_window_extent() for text in texts]
    points = [axis.transData.transform((label.x, label.y)) for label in labels]
    halves = [label.mark_pt / 2 * scale for label in labels]
    marks = [Box(left=x - h, bottom=y - h, right=x + h, top=y + h) for (x, y), h in zip(points, halves, strict=True)]
    whole = axis.get_window_extent()
    frame = Box(left=whole.x0, bottom=whole.y0, right=whole.x1, top=whole.y1)
    places = [
        _places(x, y, s.width, s.height, scale, label.mark_pt / 2)
        for (x, y), s, label in zip(points, sizes, labels, strict=True)
    ]
    scene = _Scene(
        points=[(float(x), float(y)) for x, y in points], marks=marks, places=places, frame=frame, scale=scale
    )
    boxes = scene.arranged()
    for text, box, mark in zip(texts, boxes, marks, strict=True):
        _put(axis, text, box, _leader(box, mark, scale))
    return boxes


def _text(axis: Any, label: Label, size_pt: float) -> Any:
    weight = "bold" if label.bold else "normal"
    text = axis.text(label.x, label.y, label.text, fontsize=size_pt, color=label.color, fontweight=weight, zorder=5)
    text.set_in_layout(False)
    return text


def _places(x: float, y: float, width: float, height: float, scale: float, radius_pt: float) -> list[tuple[Box, float]]:
    """Candidate boxes around a point, and their distance from it in points."""
    found = []
    for ring in range(RINGS):
        away = (radius_pt + NEAR_PT + ring * STEP_PT) * scale
        for across, up in DIRECTIONS:
            left = x + across * away - (width if across < 0 else width / 2 if across == 0 else 0)
            bottom = y + up * away - (height if up < 0 else height / 2 if up == 0 else 0)
            box = Box(left=left, bottom=bottom, right=left + width, top=bottom + height)
            found.append((box, away / scale * (1.2 if across and up else 1.0)))
    return found


@dataclass(frozen=True, kw_only=True)
class _Scene:
    """All data for the cost of label positions; a position is a box and its distance from its point."""

    points: list[tuple[float, float]]
    marks: list[Box]
    places: list[list[tuple[Box, float]]]
    frame: Box
    scale: float

    def arranged(self) -> list[Box]:
        """The best arrangement of several searches with different orders of the labels."""
        every = range(len(self.points))
        orders = [
            list(every),
            sorted(every, key=lambda n: self.points[n][1]),
            sorted(every, key=lambda n: -self.points[n][1]),
            sorted(every, key=lambda n: self.points[n][0]),
            sorted(every, key=lambda n: -self.points[n][0]),
        ]
        found = [self._search(order) for order in orders]
        return min(found, key=lambda result: result[0])[1]

    def _search(self, order: list[int]) -> tuple[float, list[Box]]:
        """Search an arrangement; return its cost and its boxes."""
        chosen: list[tuple[Box, float] | None] = [None] * len(order)
        costs = [0.0] * len(order)
        for _ in range(PASSES):
            before = list(chosen)
            for n in order:
                others = [(place[0], m) for m, place in enumerate(chosen) if m != n and place is not None]
                costs[n], _, chosen[n] = min(
                    (self._cost(n, place, others), k, place) for k, place in enumerate(self.places[n])
                )
            if chosen == before:
                break
        return sum(costs), [place[0] for place in chosen if place is not None]

    def _cost(self, n: int, place: tuple[Box, float], others: list[tuple[Box, int]]) -> float:
        """The cost of a position; covering something costs more than any distance."""
        box, away = place
        wide = box.wider(self.scale)
        cost = AWAY * away + (0 if self.frame.holds(wide) else OUTSIDE)
        cost += sum(OVER_LABEL * (1 + wide.overlap(other)) for other, _ in others if wide.overlap(other) > 0)
        cost += sum(OVER_POINT * (1 + wide.overlap(mark)) for mark in self.marks if wide.overlap(mark) > 0)
        line = _leader(box, self.marks[n], self.scale)
        if line is not None:
            cost += sum(CROSSED for other, _ in others if other.crossed_by(line))
            cost += sum(CROSSED for m, mark in enumerate(self.marks) if m != n and mark.crossed_by(line))
        leaders = [_leader(other, self.marks[m], self.scale) for other, m in others]
        cost += sum(CROSSED for other in leaders if other is not None and box.crossed_by(other))
        return cost + sum(CROSSED for other in leaders if line is not None and other is not None and meet(line, other))


def meet(one: Line, other: Line) -> bool:
    """Whether two lines cross."""

    def side(line: Line, point: tuple[float, float]) -> float:
        (x0, y0), (x1, y1) = line
        return (x1 - x0) * (point[1] - y0) - (y1 - y0) * (point[0] - x0)

    apart = side(one, other[0]) * side(one, other[1]) > 0 or side(other, one[0]) * side(other, one[1]) > 0
    return not apart


def _leader(box: Box, mark: Box, scale: float) -> Line | None:
    """The leader line from a mark to its label; None if the label is beside the mark."""
    x, y = (mark.left + mark.right) / 2, (mark.bottom + mark.top) / 2
    near = box.nearest(x, y)
    away = ((near[0] - x) ** 2 + (near[1] - y) ** 2) ** 0.5 - (mark.right - mark.left) / 2
    return ((x, y), near) if away > LEADER_PT * scale else None


def _put(axis: Any, text: Any, box: Box, line: Line | None) -> None:
    """Move a text into its box, and draw its leader line if there is one."""
    back = axis.transData.inverted()
    text.set_position(back.transform((box.left, box.bottom)))
    text.set_verticalalignment("baseline")
    drawn = text.get_window_extent()
    text.set_position(back.transform((box.left, box.bottom + box.bottom - drawn.y0)))
    if line is not None:
        ends = back.transform(line)
        axis.plot(ends[:, 0], ends[:, 1], color=text.get_color(), linewidth=0.4, zorder=1)
