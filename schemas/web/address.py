"""Hosts that are listened on, as addresses for those who connect."""

_REACHED_AT = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - only asked whether


def reachable(host: str) -> str:
    """Where this machine reaches what listens on `host`: what listens on every address is on its own, too."""
    return _REACHED_AT.get(host, host)


def in_url(host: str) -> str:
    """A host as URLs have it: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host
