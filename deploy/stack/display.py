"""What people see of a running stack: a live view on a terminal, elsewhere a line now and then."""

import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from deploy.quality.report import one_line
from deploy.showing import SEVERITY_STYLES

if TYPE_CHECKING:
    from deploy.reconcile import Verdict
    from deploy.stack.database import AnomalyRow
    from deploy.stack.watching import Observation

_LINE_SECONDS = 5.0
_FRAMES_A_SECOND = 2
_SPARK = "▁▂▃▄▅▆▇█"
_SPARK_WIDTH = 30


class Display:
    """Shows steps, the running stack and the end. `tell` may be called from any thread.

    Args:
        console: where to.
        topic: the readings' topic.
        places: a line about where broker, database and web view are; asked for when it is shown.
    """

    def __init__(self, console: Console, topic: str) -> None:
        self._console = console
        self._topic = topic
        self._live: Live | None = None
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._line_at = 0.0
        self._rates: list[float] = []
        self._seen_at = 0.0
        self._places = ""
        self._phase = ""

    def tell(self, text: str) -> None:
        """A line about a step, or about what went wrong."""
        with self._lock:
            self._console.print(Text(text), soft_wrap=True)

    def flowing(self, places: str) -> None:
        """The stack is ready and readings begin to flow: from now on `show` is called."""
        self._began = time.monotonic()
        self._places = places
        self._phase = "running"
        if self._console.is_terminal:
            self._live = Live(
                console=self._console,
                refresh_per_second=_FRAMES_A_SECOND,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        else:
            self.tell(places)

    def phase(self, text: str) -> None:
        """What is being done now, as "draining"."""
        self._phase = text
        if self._live is None:
            self.tell(text)

    def show(self, seen: "Observation") -> None:
        """The stack as it stands."""
        if self._live is not None:
            if seen.at != self._seen_at:
                self._seen_at = seen.at
                self._rates = [*self._rates, seen.rate][-_SPARK_WIDTH:]
                self._live.update(self._view(seen))
        elif time.monotonic() - self._line_at >= _LINE_SECONDS:
            self._line_at = time.monotonic()
            self.tell(self._line(seen))

    def close(self) -> None:
        """Take the live view away."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    # -- the view

    def _clock(self) -> str:
        seconds = int(time.monotonic() - self._began)
        hours, rest = divmod(seconds, 3600)
        return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"

    def _line(self, seen: "Observation") -> str:
        unprocessed, unstored = seen.lag(self._topic)
        latency = "" if seen.p50_ms is None else f"  latency {_ms(seen.p50_ms)} (p99 {_ms(seen.p99_ms)})"
        return (
            f"{self._clock()}  {seen.rate:,.0f} readings/s  {seen.delivered.total(self._topic):,} produced  "
            f"lag {max(unprocessed, unstored):,}  series {seen.total('watched')} watched, {seen.total('warming')} warming, "
            f"{seen.total('open')} in alarm  anomalies {seen.anomalies:,}{latency}"
        )

    def _view(self, seen: "Observation") -> Padding:
        unprocessed, unstored = seen.lag(self._topic)
        title = Text.assemble(
            ("sigmawatch", "bold cyan"), "  ", (self._phase, "bold"), "  ", (self._clock(), "dim")
        )
        numbers = Table.grid(padding=(0, 3))
        numbers.add_column(style="dim", min_width=9)
        numbers.add_column(min_width=22)
        numbers.add_column()
        numbers.add_row(
            "readings",
            Text.assemble((f"{seen.rate:,.0f}", "bold"), " a second"),
            Text.assemble((self._spark(), "cyan"), f"  {seen.delivered.total(self._topic):,} so far"),
        )
        numbers.add_row(
            "lag", _lag("processor", unprocessed, seen.rate), _lag("database", unstored, seen.rate)
        )
        open_count = seen.total("open")
        numbers.add_row(
            "series",
            Text.assemble((f"{seen.total('watched'):,}", "bold green"), " watched"),
            Text.assemble(
                (f"{seen.total('warming'):,}", "yellow"),
                " warming up   ",
                (f"{open_count:,}", "bold red" if open_count else "dim"),
                " in alarm now",
            ),
        )
        numbers.add_row(
            "anomalies",
            Text.assemble((f"{seen.anomalies:,}", "bold"), " stored"),
            Text("")
            if seen.p50_ms is None
            else Text.assemble(
                "latency ",
                (_ms(seen.p50_ms), "bold"),
                "   ",
                (f"p99 {_ms(seen.p99_ms)}", "dim"),
            ),
        )
        parts: list[RenderableType] = [title, Text(""), numbers, Text(""), self._anomalies(seen)]
        if not seen.database_answers:
            parts += [Text("the database does not answer", style="yellow")]
        parts += [Text(""), Text(self._places, style="dim"), Text("Ctrl-C drains and ends", style="dim")]
        return Padding(Group(*parts), (1, 2))

    def _spark(self) -> str:
        top = max(self._rates, default=0.0) or 1.0
        return "".join(
            _SPARK[min(len(_SPARK) - 1, int(rate / top * (len(_SPARK) - 0.01)))] for rate in self._rates
        )

    def _anomalies(self, seen: "Observation") -> Table | Text:
        if not seen.latest:
            waiting = "no anomaly yet: series are warming up" if seen.total("warming") else "no anomaly yet"
            return Text(waiting, style="dim italic")
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False, expand=True)
        for name in ("time", "", "device", "metric", "kind"):
            table.add_column(name, no_wrap=True)
        # What the others leave is its width: on a narrow terminal the reason is what is cut off.
        table.add_column("reason", no_wrap=True, overflow="ellipsis", ratio=1)
        table.add_column("lasted", no_wrap=True)
        for row in seen.latest:
            table.add_row(*_anomaly_cells(row))
        return table


def _anomaly_cells(row: "AnomalyRow") -> tuple[Text, ...]:
    if row.cleared_at is None:
        lasted = Text("open", style="bold red")
    else:
        lasted = Text(_span((row.cleared_at - row.opened_at).total_seconds()), style="green")
    today = row.opened_at.date() == datetime.now(UTC).date()
    return (
        Text(f"{row.opened_at:%H:%M:%S}" if today else f"{row.opened_at:%Y-%m-%d %H:%M}", style="dim"),
        Text(row.severity[:4].lower(), style=SEVERITY_STYLES.get(row.severity, "")),
        Text(row.device_id, style="bold" if row.cleared_at is None else ""),
        Text(row.metric),
        Text(row.kind, style="bold"),
        Text(row.reason or f"{row.value:.4g} is {row.score:.1f} std from {row.mean:.4g}"),
        lasted,
    )


def _lag(what: str, count: int, rate: float) -> Text:
    # What two seconds bring lies in batches on its way; more is a queue.
    style = "bold yellow" if count > max(1_000.0, 2 * rate) else "bold"
    return Text.assemble((f"{count:,}", style), f" {what}")


def _ms(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:.1f} s"


def _span(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def summary_lines(verdict: "Verdict") -> list[Text]:
    """The end of a run, for people."""
    lines = [
        Text.assemble(
            ("readings   ", "dim"),
            (f"{verdict.produced:,}", "bold"),
            " produced   ",
            (f"{verdict.processed:,}", "bold"),
            " processed   ",
            (f"{verdict.stored:,}", "bold"),
            " stored",
        ),
        Text.assemble(
            ("anomalies  ", "dim"),
            (f"{verdict.opened:,}", "bold"),
            " opened   ",
            (f"{verdict.anomalies_stored:,}", "bold"),
            " stored",
            "" if verdict.p50_ms is None else f"   latency {_ms(verdict.p50_ms)}, p99 {_ms(verdict.p99_ms)}",
        ),
    ]
    if verdict.quality is not None:
        lines.append(Text.assemble(("detection  ", "dim"), one_line(verdict.quality)))
    if verdict.dead_letters:
        lines.append(Text.assemble(("dead letters ", "dim"), (f"{verdict.dead_letters:,}", "bold yellow")))
    if verdict.good:
        repeats = verdict.processed - verdict.stored
        again = f" ({repeats:,} repeat a device, metric and time and are one row each)" if repeats > 0 else ""
        lines.append(
            Text.assemble(("✓ ", "bold green"), f"every reading was processed and stored once{again}")
        )
    else:
        lines.append(
            Text.assemble(("✗ ", "bold red"), f"{verdict.lost:,} lost, {verdict.duplicated:,} doubled")
        )
        lines += [Text(f"  {problem}", style="red") for problem in verdict.problems]
        if verdict.unnamed:
            lines.append(Text(f"  and {verdict.unnamed:,} more", style="red"))
    return lines
