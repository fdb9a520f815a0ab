"""What `sigmawatch up` starts on one machine: brokers, a database, and how they are surely stopped."""

from deploy.embedded.errors import (
    EmbeddedError,
    FolderInUseError,
    ForeignDataError,
    StartError,
    UnavailableError,
)
from deploy.embedded.kafka import KafkaBroker
from deploy.embedded.kafka_jars import kafka_available
from deploy.embedded.paths import FolderLock, free_port, port_answers
from deploy.embedded.postgres import EmbeddedPostgres
from deploy.embedded.process import Identity, ManagedProcess
from deploy.embedded.purge import purge, running
from deploy.embedded.tansu import TansuBroker
from deploy.folders import cache_folder, state_folder

__all__ = [
    "EmbeddedError",
    "EmbeddedPostgres",
    "FolderInUseError",
    "FolderLock",
    "ForeignDataError",
    "Identity",
    "KafkaBroker",
    "ManagedProcess",
    "StartError",
    "TansuBroker",
    "UnavailableError",
    "cache_folder",
    "free_port",
    "kafka_available",
    "port_answers",
    "purge",
    "running",
    "state_folder",
]
