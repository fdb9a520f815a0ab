"""Running checks side by side, each within a time limit."""

import threading
import time
from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue

from deploy.doctor.check import Check, Context, Finding, Report, Status, fail, failure, skipped
from schemas.errors import SigmawatchError

LIMIT_SECONDS = 20.0


def run_checks(
    checks: Iterable[Check],
    context: Context,
    limit: float = LIMIT_SECONDS,
    tell: Callable[[Report], None] = lambda _report: None,
) -> list[Report]:
    """Run checks, those without needs at once and the others as soon as what they need has gone well.

    A check that takes longer than its limit counts as failed and is left behind: its thread ends with the process.

    Args:
        checks: which; one whose need is not among them runs without it.
        context: what they look at.
        limit: seconds that each may take.
        tell: hears each report as it comes.

    Returns:
        A report of each, in the order of `checks`.
    """
    every = list(checks)
    names = {one.name for one in every}
    done: dict[str, Report] = {}
    came: SimpleQueue[Report] = SimpleQueue()
    begun: dict[str, float] = {}
    waiting = {one.name: one for one in every}
    while len(done) < len(every):
        for one in list(waiting.values()):
            needed = [done.get(name) for name in one.needs if name in names]
            if None in needed:
                continue
            del waiting[one.name]
            begun[one.name] = time.monotonic()
            missing = [report.name for report in needed if report is not None and not _went_well(report)]
            if missing:
                came.put(Report(one.name, (skipped(f"needs: {', '.join(missing)}"),), 0.0))
            else:
                threading.Thread(target=_run, args=(one, context, came), daemon=True).start()
        report = _next(came, begun, done, limit)
        if report is not None and report.name not in done:
            done[report.name] = report
            tell(report)
    return [done[one.name] for one in every]


def _next(
    came: "SimpleQueue[Report]", begun: dict[str, float], done: dict[str, Report], limit: float
) -> Report | None:
    """The next report, which may be that a check takes too long; None for one that came too late."""
    running = {name: at for name, at in begun.items() if name not in done}
    oldest = min(running, key=lambda name: running[name])
    try:
        return came.get(timeout=max(0.0, running[oldest] + limit - time.monotonic()))
    except Empty:
        late = fail(
            f"no answer within {limit:g} s", "Is what it looks at overloaded, or cut off by a firewall?"
        )
        return Report(oldest, (late,), limit)


def _run(one: Check, context: Context, came: "SimpleQueue[Report]") -> None:
    began = time.monotonic()
    found: tuple[Finding, ...]
    try:
        if one.needs_settings and context.settings is None:
            found = (skipped("the settings are not usable"),)
        else:
            answer = one.look(context)
            found = (answer,) if isinstance(answer, Finding) else tuple(answer)
    except SigmawatchError as error:
        found = (failure(error),)
    except Exception as error:  # noqa: BLE001 - whatever it is, the other checks go on and this one says it
        text = next(iter(str(error).strip().splitlines()), "")
        found = (fail(f"{type(error).__name__}: {text}", "This is unexpected; please report it."),)
    came.put(Report(one.name, found, time.monotonic() - began))


def _went_well(report: Report) -> bool:
    return report.status in (Status.OK, Status.WARN)
