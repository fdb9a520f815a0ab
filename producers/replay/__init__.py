"""Replay: files of readings, and recorded topics, onto Kafka."""
