"""`sink mqtt`: anomalies on an MQTT broker."""
