"""Speaking to a running simulator's control API."""

import json
import os
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urlsplit

import httpx

from schemas.errors import ConfigError, InputError, SigmawatchError
from schemas.web.address import in_url, reachable

if TYPE_CHECKING:
    from schemas.settings import Settings

_PREFIX = "/api/v1"
_BELOW = "/control"
_PAGE = 1000
_REFUSED_INPUT = {404, 409, 422}
_NOT_DONE = {404, 405}  # nobody has carried the command out: it may be said again


class ControlClient:
    """Calls of the API; every error of it is one of ours. Use it as a context manager.

    Args:
        url: http://HOST:PORT of the simulator.
        token: what it asks for, if it does.
        timeout: seconds to wait for an answer.

    Raises:
        ConfigError: the url is none.
    """

    def __init__(self, url: str, token: str | None = None, timeout: float = 15.0) -> None:
        self._url = url.rstrip("/")
        self._below = ""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        try:
            parts = urlsplit(self._url)
            usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        except ValueError:  # a broken address or port
            usable = False
        if not usable:
            raise ConfigError(f"--url {url}", "Give it as http://127.0.0.1:8090.")
        self._http = httpx.Client(base_url=self._url, headers=headers, timeout=timeout, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
    ) -> Any:
        """The data of an answer.

        Args:
            method: of HTTP.
            path: behind the prefix, as /devices.
            body: of the request, as JSON.
            query: parameters; None is not given.

        Raises:
            InputError: what was asked for is not there, is there already, or makes no sense.
            SigmawatchError: nobody answers, or it refuses.
        """
        return self._answer(method, path, body, query).json()["data"]

    def pages(self, path: str, query: Mapping[str, Any]) -> Iterator[Any]:
        """The entries of a long list, each with an `id` or `device_id`, as they come.

        Raises:
            InputError, SigmawatchError: as `call`.
        """
        after = None
        while True:
            page = self.call("GET", path, query={**query, "limit": _PAGE, "after": after})
            if page and after is not None and page[0]["device_id"] <= after:
                raise SigmawatchError(f"{self._url} gives the same page again", "Is it an older simulator?")
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1]["device_id"]

    def _answer(
        self, method: str, path: str, body: Mapping[str, Any] | None, query: Mapping[str, Any] | None
    ) -> httpx.Response:
        answer = self._ask(method, f"{self._below}{_PREFIX}{path}", body, query)
        if (
            not self._below
            and _envelope(answer) is None
            and (method == "GET" or answer.status_code in _NOT_DONE)
        ):
            # `up` and `serve` have answers of their own at some of its paths, and the whole control API below another.
            below = self._ask(method, f"{_BELOW}{_PREFIX}{path}", body, query)
            if _envelope(below) is not None:
                self._below, answer = _BELOW, below
        return self._checked(answer)

    def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None, query: Mapping[str, Any] | None
    ) -> httpx.Response:
        given = {key: value for key, value in (query or {}).items() if value is not None}
        try:
            return self._http.request(method, path, json=body, params=given)
        except httpx.TimeoutException as error:
            raise SigmawatchError(f"{self._url} does not answer", "Is the simulator very busy?") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise SigmawatchError(
                f"nothing answers at {self._url}: {error or type(error).__name__}",
                "Is `sigmawatch simulate --control` running? Name another place with --url.",
            ) from error

    def _checked(self, answer: httpx.Response) -> httpx.Response:
        """The answer, if it is a good one."""
        envelope = _envelope(answer)
        if envelope is None:
            raise SigmawatchError(
                f"{self._url} is no simulator of ours: it answers {answer.status_code}",
                "Name the right place with --url.",
            )
        if envelope["success"]:
            return answer
        said = str(envelope.get("message"))
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            raise SigmawatchError(
                said, "Put the token into SIGMAWATCH_CONTROL__TOKEN, or name a variable with --token-env."
            )
        raise InputError(said) if answer.status_code in _REFUSED_INPUT else SigmawatchError(said)


def client_of(settings: "Settings", url: str | None, token_env: str | None) -> ControlClient:
    """The client for what the settings and flags say.

    Raises:
        ConfigError: the variable is not set, or the url is none.
    """
    control = settings.control
    token = None if control.token is None else control.token.get_secret_value()
    if token_env is not None:
        token = os.environ.get(token_env, "").strip()
        if not token:
            raise ConfigError(f"--token-env {token_env}: there is no such environment variable", "Set it.")
    # What listens on every address is on this machine, too.
    return ControlClient(
        url or f"http://{in_url(reachable(control.host))}:{control.port}", token, control.timeout + 5.0
    )


def device_path(device_id: str, rest: str = "") -> str:
    """The path of a device."""
    return f"/devices/{quote(device_id, safe='')}{rest}"


def _envelope(answer: httpx.Response) -> dict[str, Any] | None:
    try:
        body = answer.json()
    except (json.JSONDecodeError, UnicodeDecodeError):
        return None
    return body if isinstance(body, dict) and "success" in body else None
