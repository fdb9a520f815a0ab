"""Waiting until everything before given offsets is processed, committed and stored; as long as something moves.

`turn` is a moment of waiting, in which the run looks after its parts and hears the user; it may raise.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from deploy.reading import Place
from deploy.stack.committed import committed_offsets
from deploy.stack.parts import Part
from deploy.stack.progress import Progress, StalledError
from deploy.stack.watching import Observation, PartitionState, Watcher, look_at_workers

if TYPE_CHECKING:
    from schemas.settings import Settings

STALLED_SECONDS = 60.0
"""Without any progress; longer than a takeover after a crash."""
_STOPPING_SECONDS = 30.0  # for a last checkpoint; then a worker gets its grace, and is killed
_STOP_TRIES = 3

Turn = Callable[[], None]


def until_applied(ports: Sequence[int], ends: Mapping[int, int], turn: Turn) -> dict[int, PartitionState]:
    """Wait until the processors have taken every reading before these offsets; gives their counts then.

    Args:
        ports: of the processors' web views.
        ends: partition -> offset.
        turn: see above.

    Raises:
        StalledError: nothing moves.
    """
    progress = Progress(STALLED_SECONDS)
    best: dict[int, PartitionState] = {}
    while True:
        partitions, _ = look_at_workers(ports)
        for number, state in partitions.items():
            if number not in best or state.next_offset >= best[number].next_offset:
                best[number] = state
        behind = {
            number: end - (best[number].next_offset if number in best else 0)
            for number, end in ends.items()
            if number not in best or best[number].next_offset < end
        }
        if not behind:
            return best
        if progress.stalled(tuple(sorted((number, state.next_offset) for number, state in best.items()))):
            raise StalledError(
                f"the processor stopped moving, {sum(behind.values()):,} readings before the end"
            )
        turn()


def let_go_of_workers(
    workers: Sequence[Part],
    ports: Sequence[int],
    settings: "Settings",
    ends: Mapping[int, int],
    turn: Turn,
    tell: Callable[[str], None],
) -> None:
    """Stop the processors: their last checkpoint sends all anomalies and commits the end.

    Args:
        workers: their processes.
        ports, ends, turn: as in `until_applied`.
        settings: broker and group.
        tell: says a line to people.

    Raises:
        StalledError: the end does not get committed.
    """
    for tries_left in reversed(range(_STOP_TRIES)):
        _stop(workers, turn)
        committed = committed_offsets(settings, max(ends, default=-1) + 1)
        behind = {number: end for number, end in ends.items() if committed.get(number, 0) < end}
        if not behind:
            return
        if tries_left:
            tell("the last checkpoint was not committed; the processor starts again to make it")
            for part in workers:
                part.start()
            until_applied(ports, ends, turn)
    raise StalledError(
        f"the processor did not commit the end of partitions {', '.join(map(str, sorted(behind)))}"
    )


def _stop(workers: Sequence[Part], turn: Turn) -> None:
    for part in workers:
        part.ask_to_stop()
    patience = Progress(_STOPPING_SECONDS)
    while any(part.alive for part in workers) and not patience.stalled(None):
        turn()
    for part in workers:
        part.stop()


def until_stored(watcher: Watcher, ends: Mapping[Place, int], turn: Turn) -> None:
    """Wait until the sink has stored everything before these offsets.

    Raises:
        StalledError: nothing moves.
    """
    progress = Progress(STALLED_SECONDS)
    looked = watcher.now.at
    while True:
        seen: Observation = watcher.now
        behind = {place: end for place, end in ends.items() if end and seen.positions.get(place, 0) < end}
        if not behind and seen.at > looked:
            return
        if progress.stalled(tuple(sorted(seen.positions.items()))):
            topics = ", ".join(sorted({topic for topic, _ in behind}))
            raise StalledError(f"the sink stopped moving before the end of {topics}")
        turn()
