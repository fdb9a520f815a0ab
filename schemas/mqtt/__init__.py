"""Connections to an MQTT broker, for who reads from it and who publishes to it."""
