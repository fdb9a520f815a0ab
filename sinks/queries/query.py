"""SQL with its parameters."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg


@dataclass(frozen=True, slots=True)
class Query:
    """A statement with named placeholders, and their values."""

    text: str
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def rows(self, connection: psycopg.Connection) -> list[tuple[Any, ...]]:
        """All rows; blocks."""
        return connection.execute(self.text.encode(), self.parameters).fetchall()
