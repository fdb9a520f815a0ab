"""MQTT messages as readings onto Kafka."""
