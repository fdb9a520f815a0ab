"""Parts that carry Kafka's messages to stores and people."""
