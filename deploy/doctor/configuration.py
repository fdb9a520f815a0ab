"""Checks of the settings: file, environment, unknown keys."""

import os
import re

from deploy.doctor.check import Context, Finding, check, fail, ok, warn
from schemas.settings import OTHER_VARIABLES, SettingsError

_PREFIX = "SIGMAWATCH_"
_SECRETS = re.compile(rb"://[^/\s:]*:[^@\s]+@|(password|secret|token)[\w.]*[\"']?\s*:\s*\S", re.IGNORECASE)


@check("configuration", needs_settings=False)
def look_at_settings(context: Context) -> list[Finding]:
    """File, environment and flags: every unknown key and bad value."""
    if context.problem is not None:
        problems = context.problem.problems if isinstance(context.problem, SettingsError) else ()
        remedy = "`sigmawatch settings` lists them all."
        if not problems:
            return [fail(context.problem.message, context.problem.remedy or remedy)]
        return [fail(problem, remedy) for problem in problems]
    environ = os.environ if context.environ is None else context.environ
    variables = sorted(name for name in environ if name.startswith(_PREFIX) and name not in OTHER_VARIABLES)
    file = f"file {context.config}" if context.config else "no file"
    named = f", of the environment {', '.join(variables)}" if variables else ", nothing of the environment"
    found = [ok(file + named)]
    if context.config is not None and _shows_secrets(context):
        found.append(
            warn(
                f"{context.config} has secrets in it, and others than its owner can read it",
                f"chmod 600 {context.config}, or give secrets by environment variables.",
            )
        )
    return found


def _shows_secrets(context: Context) -> bool:
    assert context.config is not None
    try:
        readable = context.config.stat().st_mode & 0o044
        return bool(readable) and _SECRETS.search(context.config.read_bytes()) is not None
    except OSError:
        return False
