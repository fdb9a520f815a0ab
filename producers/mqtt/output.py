"""A fleet on an MQTT broker, in Kafka's place: readings and statuses go out, commands come in."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import structlog

from producers.batches import ReadingBatch
from producers.clock import Clock
from producers.control.shards import Shard
from producers.mqtt.commands import CommandDesk
from producers.mqtt.outbox import Outbox
from producers.mqtt.payloads import DataMessages, require_publishable, simulator_payload
from producers.mqtt.sender import Link, Sender
from producers.mqtt.statuses import Statuses
from producers.mqtt.topics import Topics
from producers.publish import PartitionCounts
from producers.simulation.control import CommandQueue
from producers.simulation.device_fleet import DeviceFleet
from schemas.mqtt.address import parse_address
from schemas.mqtt.link import LinkOptions
from schemas.mqtt.publishing import Message, PublishingLink
from schemas.readings import Device
from schemas.settings import MqttSettings

_LOG = structlog.get_logger(__name__)

_SESSION_SECONDS = 60
"""How long the broker keeps commands for a simulator whose connection is lost (MQTT 5): older ones are stale."""


class MqttOutput:
    """A `producers.simulation.simulator.Output` on an MQTT broker.

    While the broker is away readings wait in the outbox; when that is full, the simulation waits.

    Args:
        fleet: whose readings it gets.
        outbox: takes messages.
        topics: where to.
        statuses: makes the devices' statuses.
        desk: has the answers to commands.
        sender: empties the outbox.
    """

    def __init__(
        self,
        fleet: DeviceFleet,
        outbox: Outbox,
        topics: Topics,
        statuses: Statuses,
        desk: CommandDesk,
        sender: Sender,
    ) -> None:
        self._fleet = fleet
        self._outbox = outbox
        self._topics = topics
        self._statuses = statuses
        self._desk = desk
        self._sender = sender
        self._messages = DataMessages(fleet.table, fleet.interval_us)

    @property
    def connected(self) -> bool:
        """Whether the broker is there."""
        return self._sender.connected

    @property
    def acknowledged(self) -> int:
        """Readings of the messages that the broker has."""
        return self._outbox.acknowledged

    @property
    def by_partition(self) -> PartitionCounts:
        """MQTT has no partitions."""
        return {}

    def announce(self, devices: Sequence[Device], _now_us: int) -> None:
        """Publish statuses of devices that are new or changed; they are queued before the readings that follow.

        Raises:
            ConfigError: a metric has the name of another field of the messages.
            SigmawatchError: as `publish`.
        """
        require_publishable(devices)
        self._outbox.put(self._statuses.of(device.device_id for device in devices))

    def publish(self, batch: ReadingBatch, _until_us: int, _now_us: int) -> None:
        """Queue a batch in its order; waits while the outbox is full.

        Raises:
            InputError: a value is no number.
            SigmawatchError: the broker refuses us, or a message, for good.
        """
        if len(batch):
            self._outbox.put(
                Message(self._topics.data(each.device_id), each.payload, readings=each.readings)
                for each in self._messages.of(batch)
            )

    def tend(self, _time_us: int) -> None:
        """Publish what changed but readings: a `Chore`.

        Raises:
            SigmawatchError: as `publish`.
        """
        if self._sender.forgotten.is_set():
            self._sender.forgotten.clear()
            self._outbox.put(self._statuses.all())
        for device_id, answer in self._desk.answers():
            self._outbox.put(self._statuses.answer(device_id, answer))
        self._outbox.put(self._statuses.changes())

    def finish(self, now_us: int) -> None:
        """Nothing is held back."""

    def flush(self) -> None:
        """Wait until the broker has everything.

        Raises:
            SigmawatchError: as `publish`.
        """
        if len(self._outbox) and not self.connected:
            _LOG.warning("waiting until the MQTT broker has everything", messages=len(self._outbox))
        self._outbox.flush()


@contextmanager
def mqtt_output(
    settings: MqttSettings,
    fleet: DeviceFleet,
    queue: CommandQueue,
    shard: Shard,
    clock: Clock,
    new_link: Callable[[LinkOptions, Message], Link] = PublishingLink,
) -> Iterator[MqttOutput]:
    """Publishing by MQTT while the block runs; the broker may come later. At its end all devices go offline.

    A block left by an exception hangs up: the broker publishes the last will.

    Args:
        settings: `url` among them.
        fleet: the devices.
        queue: commands go into it.
        shard: which part of the whole the fleet is.
        clock: the time.
        new_link: makes the connection of its options and its last will; replaced in tests.

    Raises:
        ConfigError: the settings make no sense.
    """
    topics = Topics(settings.prefix)
    client_id = (
        settings.client_id if shard.is_whole else f"{settings.client_id}-{shard.number}-of-{shard.shards}"
    )
    online, offline = (
        Message(topics.simulator(client_id), simulator_payload(client_id, online=each), retain=True)
        for each in (True, False)
    )
    link = new_link(_link_options(settings, client_id, topics), offline)
    outbox = Outbox(settings.max_queued, link.wake)
    desk = CommandDesk(topics, fleet.population, queue)
    sender = Sender(link, outbox, online, settings.max_in_flight, desk.take, clock)
    statuses = Statuses(fleet, topics, client_id, clock)
    sender.start()
    try:
        yield MqttOutput(fleet, outbox, topics, statuses, desk, sender)
    except BaseException as error:
        sender.abandon()
        if len(outbox):
            error.add_note(f"{len(outbox)} messages may not have reached the MQTT broker")
        raise
    sender.close([*statuses.farewell(), offline])


def _link_options(settings: MqttSettings, client_id: str, topics: Topics) -> LinkOptions:
    address = parse_address(settings.url, settings, "mqtt.url")
    _LOG.info("publishing by MQTT", broker=str(address), topics=topics.data("+"), client_id=client_id)
    return LinkOptions(
        address=address,
        client_id=client_id,
        filters=(topics.commands,),
        mqtt5=settings.protocol == "5",
        session_expiry=_SESSION_SECONDS,
        keepalive=round(settings.keepalive),
        section="mqtt",
        persistent=False,
    )
