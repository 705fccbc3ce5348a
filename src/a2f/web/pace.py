"""The minimum transfer rate of a client."""

import time


class Pace:
    """The time limit of a client. Transferred bytes extend it.

    A fast client may pause, but never for longer than `slack_s`: earlier transfers extend the limit by at most that.

    Args:
        slowest: minimum average rate, bytes per second.
        slack_s: largest time before the first byte and between two transfers, seconds.
    """

    def __init__(self, *, slowest: float, slack_s: float) -> None:
        self.slowest, self.slack_s = slowest, slack_s
        self._end = time.monotonic() + slack_s

    @property
    def left_s(self) -> float:
        """The remaining seconds; 0 after the limit."""
        return max(0.0, self._end - time.monotonic())

    def move(self, count: int) -> None:
        """Count transferred bytes."""
        self._end = min(self._end + count / self.slowest, time.monotonic() + self.slack_s)
