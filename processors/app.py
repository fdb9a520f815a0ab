"""The Faust app: groups, assignment, tables, changelog and web are Faust's; readings pass through it in batches."""

import asyncio
import socket
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import faust
import structlog
from faust.types.auth import CredentialsArg

from processors.batches.consumer import Batch, BatchTransport
from processors.handler import ProcessorHandler
from processors.metrics import Metrics
from processors.profiles import profile_renewal
from processors.restoring import changelog_reader
from processors.routing import DeviceRouter
from processors.table import RawSchema, SeriesTable
from processors.web import add_pages
from schemas.codec import Codec
from schemas.dead_letters import TimeBounds
from schemas.errors import ConfigError
from schemas.kafka import Publisher, client_config
from schemas.settings import Settings
from schemas.topics import changelog_topic

log = structlog.get_logger(__name__)

_QUEUED_BATCHES = 8
"""Batches that may wait for the agent; each is up to `fetch_bytes` of one partition."""

TABLE = "series"

_DEVICES_SECONDS = 5.0
"""Time between two looks at changed devices where the rules file is not looked at."""


class ProcessorApp(faust.App):
    """A Faust app with the batch transport; `batch_handler` is what the consumer hands batches to."""

    batch_handler: ProcessorHandler

    def _new_transport(self) -> Any:
        return BatchTransport(self.conf.broker_consumer, self)


def create_app(settings: Settings, codec: Codec, metrics: Metrics) -> ProcessorApp:
    """Build the app; nothing is connected before it is started.

    Raises:
        ConfigError: a librdkafka security option that Faust's client has no counterpart for.
    """
    processor, topics = settings.processor, settings.topics
    app = ProcessorApp(
        processor.group,
        broker=[f"kafka://{host.strip()}" for host in settings.kafka.bootstrap_servers.split(",")],
        broker_credentials=faust_credentials(dict(settings.kafka.options)),
        broker_client_id="sigmawatch-processor",
        broker_session_timeout=processor.session_timeout,
        broker_heartbeat_interval=processor.heartbeat,
        broker_request_timeout=max(90.0, processor.session_timeout),
        broker_rebalance_timeout=max(60.0, processor.session_timeout),
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=processor.fetch_bytes,
        topic_partitions=topics.partitions,
        topic_replication_factor=topics.replication_factor,
        topic_disable_leader=True,
        topic_allow_declare=False,
        table_standby_replicas=0,
        store="memory://",
        Router=DeviceRouter,
        stream_wait_empty=False,
        datadir=tempfile.gettempdir(),
        web_host=_advertised(settings),
        web_bind=processor.web_host,
        web_port=processor.web_port,
        worker_redirect_stdouts=False,
        autodiscover=False,
    )
    publisher = Publisher(
        client_config(settings.kafka, **{"client.id": "sigmawatch-processor", "linger.ms": 5})
    )
    handler = ProcessorHandler(
        topic=topics.readings,
        anomalies_topic=topics.anomalies,
        changelog_topic=changelog_topic(processor.group),
        group=processor.group,
        renewal=profile_renewal(settings, metrics),
        bounds=TimeBounds(max_ahead_us=round(processor.max_ahead * 1e6)),
        checkpoint_readings=processor.checkpoint_readings,
        codec=codec,
        publisher=publisher,
        restorer=changelog_reader(settings, changelog_topic(processor.group)),
        metrics=metrics,
    )
    app.batch_handler = handler
    _add_table(app, handler)
    _add_agent(app, handler, topics.readings)
    _add_checkpoints(app, handler, processor.checkpoint_interval)
    _add_renewal(app, handler, processor.reload)
    add_pages(app, handler, metrics, TABLE)
    return app


def _advertised(settings: Settings) -> str:
    """The host by which other workers ask this one for a device's series."""
    processor = settings.processor
    if processor.web_advertised_host:
        return processor.web_advertised_host
    return socket.gethostname() if processor.web_host in _EVERY_ADDRESS else processor.web_host


_EVERY_ADDRESS = {"0.0.0.0", "::"}  # noqa: S104 - looked for, not bound


def _add_table(app: ProcessorApp, handler: ProcessorHandler) -> None:
    raw = RawSchema(key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
    table = SeriesTable(app, name=TABLE, schema=raw, key_type=bytes, value_type=bytes)
    table.handler = handler
    app.tables.add(table)


def _add_agent(app: ProcessorApp, handler: ProcessorHandler, topic: str) -> None:
    readings = app.topic(topic, schema=RawSchema(), maxsize=_QUEUED_BATCHES)

    @app.agent(readings, name="readings")
    async def process(stream: Any) -> None:
        """Apply whole batches; any error stops the worker, whose state lies safe in the changelog."""
        async for batch in stream:
            assert isinstance(batch, Batch)
            try:
                await handler.on_batch(batch)
            except Exception as error:
                log.exception("processing failed, stopping")
                await app.crash(error)
                return


def _add_checkpoints(app: ProcessorApp, handler: ProcessorHandler, interval: float) -> None:
    @app.task  # type: ignore[untyped-decorator]
    async def checkpoints() -> None:
        while not app.should_stop:
            await asyncio.sleep(interval)
            try:
                await handler.checkpoint()
            except Exception as error:
                log.exception("checkpoint failed, stopping")
                await app.crash(error)
                return


def _add_renewal(app: ProcessorApp, handler: ProcessorHandler, interval: float) -> None:
    @app.task  # type: ignore[untyped-decorator]
    async def renewal() -> None:
        while not app.should_stop:
            await asyncio.sleep(interval or _DEVICES_SECONDS)
            try:
                await handler.renew(rules=interval > 0)
            except Exception as error:
                log.exception("rules or devices could not be renewed, stopping")
                await app.crash(error)
                return


_MECHANISMS = {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"}


def faust_credentials(options: Mapping[str, str]) -> CredentialsArg | None:
    """The librdkafka security options as Faust's client takes them.

    Raises:
        ConfigError: a mechanism, protocol or kind of key that Faust's client does not know, or a file that is none.
    """
    protocol = options.get("security.protocol", "plaintext").upper()
    if protocol == "PLAINTEXT":
        return None
    context = _ssl_context(options) if protocol in {"SSL", "SASL_SSL"} else None
    if protocol == "SSL":
        return faust.SSLCredentials(context)
    if protocol not in {"SASL_SSL", "SASL_PLAINTEXT"}:
        raise ConfigError(
            f"kafka.options: security.protocol is {protocol!r}",
            "Use plaintext, ssl, sasl_plaintext or sasl_ssl.",
        )
    mechanism = options.get("sasl.mechanism", options.get("sasl.mechanisms", "PLAIN")).upper()
    if mechanism not in _MECHANISMS:
        raise ConfigError(
            f"kafka.options: sasl.mechanism {mechanism!r} is not known to the processor's client",
            f"Use one of {', '.join(sorted(_MECHANISMS))}.",
        )
    return faust.SASLCredentials(
        username=options.get("sasl.username", ""),
        password=options.get("sasl.password", ""),
        ssl_context=context,
        mechanism=mechanism,
    )


_ONLY_LIBRDKAFKAS = ("ssl.certificate.pem", "ssl.key.pem", "ssl.keystore.location", "ssl.engine.location")


def _ssl_context(options: Mapping[str, str]) -> ssl.SSLContext:
    for name in _ONLY_LIBRDKAFKAS:
        if name in options:
            raise ConfigError(
                f"kafka.options: {name} is not known to the processor's client",
                "Use PEM files: ssl.certificate.location and ssl.key.location.",
            )
    authorities = options.get("ssl.ca.location")
    if authorities == "probe":  # librdkafka's word for the system's
        authorities = None
    folder = authorities is not None and Path(authorities).is_dir()
    try:
        context = ssl.create_default_context(
            cafile=None if folder else authorities,
            capath=authorities if folder else None,
            cadata=options.get("ssl.ca.pem"),
        )
        if "ssl.certificate.location" in options:
            context.load_cert_chain(
                options["ssl.certificate.location"],
                options.get("ssl.key.location"),
                options.get("ssl.key.password", ""),  # without one OpenSSL would ask the terminal
            )
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"kafka.options: the ssl files cannot be used: {error}",
            "See ssl.ca.location, ssl.certificate.location, ssl.key.location and ssl.key.password.",
        ) from error
    if options.get("ssl.endpoint.identification.algorithm", "https").lower() == "none":
        context.check_hostname = False
    if options.get("enable.ssl.certificate.verification", "true").lower() == "false":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
