"""The series table: Faust's own in name, changelog and partitioning; its data are the engine's columns."""

import asyncio
from collections.abc import Iterable
from typing import Any

import faust
from faust.types import TP

from processors.handler import ProcessorHandler


class RawSchema(faust.Schema[Any, Any]):
    """Keys and values as they come: bytes, or whole batches."""

    def loads_key(self, app: Any, message: Any, *, loads: Any = None, serializer: Any = None) -> Any:
        """The key itself."""
        return message.key

    def loads_value(self, app: Any, message: Any, *, loads: Any = None, serializer: Any = None) -> Any:
        """The value itself."""
        return message.value


class SeriesTable(faust.Table[bytes, bytes]):
    """A Faust table whose records are series states and markers (see `processors.changelog`).

    Faust declares its changelog, assigns its partitions with the readings' and reads it after a rebalance;
    what was read goes to the handler, and checkpoints write it.
    """

    handler: ProcessorHandler
    _crashing: "asyncio.Future[None] | None" = None

    def apply_changelog_batch(self, batch: Iterable[Any]) -> None:
        """Take over changelog events.

        Faust takes an error here for a passing one and stays in recovery for ever, so it stops the worker instead.
        """
        try:
            for event in batch:
                self.handler.partition(event.message.partition).restored(event.key, event.value)
        except Exception as error:
            self._crashing = asyncio.ensure_future(self.app.crash(error))
            raise

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Forget the partitions that went elsewhere."""
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)
        self.handler.forget(tp.partition for tp in revoked if tp.topic in self.handler.topics)
