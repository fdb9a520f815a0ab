"""Outputs: readings to a file or to standard output, in a form that replay reads back to exactly the same."""

from producers.outputs.output import FORMATS, ReadingOutput, open_output

__all__ = ["FORMATS", "ReadingOutput", "open_output"]
