"""Which worker has a device: asked by the web view, answered from the last assignment."""

from typing import Any

from faust.app.router import Router
from yarl import URL

from schemas.kafka import partition_for_key


class DeviceRouter(Router):
    """Faust's router, with the number of partitions taken from the assignment.

    Faust asks its producer, which knows only topics that it has written to; ours writes nothing, for checkpoints
    have a publisher of their own.
    """

    def key_store(self, table_name: str, key: Any) -> URL:
        """URL of the worker that has a device.

        Raises:
            KeyError: nobody has it, as far as is known here.
        """
        changelog = self._get_table_topic(self._get_table(table_name))
        owners = {
            partition: url
            for url, topics in self.table_metadata(table_name).items()
            for partition in topics.get(changelog, ())
        }
        if not owners:
            raise KeyError(changelog)
        return URL(owners[partition_for_key(key, len(owners))])
