"""The batch consumer overrides members of Faust and aiokafka that are nobody's promise.

When one of them changes, this test fails: read docs/decisions/0003-batch-consumer.md, look whether the override's
reason still holds, run the chaos tests, and only then record the new fingerprint (the failure prints it).
"""

import hashlib
import inspect

import aiokafka.consumer.fetcher as fetcher
import pytest
from faust.app.base import App
from faust.tables.base import Collection
from faust.tables.recovery import Recovery
from faust.transport.consumer import Consumer
from faust.transport.drivers import aiokafka as driver

FINGERPRINTS = {
    driver.AIOKafkaConsumerThread._create_worker_consumer: "c2701bfc3e6f",
    Consumer.on_buffer_full: "c8961679e0bc",
    driver.AIOKafkaConsumerThread._commit: "932852ce7a23",
    driver.AIOKafkaConsumerThread._fetch_records: "39a2c6c79fc1",
    driver.AIOKafkaConsumerThread.getmany: "26fc5fc9f3b6",
    driver.Consumer._new_consumer_thread: "0870ec53dea7",
    driver.Consumer.on_stop: "173f86b366f3",
    Consumer.getmany: "4b168d84882a",
    Consumer._wait_next_records: "6218e1969a63",
    Consumer.perform_seek: "0e8c130ff4b0",
    Consumer.resume_flow: "db59630f25b5",
    Consumer.stop_flow: "cf7e875a2b0d",
    Consumer.on_partitions_revoked: "d04b7ae72c6f",
    Consumer.on_stop: "45b1d2210ce2",
    Consumer.ack: "5fcf41cf4515",
    Consumer._filter_tps_with_pending_acks: "f6f923977423",
    Consumer._drain_messages: "44a2500309e8",
    App._new_transport: "42db531312dd",
    App._on_partitions_revoked: "d5c895bbe57d",
    App._on_partitions_assigned: "de932b7927db",
    Collection.apply_changelog_batch: "b980a78d3ae9",
    Collection.on_rebalance: "0812ad692171",
    Recovery._restart_recovery: "6bd8a8558a2d",
    Recovery.on_recovery_completed: "6ef567acf072",
    Recovery.on_rebalance: "aa4d997a1795",
    fetcher.FetchResult: "d7db13f06de8",
    fetcher.PartitionRecords: "94aa0da0dbec",
    fetcher.Fetcher.fetched_records: "be4348896b9b",
    fetcher.Fetcher._proc_fetch_request: "59bf948fff47",
}


def fingerprint(member):
    source = inspect.getsource(getattr(member, "fun", member))  # mode wraps its tasks
    return hashlib.sha256(source.encode()).hexdigest()[:12]


@pytest.mark.parametrize(
    "member", FINGERPRINTS, ids=lambda member: getattr(member, "fun", member).__qualname__
)
def test_overridden_member_is_the_one_we_know(member):
    assert fingerprint(member) == FINGERPRINTS[member]
