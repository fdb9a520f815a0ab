"""Parts that put readings on Kafka."""
