"""Settings of the database: where it is, how long it keeps what, and the roles that use it."""

from typing import Annotated

from pydantic import Field, SecretStr

from schemas.settings_kinds import DatabaseUrl, Duration, Integer, Section

_DAY = 86_400.0
_MINIMUM_KEPT = 2 * _DAY
"""Whole days are dropped, and rolled up before; something has to be left between."""

Identifier = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]{0,40}$")]


class DatabaseSettings(Section):
    """PostgreSQL, best with TimescaleDB."""

    url: DatabaseUrl | None = Field(
        default=None, description="postgresql://USER:PASSWORD@HOST:PORT/DATABASE."
    )
    pool_size: Integer = Field(default=4, ge=1, le=1000, description="Connections at most, of one process.")
    connect_timeout: Duration = Field(
        default=10.0, gt=0, description="Time to wait for one connection before the next attempt."
    )
    keep_readings: Duration | None = Field(
        default=None,
        ge=_MINIMUM_KEPT,
        description="Age at which readings are dropped, a day at a time, once they are rolled up; for ever if not set.",
    )
    keep_minutes: Duration | None = Field(
        default=None,
        ge=_MINIMUM_KEPT,
        description="Age at which the rollup by minute is dropped; for ever if not set.",
    )
    keep_hours: Duration | None = Field(
        default=None,
        ge=_MINIMUM_KEPT,
        description="Age at which the rollup by hour is dropped; for ever if not set.",
    )
    compress_after: Duration = Field(
        default=7 * _DAY,
        ge=_DAY,
        description="Age at which readings are compressed; TimescaleDB's community edition alone can.",
    )
    maintain_interval: Duration = Field(
        default=60.0,
        gt=0,
        description="Time between two runs of `db maintain --loop`, and of what `up` runs.",
    )
    role_prefix: Identifier = Field(
        default="sigmawatch",
        description="Of the roles' names: PREFIX_migrator, PREFIX_writer, PREFIX_reader.",
    )
    migrator_password: SecretStr | None = Field(
        default=None, description="What `db roles` sets for the role that owns the tables."
    )
    writer_password: SecretStr | None = Field(
        default=None, description="What `db roles` sets for the role of the sinks."
    )
    reader_password: SecretStr | None = Field(
        default=None, description="What `db roles` sets for the role that reads alone."
    )
