"""Dead letters: what `sigmawatch dlq` lists, shows and puts back.

Pure: `letter` (a message of a dead-letter topic), `dissect` (its bytes, as far as they can be read), `history` (what was
put back, and what waits), `plan` (what a redrive does). Shells: `reading` (Kafka), `planning` (a plan of what Kafka holds),
`redrive` (transactions).
"""
