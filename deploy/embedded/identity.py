"""Whom PostgreSQL runs as: it refuses to run as root, and wants a user that the system knows by name."""

from __future__ import annotations

import os
import pwd
import subprocess
from typing import TYPE_CHECKING

from deploy.embedded.errors import UnavailableError
from deploy.embedded.process import Identity, user_namespaces_work

if TYPE_CHECKING:
    from pathlib import Path

_STAND_INS = ("postgres", "nobody", "daemon")  # the first is made for it, the others are on every system


def choose_identity(*, allow_namespace: bool = True) -> Identity | None:
    """Choose whom the server runs as; None means as ourselves. Blocks some 30 ms as root, else not.

    As root that is another user inside a user namespace, where its id stands for ours, so that all files stay
    ours; where the machine forbids namespaces (or `allow_namespace` does) it is another user altogether.

    Raises:
        UnavailableError: We are nobody the system knows, and cannot become somebody.
    """
    own = os.geteuid()
    if own != 0 and _is_known(own):
        return None
    user = next((found for name in _STAND_INS if (found := _user(name)) and found.pw_uid != 0), None)
    if user is not None:
        if allow_namespace and user_namespaces_work(user.pw_uid):
            return Identity(user.pw_uid, user.pw_gid, namespace=True)
        if own == 0:
            return Identity(user.pw_uid, user.pw_gid)
    raise UnavailableError(
        f"PostgreSQL cannot run here as user id {own}: "
        + (
            f"there is none of the users {', '.join(_STAND_INS)} to take its place"
            if own == 0
            else "the system knows no such user, and user namespaces are not allowed"
        ),
        "Run as an ordinary user, or use --database with the URL of a server.",
    )


def can_reach(identity: Identity | None, path: Path) -> bool:
    """Whether the one the server runs as may enter the folder (or execute the program) `path`."""
    if identity is None or identity.namespace:
        return os.access(path, os.X_OK)
    trial = subprocess.run(
        ["/bin/sh", "-c", 'test -x "$1"', "sh", str(path)],
        user=identity.uid,
        group=identity.gid,
        extra_groups=[],
        cwd="/",
        stdin=subprocess.DEVNULL,
        check=False,
    )
    return trial.returncode == 0


def _is_known(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _user(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None
