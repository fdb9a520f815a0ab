"""Settings of the query API."""

from typing import Annotated

from pydantic import AfterValidator, Field

from schemas.settings_devices import WebSettings
from schemas.settings_kinds import Duration, Port, Texts, Token


def _http_url(value: str) -> str:
    if not value.startswith(("http://", "https://")) or "@" in value or any(sign in value for sign in " ?#"):
        raise ValueError("expected http://HOST:PORT")
    return value.rstrip("/")


def _http_urls(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_http_url(value) for value in values)


HttpUrl = Annotated[str, AfterValidator(_http_url)]
HttpUrls = Annotated[Texts, AfterValidator(_http_urls)]


class ApiSettings(WebSettings):
    """Questions by HTTP, live events, and the dashboard."""

    port: Port = Field(default=8090, description="Port to listen on; 0 is any free one.")
    query_timeout: Duration = Field(
        default=20.0, gt=0, le=600, description="Longest time that a question may keep the database busy."
    )
    processors: HttpUrls = Field(
        default=(),
        description="Web views of the processors (http://HOST:6066), with commas: where /api/v1/pipeline asks.",
    )
    control: HttpUrl | None = Field(
        default=None,
        description="Control API of a running simulation (http://HOST:PORT); its paths are then served beside the query "
        "API, and in full below /control.",
    )
    control_token: Token | None = Field(default=None, description="Its token, where it asks for one.")
