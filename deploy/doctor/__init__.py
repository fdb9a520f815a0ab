"""`sigmawatch doctor`: checks of an installation, each a small function in a registry.

`check` says what a check is and keeps the registry; `running` runs them side by side within time limits; the other modules
are the checks, by what they look at. To add one, write a function with `@check(...)` in one of them; a new module
is to be named in `all_checks`.
"""

from deploy.doctor.check import Check, Context, Finding, Report, Status, registered


def all_checks() -> tuple[Check, ...]:
    """Every check, in the order in which they are told."""
    from deploy.doctor import broker, configuration, database, files, machine, ports  # noqa: F401, PLC0415

    return registered()


__all__ = ["Check", "Context", "Finding", "Report", "Status", "all_checks"]
