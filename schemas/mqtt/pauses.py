"""How long to wait between two attempts to connect."""

_SHORTEST_PAUSE = 0.2
_LONGEST_PAUSE = 10.0
_MANY = 5


class Pauses:
    """How long to wait before the next attempt to connect.

    A connection that is lost at once counts as a failed attempt: two clients of one id throw each other out, and
    should not do it many times a second.
    """

    def __init__(self) -> None:
        self._pause = 0.0
        self._short = 0

    def after(self, lived: float | None) -> float:
        """Seconds to wait after an attempt that gave a connection of `lived` seconds, None for none."""
        if lived is not None and lived > _LONGEST_PAUSE:
            self._pause, self._short = 0.0, 0
        elif lived is not None:
            self._short += 1
        self._pause = min(_LONGEST_PAUSE, max(_SHORTEST_PAUSE, self._pause * 2))
        return self._pause

    @property
    def suspicious(self) -> bool:
        """Whether it is time, now and then, to say that connections do not last."""
        return self._short > 0 and self._short % _MANY == 0
