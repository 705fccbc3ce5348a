"""How long a client may take."""

import time


class Pace:
    """The time at which the patience with a client ends. What it moves puts that time off.

    A client that was quick may pause, but never for longer than `slack_s`: what it moved before counts no more than
    that.

    Args:
        slowest: bytes a second that it must move on average.
        slack_s: seconds before the first byte, and at most between two.
    """

    def __init__(self, *, slowest: float, slack_s: float) -> None:
        self.slowest, self.slack_s = slowest, slack_s
        self._end = time.monotonic() + slack_s

    @property
    def left_s(self) -> float:
        """Seconds that are left; 0 when its time is over."""
        return max(0.0, self._end - time.monotonic())

    def move(self, count: int) -> None:
        """Hear of bytes that were moved."""
        self._end = min(self._end + count / self.slowest, time.monotonic() + self.slack_s)
