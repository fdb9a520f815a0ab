"""The rival: the same job in plain Faust, one event at a time, with a tumbling table; `python -m tests.bench.plain_faust`.

Each reading is decoded with fastavro, kept in a windowed table of count, sum and sum of squares by series, and
compared with the last window's mean and std; a deviation goes to the anomalies topic. Arguments: servers, topic,
partitions, number of readings after which it prints its CPU seconds and ends.
"""

import json
import math
import os
import sys
import tempfile

import faust
import psutil

from processors.table import RawSchema
from schemas.catalogue import Catalogue
from schemas.codec import Codec

servers, topic, partitions, expected = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
codec = Codec(Catalogue())
app = faust.App(
    f"plain-{os.getpid()}",
    broker=f"kafka://{servers}",
    store="memory://",
    topic_partitions=partitions,
    datadir=tempfile.mkdtemp(),
    web_enabled=False,
    topic_disable_leader=True,
    consumer_auto_offset_reset="earliest",
)
readings = app.topic(topic, schema=RawSchema())
anomalies = app.topic(f"{topic}-plain-anomalies", value_serializer="json", partitions=partitions)
windows = app.Table("windows", default=lambda: [0, 0.0, 0.0], partitions=partitions).tumbling(
    60.0, expires=600.0
)


@app.agent(readings)
async def watch(stream):
    """Count, compare, keep."""
    seen = 0
    async for event in stream.events():
        reading = codec.decode_reading(event.value)
        series = f"{reading.device_id}|{reading.metric}"
        window = windows[series]
        count, total, squares = window.value()
        if count >= 30:
            mean = total / count
            std = math.sqrt(max(squares / count - mean * mean, 1e-12))
            if abs(reading.value - mean) > 4 * std:
                await anomalies.send(key=reading.device_id, value={"series": series, "value": reading.value})
        windows[series] = [count + 1, total + reading.value, squares + reading.value**2]
        seen += 1
        if seen == expected:
            times = psutil.Process().cpu_times()
            print(
                json.dumps({"cpu": times.user + times.system, "readings": seen}),
                file=sys.__stdout__,
                flush=True,
            )
            os._exit(0)


if __name__ == "__main__":
    faust.Worker(app, loglevel="ERROR", quiet=True).execute_from_commandline()
