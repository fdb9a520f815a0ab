"""What only one installation in containers knows: its database's password, its API's token.

    python -m deploy.images.credentials /var/lib/sigmawatch

Either comes from the environment (POSTGRES_PASSWORD, API_TOKEN), or is kept from the last time, or is made by chance.
Each goes into a folder of its own, so that a container has only what it needs:

    password/password        for the database's image, which runs as a user of its own
    password/pgpass          the same for our parts, as PGPASSFILE
    token/token              for people
    token/settings.yaml      the same for our parts, as SIGMAWATCH_CONFIG
"""

import json
import os
import re
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

from schemas.errors import ConfigError, SigmawatchError
from schemas.settings import load_settings

_RANDOM_BYTES = 24


def write_credentials(folder: Path, environ: Mapping[str, str]) -> None:
    """Write all files; the folders are there.

    Raises:
        ConfigError: what the environment gives cannot be used.
        OSError: a file cannot be written.
    """
    password_folder, token_folder = folder / "password", folder / "token"
    password = _decided(environ.get("POSTGRES_PASSWORD"), password_folder / "password")
    token = _decided(environ.get("API_TOKEN"), token_folder / "token")
    contents = {
        password_folder / "password": (password, 0o444),
        password_folder / "pgpass": (pgpass(password), 0o600),
        token_folder / "token": (token, 0o400),
        token_folder / "settings.yaml": (token_settings(token), 0o400),
    }
    for path, (content, mode) in contents.items():
        _replace(path, content + "\n", mode)


def pgpass(password: str) -> str:
    """The line of a password file of libpq that holds for every server.

    Raises:
        ConfigError: the password has a line break, which such a file cannot have.
    """
    if re.search(r"[\r\n\0]", password):
        raise ConfigError("POSTGRES_PASSWORD has a line break", "Choose one without.")
    return "*:*:*:*:" + re.sub(r"([\\:])", r"\\\1", password)


def token_settings(token: str) -> str:
    """Settings, in YAML, of a server that asks for the token, and of a simulation that it controls.

    Raises:
        ConfigError: the token cannot be one.
    """
    try:
        load_settings(None, {"api.token": token}, {})
    except ConfigError:
        raise ConfigError("API_TOKEN", "Give at least 16 ASCII characters without spaces.") from None
    return json.dumps({"api": {"token": token, "control_token": token}, "control": {"token": token}})


def _decided(given: str | None, path: Path) -> str:
    if given:
        return given
    if path.exists():
        return path.read_text("utf-8").removesuffix("\n")
    return secrets.token_urlsafe(_RANDOM_BYTES)


def _replace(path: Path, content: str, mode: int) -> None:
    """In one step, and never readable by more than `mode` says."""
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    new.touch(0o600, exist_ok=False)
    new.write_text(content, "utf-8")
    new.chmod(mode)
    new.replace(path)


def main(folder: str) -> int:
    """0, or 1 with the reason on stderr."""
    try:
        write_credentials(Path(folder), os.environ)
    except (SigmawatchError, OSError, UnicodeError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    print(f"dashboard and API ask for the token in {folder}/token/token")  # noqa: T201 -- for whom `up` shows it
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
