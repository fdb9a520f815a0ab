"""sensor-log-generator's files, config.yaml and identity.json, as they are."""
