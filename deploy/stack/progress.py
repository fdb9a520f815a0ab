"""Waiting as long as something moves."""

import time

from schemas.errors import SigmawatchError


class StalledError(SigmawatchError):
    """Something that should move does not."""


class Progress:
    """Notices when nothing changes any more."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last: object = None
        self._since = time.monotonic()

    def stalled(self, state: object) -> bool:
        """Whether `state` has been the same for too long."""
        if state != self._last:
            self._last, self._since = state, time.monotonic()
        return time.monotonic() - self._since > self._seconds
