"""Every error that Sigmawatch raises on purpose.

SigmawatchError
├── ConfigError          settings, flags, configuration files
├── InputError           a file or row that a user handed in
├── OutputClosedError    who read our output has gone: the command ends as by SIGPIPE
├── CodecError           bytes that are not a message of ours: the only error decoding raises
│   └── UnknownSchemaError
├── RegistryError        the schema registry refuses
│   └── RegistryUnavailableError   it does not answer: wait and try again
├── PublishError         the broker refused a message for good
├── TopicError           topics missing, or not as the table says
└── DatabaseError        the database refuses for good (version, rights); an outage is waited out instead

A message names the place, the remedy what to do about it; the command line prints both on one line.
"""

from schemas.dead_letters import DeadLetterReason


class SigmawatchError(Exception):
    """Base of all; `message` says what and where, `remedy` what to do."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message.rstrip('.')}. {self.remedy}" if self.remedy else self.message


class ConfigError(SigmawatchError):
    """A setting, flag or configuration file is not usable."""


class InputError(SigmawatchError):
    """A file or row that a user handed in is not usable."""


class OutputClosedError(SigmawatchError):
    """Nobody reads our output any more."""


class CodecError(SigmawatchError):
    """Bytes that are not a message of ours; `reason` is what a dead letter will say."""

    def __init__(self, message: str, reason: DeadLetterReason = DeadLetterReason.UNDECODABLE) -> None:
        super().__init__(message)
        self.reason = reason


class UnknownSchemaError(CodecError):
    """The message names a schema id that neither catalogue nor registry knows."""

    def __init__(self, schema_id: int) -> None:
        super().__init__(f"unknown schema id {schema_id}", DeadLetterReason.UNKNOWN_SCHEMA)
        self.schema_id = schema_id


class RegistryError(SigmawatchError):
    """The schema registry refuses a request."""


class RegistryUnavailableError(RegistryError):
    """The schema registry does not answer; the request may be repeated."""


class PublishError(SigmawatchError):
    """The broker refused a message for good."""


class TopicError(SigmawatchError):
    """Topics are missing, or differ from the table in `schemas.topics`."""


class DatabaseError(SigmawatchError):
    """The database refuses for good: wrong version, missing rights, foreign tables."""


def first_line(error: BaseException) -> str:
    """What an error says, without the lines of context that drivers add; its class where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
