"""A processor worker as a process of its own: `python -m tests.support.processor_main SETTINGS.json [control]`.

`control` names a negative control: a way of getting it wrong that the chaos test must notice.
"""

import asyncio
import json
import logging
import sys

import faust

from processors.handler import ProcessorHandler
from processors.partition import Partition
from processors.worker import run_worker
from schemas.catalogue import Catalogue
from schemas.codec import Codec
from schemas.settings import load_settings


def commit_on_apply() -> None:
    """Move the committed offset with each batch, before the state is safe."""
    on_batch = ProcessorHandler.on_batch

    async def wrong(self, batch):
        await on_batch(self, batch)
        partition = self.partitions.get(batch.tp.partition)
        if partition is not None and partition.next_offset > partition.committed_offset:
            await self._consumer.commit_checkpoint({batch.tp: partition.next_offset})

    ProcessorHandler.on_batch = wrong


def one_key_a_series() -> None:
    """Let every owner write the same keys, so that compaction may keep a zombie's state."""
    begin = Partition.begin

    def wrong(self, start, committed):
        begin(self, start, committed)
        self._writer = "same"

    Partition.begin = wrong


CONTROLS = {"commit_on_apply": commit_on_apply, "one_key_a_series": one_key_a_series}


def main() -> int:
    logging.basicConfig(
        level=logging.WARNING,
        format="%(asctime)s %(process)d %(name)s %(levelname)s %(message)s",
        stream=sys.stderr,
    )
    assert faust, asyncio
    overrides = json.loads(sys.argv[1])
    for control in sys.argv[2:]:
        CONTROLS[control]()
    return run_worker(load_settings(None, overrides, {}), Codec(Catalogue()))


if __name__ == "__main__":
    sys.exit(main())
