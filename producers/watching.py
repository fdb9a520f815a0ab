"""Files that are read again when they change.

A watched file that is gone, empty or cannot be read for the moment counts as unchanged: editors write a new file and
rename it, or cut the old one off before they fill it. Content decides, not times: a touched file is no change.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Protocol


class _Clock(Protocol):
    def monotonic(self) -> float:
        """Seconds that only ever grow."""


@dataclass(slots=True)
class _Seen:
    """What a file was at the last look.

    Attributes:
        content: hash of what it said; None while it was never there.
        stamp: what `stat` says of it.
        settled: whether the stamp was the same at two looks. Until then the content is compared even so: a file may be
            written twice within one tick of the file system's clock.
    """

    content: bytes | None = None
    stamp: tuple[int, ...] = ()
    settled: bool = False


class FileWatch:
    """Tells when the content of files changed. Not thread-safe.

    Args:
        paths: the files; one that is not there yet is a change when it comes.
        interval: seconds between two looks at least.
        clock: whose seconds.
    """

    def __init__(self, paths: Iterable[Path], interval: float, clock: _Clock) -> None:
        self._files = {path: _Seen() for path in paths}
        self._interval = interval
        self._clock = clock
        self._next_look = clock.monotonic() + interval
        for path, seen in self._files.items():
            _look(path, seen)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The watched files."""
        return tuple(self._files)

    def watch(self, paths: Iterable[Path]) -> None:
        """Watch these files from now on; what is known of those that were watched already is kept."""
        files = {path: self._files.get(path) for path in paths}
        self._files = {path: seen or _Seen() for path, seen in files.items()}
        for path, seen in files.items():
            if seen is None:
                _look(path, self._files[path])

    def changed(self) -> tuple[Path, ...]:
        """The files whose content is another one than at the last look; none while the interval is not over."""
        now = self._clock.monotonic()
        if now < self._next_look:
            return ()
        self._next_look = now + self._interval
        return tuple(path for path, seen in self._files.items() if _look(path, seen))


def _look(path: Path, seen: _Seen) -> bool:
    """Whether the file says something else than what was seen, which is noted."""
    try:
        stat = path.stat()
        stamp = (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        if stamp == seen.stamp and seen.settled:
            return False
        data = path.read_bytes()
    except OSError:
        return False
    if not data:
        return False
    seen.settled, seen.stamp = stamp == seen.stamp, stamp
    content = blake2b(data, digest_size=16).digest()
    is_other = content != seen.content
    seen.content = content
    return is_other
