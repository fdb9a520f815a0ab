"""MQTT: what bridge and simulation share of a connection, and simulated devices that publish and obey."""
