import itertools

import pytest

from a2f.figures.labels import Box, Label, draw_labels, meet
from a2f.figures.style import drawing


def box(left: float, bottom: float, right: float, top: float) -> Box:
    return Box(left=left, bottom=bottom, right=right, top=top)


def test_boxes_overlap() -> None:
    assert box(0, 0, 2, 2).overlap(box(1, 1, 3, 3)) == pytest.approx(0.25)
    assert box(0, 0, 1, 1).overlap(box(1, 0, 2, 1)) == 0
    assert box(0, 0, 4, 4).holds(box(1, 1, 2, 2))
    assert not box(0, 0, 4, 4).holds(box(3, 3, 5, 4))
    assert box(1, 1, 2, 2).nearest(5, 1.5) == (2, 1.5)


@pytest.mark.parametrize(
    ("line", "crosses"),
    [
        (((0, 0), (4, 4)), True),
        (((0, 3), (4, 3)), False),
        (((1.5, 0), (1.5, 9)), True),
        (((0, 0), (0.9, 0.9)), False),
        (((0, 2.5), (2.5, 0)), True),
        (((0, 1.9), (1.9, 0)), False),
    ],
)
def test_a_line_through_a_box(line, crosses: bool) -> None:
    assert box(1, 1, 2, 2).crossed_by(line) == crosses


def test_lines_that_meet() -> None:
    assert meet(((0, 0), (2, 2)), ((0, 2), (2, 0)))
    assert not meet(((0, 0), (2, 0)), ((0, 1), (2, 1)))
    assert not meet(((0, 0), (1, 1)), ((0, 4), (4, 0)))


def drawn(points: list[tuple[float, float]], mark_pt: float = 7.0) -> tuple[list[Box], list[Box], Box]:
    """The boxes of labels, the boxes of marks, and the frame, in pixels."""
    with drawing(width_in=3.4, height_in=3) as figure:
        axis = figure.subplots()
        axis.set(xlim=(0, 10), ylim=(0, 10))
        labels = [
            Label(x=x, y=y, text=f"Network-{n}", color="black", mark_pt=mark_pt) for n, (x, y) in enumerate(points)
        ]
        boxes = draw_labels(axis, labels, size_pt=6)
        half = mark_pt / 2 * figure.dpi / 72
        centres = [axis.transData.transform(point) for point in points]
        marks = [box(x - half, y - half, x + half, y + half) for x, y in centres]
        frame = axis.get_window_extent()
    return boxes, marks, box(frame.x0, frame.y0, frame.x1, frame.y1)


@pytest.mark.integration
@pytest.mark.parametrize("mark_pt", [5.0, 14.0])
def test_crowded_labels_do_not_overlap(mark_pt: float) -> None:
    points = [(5, 5), (5.2, 5.1), (5.4, 5.3), (5.1, 5.8), (4.6, 5.2), (9.8, 9.8), (0.2, 0.2), (9.7, 5)]
    boxes, marks, frame = drawn(points, mark_pt)
    assert len(boxes) == len(points)
    assert all(one.overlap(other) == 0 for one, other in itertools.combinations(boxes, 2))
    assert all(label.overlap(mark) == 0 for label in boxes for mark in marks)
    assert all(frame.holds(label) for label in boxes)


@pytest.mark.integration
def test_axes_use_the_width_of_the_figure() -> None:
    frame = drawn([(5, 5)])[2]
    width = 3.4 * 72
    assert frame.right > 0.95 * width
    assert frame.left < 0.12 * width


def test_placement_is_deterministic() -> None:
    points = [(5, 5), (5.2, 5.1), (5.4, 5.3), (5.1, 5.8)]
    assert drawn(points)[0] == drawn(points)[0]
