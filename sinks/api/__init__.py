"""The query API: readings, anomalies, devices, quality and the pipeline's state over HTTP, and live.

`app` puts it together. `fleet` keeps the devices as they are now, `live` reads Kafka once for all clients,
`registry_view` shows the schemas as a registry does. The routes are by subject; `views` has the answers' shapes.
"""
