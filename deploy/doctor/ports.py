"""Checks of the ports that our parts listen on."""

import errno
import http.client
import socket
from collections.abc import Iterator
from typing import Any

from deploy.doctor.check import Context, Finding, check, fail, ok, warn
from schemas.web.address import reachable

_OURS_SECONDS = 1.0


@check("ports")
def look_at_ports(context: Context) -> list[Finding]:
    """Whether the ports of the settings are free, or one of our parts listens there already."""
    by_port: dict[tuple[str, int], list[str]] = {}
    for key, host, port in _ports(context.known):
        if port:
            by_port.setdefault((host, port), []).append(key)
    found = [_port(host, port, " and ".join(keys)) for (host, port), keys in sorted(by_port.items())]
    return found or [ok("no port is fixed")]


def _ports(settings: Any) -> Iterator[tuple[str, str, int]]:
    """(key, host, port) of every part that listens: each section with a port."""
    for section in type(settings).model_fields:
        part = getattr(settings, section)
        for name in ("port", "web_port", "metrics_port"):
            host = getattr(part, name.replace("port", "host"), None)
            if isinstance(host, str) and isinstance(getattr(part, name, None), int):
                yield f"{section}.{name}", host, getattr(part, name)


def _port(host: str, port: int, keys: str) -> Finding:
    try:
        (family, kind, protocol, _, address), *_ = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        return fail(f"{keys}: {host} is no address of this machine ({error.strerror})", "Give another host.")
    with socket.socket(family, kind, protocol) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(address)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                return fail(f"{keys}: {host}:{port}: {error.strerror}", "Give another host or port.")
        else:
            return ok(f"{keys}: {host}:{port} is free")
    if _is_ours(reachable(host), port):
        return ok(f"{keys}: {host}:{port} is taken, by a part of Sigmawatch that runs")
    return warn(
        f"{keys}: {host}:{port} is taken by another program",
        f"Give another with --set {keys.partition(' ')[0]}=N.",
    )


def _is_ours(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=_OURS_SECONDS)
    try:
        connection.request("GET", "/livez")
        return connection.getresponse().status in (http.client.OK, http.client.SERVICE_UNAVAILABLE)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
