"""A processor worker: the Faust app in its own process, until it is told to stop."""

import logging
import os
import sys

import faust
import structlog

from processors.app import create_app
from processors.metrics import Metrics
from processors.waiting import wait_for_topics
from schemas.codec import Codec
from schemas.settings import Settings

log = structlog.get_logger(__name__)


class Worker(faust.Worker):
    """Faust's worker without its own logging set-up, banner and spinner: the logs are `schemas.logging`'s."""

    def _setup_logging(self) -> None:
        self.spinner = None

    def on_setup_root_logger(self, logger: logging.Logger, level: int) -> None:
        """Nothing: logging is set up by now."""


def run_worker(settings: Settings, codec: Codec) -> int:
    """Run until SIGTERM or SIGINT; partitions are checkpointed before they are let go.

    Blocks; topics and broker are waited for. Returns the process's exit code: 0 after a stop that was asked for.

    Raises:
        TopicError: readings and changelog differ in their number of partitions.
        ConfigError: an option that a client does not know.
    """
    if not wait_for_topics(settings):
        return 0
    app = create_app(settings, codec, Metrics())
    worker = Worker(app, loglevel=logging.getLevelName(logging.getLogger().level), redirect_stdouts=False)
    log.info(
        "processor starts", group=settings.processor.group, topic=settings.topics.readings, pid=os.getpid()
    )
    try:
        worker.execute_from_commandline()
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        sys.stdout.flush()
    return 0
