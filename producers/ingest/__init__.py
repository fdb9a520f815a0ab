"""Readings by HTTP, onto Kafka."""
