"""Whole fetched record batches through Faust: read position and commits are owned here, the rest stays Faust's.

One rule: the broker's committed offset is the only source of the read position, and a finished checkpoint the
only source of the committed offset. See docs/decisions/0003-batch-consumer.md for each override and its reason.
"""
