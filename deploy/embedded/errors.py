"""Errors of the embedded parts.

SigmawatchError
└── EmbeddedError            a broker or database of the one-machine stack could not do its work
    ├── UnavailableError     what is asked for cannot be had on this machine
    ├── FolderInUseError     another running process owns the folder
    ├── StartError           a program ended or stayed silent before it was ready
    └── ForeignDataError     a data folder was written by another kind or version of database
"""

from schemas.errors import SigmawatchError


class EmbeddedError(SigmawatchError):
    """A broker or database of the one-machine stack could not do its work."""


class UnavailableError(EmbeddedError):
    """What is asked for cannot be had on this machine; the message gives the reason."""


class FolderInUseError(EmbeddedError):
    """Another running process owns the folder; `pid` is its process id where it is known."""

    def __init__(self, message: str, remedy: str = "", *, pid: int | None = None) -> None:
        super().__init__(message, remedy)
        self.pid = pid


class StartError(EmbeddedError):
    """A program ended or stayed silent before it was ready; the message shows the end of its log."""


class ForeignDataError(EmbeddedError):
    """A data folder was written by another kind or version of database, and is left untouched."""
