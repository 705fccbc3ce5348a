"""Place the labels of points so that they cover neither each other nor the points."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

# The smallest distance of a label from its mark, the distance between rings of positions, and the number of rings
NEAR_PT, STEP_PT, RINGS = 1.5, 4.0, 15
DIRECTIONS = (
    *((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)),
    *((1, 0.5), (-1, 0.5), (1, -0.5), (-1, -0.5)),
)
PASSES, SHUFFLES = 10, 12  # of a search; searches in random order
PLACES = 60  # positions of a label that are tried, the cheapest
LEADER_GAP_PT = 1.0  # between a leader line and its label
LEADER_PT = 3.0  # labels farther than this from their mark get a thin leader line
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
        figure.draw_without_rendering()
    figure.set_layout_engine("none")
    scale = figure.dpi / 72
    texts = [_text(axis, label, size_pt) for label in labels]
    sizes = [text.get_window_extent() for text in texts]
    points = [axis.transData.transform((label.x, label.y)) for label in labels]
    halves = [label.mark_pt / 2 * scale for label in labels]
    marks = [Box(left=x - h, bottom=y - h, right=x + h, top=y + h) for (x, y), h in zip(points, halves, strict=True)]
    whole = axis.get_window_extent()
    frame = Box(left=whole.x0, bottom=whole.y0, right=whole.x1, top=whole.y1)
    shapes = [
        _boxes(x, y, s.width, s.height, scale, label.mark_pt / 2)
        for (x, y), s, label in zip(points, sizes, labels, strict=True)
    ]
    places = [_places(n, boxes, marks, frame, scale) for n, boxes in enumerate(shapes)]
    chosen = arranged(places, [(float(x), float(y)) for x, y in points])
    for text, place in zip(texts, chosen, strict=True):
        _put(axis, text, place.box, place.leader, gap=LEADER_GAP_PT * scale)
    return [place.box for place in chosen]


def _text(axis: Any, label: Label, size_pt: float) -> Any:
    weight = "bold" if label.bold else "normal"
    text = axis.text(label.x, label.y, label.text, fontsize=size_pt, color=label.color, fontweight=weight, zorder=5)
    text.set_in_layout(False)
    return text


@dataclass(frozen=True, kw_only=True)
class Place:
    """A position of a label.

    Attributes:
        box: the label.
        wide: the label with a margin.
        leader: the line from the mark to the label, if the label is not beside the mark.
        cost: cost of the position without other labels: distance, the frame, marks below the label and the leader.
    """

    box: Box
    wide: Box
    leader: Line | None
    cost: float

    def against(self, other: "Place") -> float:
        """The cost of this position beside another label."""
        cost = 0.0
        overlap = self.wide.overlap(other.box)
        if overlap > 0:
            cost += OVER_LABEL * (1 + overlap)
        if self.leader is not None and other.box.crossed_by(self.leader):
            cost += CROSSED
        if other.leader is not None and self.box.crossed_by(other.leader):
            cost += CROSSED
        if self.leader is not None and other.leader is not None and meet(self.leader, other.leader):
            cost += CROSSED
        return cost


def _boxes(x: float, y: float, width: float, height: float, scale: float, radius_pt: float) -> list[tuple[Box, float]]:
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


def _places(n: int, boxes: Sequence[tuple[Box, float]], marks: Sequence[Box], frame: Box, scale: float) -> list[Place]:
    """The cheapest positions of label n, given the marks and the frame."""
    places = []
    for box, away in boxes:
        wide, line = box.wider(scale), _leader(box, marks[n], scale)
        cost = AWAY * away + (0 if frame.holds(wide) else OUTSIDE)
        cost += sum(OVER_POINT * (1 + wide.overlap(mark)) for mark in marks if wide.overlap(mark) > 0)
        if line is not None:
            cost += sum(CROSSED for m, mark in enumerate(marks) if m != n and mark.crossed_by(line))
        places.append(Place(box=box, wide=wide, leader=line, cost=cost))
    return sorted(places, key=lambda place: place.cost)[:PLACES]


def arranged(places: Sequence[Sequence[Place]], points: Sequence[tuple[float, float]]) -> list[Place]:
    """The cheapest arrangement of several searches with different orders of the labels.

    Args:
        places: possible positions of each label.
        points: position of the point of each label, pixels.
    """
    every = range(len(points))
    orders = [
        list(every),
        sorted(every, key=lambda n: points[n][1]),
        sorted(every, key=lambda n: -points[n][1]),
        sorted(every, key=lambda n: points[n][0]),
        sorted(every, key=lambda n: -points[n][0]),
    ]
    shuffled = Random(0)
    orders += [shuffled.sample(every, len(points)) for _ in range(SHUFFLES)]
    found = [_search(places, order) for order in orders]
    return min(found, key=lambda result: result[0])[1]


def _search(places: Sequence[Sequence[Place]], order: Sequence[int]) -> tuple[float, list[Place]]:
    """Place the labels one after the other, repeatedly; return the cost of the result and its positions."""
    chosen: list[Place | None] = [None] * len(order)
    costs = [0.0] * len(order)
    for _ in range(PASSES):
        before = list(chosen)
        for n in order:
            others = [place for m, place in enumerate(chosen) if m != n and place is not None]
            costs[n], _, chosen[n] = min((_cost(place, others), k, place) for k, place in enumerate(places[n]))
        if chosen == before:
            break
    return sum(costs), [place for place in chosen if place is not None]


def _cost(place: Place, others: Sequence[Place]) -> float:
    return place.cost + sum(place.against(other) for other in others)


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


def _before(line: Line, gap: float) -> tuple[float, float]:
    """The point of a line at a distance before its end."""
    (x0, y0), (x1, y1) = line
    share = 1 - gap / ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5
    return x0 + share * (x1 - x0), y0 + share * (y1 - y0)


def _put(axis: Any, text: Any, box: Box, line: Line | None, *, gap: float) -> None:
    """Move a text into its box, and draw its leader line, if there is one, up to a gap before the text."""
    back = axis.transData.inverted()
    text.set_position(back.transform((box.left, box.bottom)))
    text.set_verticalalignment("baseline")
    drawn = text.get_window_extent()
    text.set_position(back.transform((box.left, box.bottom + box.bottom - drawn.y0)))
    if line is not None:
        ends = back.transform((line[0], _before(line, gap)))
        axis.plot(ends[:, 0], ends[:, 1], color=text.get_color(), linewidth=0.4, zorder=1)
