"""Kafka -> TimescaleDB or PostgreSQL, with exactly-once effect.

`worker` consumes, `plan` decides what of a batch is stored, `copy_format` makes PostgreSQL's binary rows,
`tables` stores the rows of each kind, `writer` wraps them and the moved offsets into one fenced transaction,
`migrate` builds the tables.
"""
