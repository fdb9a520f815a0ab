"""CPU seconds per million readings of the processor on a preloaded topic, beside a sliding window in plain Faust.

`make bench`, or `python -m tests.bench.processor [--readings 2000000] [--series 10000] [--json]`. Every preset and the
rival run in one go on one broker and one log; what the rival does is the job of moving-average. A figure is the slope
between a short and a long run, so that start-up and compiling do not count; a run whose result is wrong gives no figure.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import numpy as np
import psutil
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from deploy.embedded import free_port
from deploy.images.warm import warm
from schemas.catalogue import Catalogue
from schemas.codec import Codec
from schemas.readings import Reading
from schemas.topics import changelog_topic
from tests.support import servers

PARTITIONS = 4
PRESETS = ("standard", "moving-average")
SHORT = 0.1
"""The short run's share of the long one."""


def preload(bootstrap, topic, count, series):
    """`count` readings of `series` series, as many times a series as it takes; one in 2,000 deviates."""
    codec = Codec(Catalogue())
    rng = np.random.default_rng(1)
    producer = Producer(
        {"bootstrap.servers": bootstrap, "linger.ms": 50, "compression.type": "lz4", "partitioner": "murmur2"}
    )
    start = 1_700_000_000_000_000
    for i in range(count):
        device = i % series
        value = 50 + rng.standard_normal() + (30 if rng.random() < 0.0005 else 0)
        reading = Reading(f"device-{device:06d}", "temperature", start + i // series * 1_000_000, value)
        while True:
            try:
                producer.produce(topic, codec.encode_reading(reading), reading.device_id.encode())
            except BufferError:
                producer.poll(0.1)
            else:
                break
        if i % 1000 == 0:
            producer.poll(0)
    producer.flush()
    producer.close()


def make_topics(bootstrap, topic):
    admin = AdminClient({"bootstrap.servers": bootstrap})
    names = [topic, f"{topic}.dlq", f"{topic}-devices", f"{topic}-plain-anomalies"]
    for preset in PRESETS:
        names += [f"{topic}-{preset}-anomalies", changelog_topic(group(topic, preset))]
    for future in admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in names]).values():
        future.result()


def group(topic, preset):
    return f"bench-{topic}-{preset}"


def ours(bootstrap, topic, count, preset):
    """CPU seconds of one worker until all is processed and committed; None where the result is wrong."""
    port = free_port()
    settings = {
        "kafka.bootstrap_servers": bootstrap,
        "topics.readings": topic,
        "topics.anomalies": f"{topic}-{preset}-anomalies",
        "topics.devices": f"{topic}-devices",
        "topics.partitions": PARTITIONS,
        "processor.group": group(topic, preset),
        "processor.preset": preset,
        "processor.window": 60,
        "processor.panes": 6,
        "processor.minimum_readings": 30,
        "processor.checkpoint_interval": 5,
        "processor.web_port": port,
    }
    worker = subprocess.Popen([sys.executable, "-m", "tests.support.processor_main", json.dumps(settings)])
    try:
        begun = time.monotonic()
        while time.monotonic() - begun < 300:
            time.sleep(0.3)
            partitions = _partitions(port)
            if sum(p["committed_offset"] for p in partitions) == count:
                times = psutil.Process(worker.pid).cpu_times()
                return times.user + times.system if sum(p["readings"] for p in partitions) == count else None
        return None
    finally:
        worker.terminate()
        worker.wait(30)


def _partitions(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/partitions", timeout=5) as answer:
            return list(json.load(answer).values())
    except OSError:
        return []


def plain_faust(bootstrap, topic, count):
    """CPU seconds of the rival until it has seen `count` readings."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.plain_faust", bootstrap, topic, str(PARTITIONS), str(count)],
        stdout=subprocess.PIPE,
        timeout=600,
        check=True,
    )
    said = done.stdout.decode()
    result = json.loads(said[said.rindex("{") :])  # behind what Faust's spinner leaves
    return result["cpu"] if result["readings"] == count else None


def slope(short, long, readings_short, readings_long):
    """CPU seconds per million readings between two runs."""
    if short is None or long is None:
        return None
    return (long - short) / (readings_long - readings_short) * 1e6


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--readings", type=int, default=2_000_000)
    parser.add_argument("--series", type=int, default=10_000)
    parser.add_argument("--faust-readings", type=int, default=40_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    warm()  # or the first run would compile, and count it
    name = servers.automatic_brokers()[-1]
    with tempfile.TemporaryDirectory() as folder, servers.running_broker(name, Path(folder)) as broker:
        bootstrap, sizes = broker.bootstrap_servers, {}
        for topic, count in (("short", int(options.readings * SHORT)), ("long", options.readings)):
            make_topics(bootstrap, topic)
            preload(bootstrap, topic, count, options.series)
            sizes[topic] = count
        mine = {
            preset: slope(
                *(ours(bootstrap, topic, count, preset) for topic, count in sizes.items()), *sizes.values()
            )
            for preset in PRESETS
        }
        few = int(options.faust_readings * SHORT)
        rival = slope(
            plain_faust(bootstrap, "short", few),
            plain_faust(bootstrap, "long", options.faust_readings),
            few,
            options.faust_readings,
        )
    result = {
        "broker": name,
        "series": options.series,
        "readings": options.readings,
        "sigmawatch_cpu_s_per_million": mine,
        "plain_faust_cpu_s_per_million": rival,
        "ratio": {preset: rival / cost if cost and rival else None for preset, cost in mine.items()},
    }
    if options.json:
        print(json.dumps(result))
        return
    if None in result["ratio"].values():
        sys.exit("void: a run did not process every reading once")
    print(f"{options.readings:,} readings, {options.series:,} series, {PARTITIONS} partitions, broker {name}")
    for preset, cost in mine.items():
        ratio = result["ratio"][preset]
        print(f"  {preset:15s}{cost:8.2f} CPU s per million readings; plain Faust {ratio:.0f} times as much")
    print(f"  {'plain Faust':15s}{rival:8.2f}")


if __name__ == "__main__":
    main()
