"""Which `SchemaSource` the settings ask for."""

from schemas.catalogue import Catalogue, SchemaSource
from schemas.settings import Settings


def schema_source(settings: Settings) -> SchemaSource:
    """The registry where `schema_registry.url` is set, else the catalogue. Connects to nothing yet.

    Raises:
        ConfigError: an option of the registry is not usable.
    """
    if settings.schema_registry.url is None:
        return Catalogue()
    # Only here: the registry's client is slow to import (HTTP, OAuth), and most programs do without.
    from schemas.registry import RegistryClient  # noqa: PLC0415

    return RegistryClient(settings.schema_registry, settings.topics)
