"""Questions to the database, for people's programs: the query API, the dashboard, `sigmawatch read` and `export`.

`selection` says what is asked for, in frozen dataclasses; the modules beside it make each question's SQL and rows:

- `anomalies`  episodes, newest first, by pages
- `devices`    the fleet, newest readings, open anomalies; cheap with many thousands of devices
- `series`     one series for a diagram: downsampled to its pixels, with its expected band (`band`)
- `readings`   the newest readings, one by one
- `streaming`  whole stretches, for exports: never in memory at once
- `statistics` the database itself

Functions of a connection (`connection.reader`): they block as long as the server takes, within its time limit, and raise
psycopg.Error. Times are aware datetimes in UTC. Pages go by cursor (`cursors`): the key of the last row, so that
rows which come in between shift nothing.
"""
