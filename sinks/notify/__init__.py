"""`sink notify`: anomalies to people.

`decide` says who is told what and when, and does no I/O; `store` keeps what it decided in the database, in one transaction with
the offset; `deliveries` hands it over, by Apprise, and notes what became of it.
"""
