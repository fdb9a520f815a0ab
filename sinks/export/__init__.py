"""Readings and anomalies out of the database into files: training data for others' models, and for `sigmawatch replay`.

`labels` joins each reading with the episode that it belongs to; `text` makes CSV and JSON lines, `parquet` Parquet;
`exporting` moves the rows from the one to the other. Rows come from a cursor in the server (`sinks.queries.streaming`), some
thousand at a time, so that an export of any size needs little memory.
"""
