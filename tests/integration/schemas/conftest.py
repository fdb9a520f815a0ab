"""Clients of the broker at hand."""

import logging

import pytest
from confluent_kafka.admin import AdminClient

from schemas.kafka import client_config, new_client
from schemas.settings import KafkaSettings

logging.getLogger("librdkafka").setLevel(logging.CRITICAL)  # brokers come and go here


@pytest.fixture(scope="session")
def kafka(broker):
    """The broker's settings."""
    return KafkaSettings(bootstrap_servers=broker.bootstrap_servers)


@pytest.fixture(scope="session")
def admin(kafka):
    return new_client(AdminClient, client_config(kafka))
