"""The pure engine: readings of one partition in, episodes and changed states out; no I/O, no clock."""
