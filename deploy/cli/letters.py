"""`dlq`: dead letters listed, shown whole, and put back onto their topics."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli.exits import REFUSED, Finished
from deploy.cli.flags import BROKER, REGISTRY, Given, SettingsCommand, with_settings
from deploy.cli.letters_text import counted, tell_listing, tell_outcome, tell_plans
from deploy.cli.questions import time_us
from deploy.cli.terminal import answers, messages, print_json, stop_event
from schemas.errors import ConfigError, SigmawatchError

if TYPE_CHECKING:
    from threading import Event

    from deploy.letters.plan import Plan, Selection
    from deploy.letters.planning import Wish
    from deploy.letters.reading import Letterbox, Ranges
    from deploy.letters.redrive import Outcome
    from schemas.settings import Settings

_Tell = Callable[[int], None]

TopicsArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="TOPIC", help="As readings or readings.dlq; all three of ours if none is given."),
]
ReasonOption = Annotated[
    list[str] | None,
    typer.Option("--reason", metavar="REASON", help="As UNKNOWN_SCHEMA; may be repeated."),
]
ConsumerOption = Annotated[
    list[str] | None,
    typer.Option("--consumer", metavar="GROUP", help="Given up by this group; may be repeated."),
]
SinceOption = Annotated[
    str | None, typer.Option("--since", metavar="TIME", help="Messages of this time or later.")
]
UntilOption = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="Messages before this time.")
]
OffsetsOption = Annotated[
    str | None,
    typer.Option(
        "--offsets",
        metavar="FIRST-LAST",
        help="Of the letters in their topic, both included; 17 for one alone.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="The answer as JSON on stdout.")]


def add_commands(app: typer.Typer) -> None:
    """Put the commands into the command line."""
    letters = typer.Typer(
        no_args_is_help=True, help="Dead letters: list them, look into one, put them back after a fix."
    )
    letters.command("list", cls=SettingsCommand)(dlq_list)
    letters.command("show", cls=SettingsCommand)(dlq_show)
    letters.command("redrive", cls=SettingsCommand)(dlq_redrive)
    app.add_typer(letters, name="dlq", rich_help_panel="Consumers")


@with_settings(BROKER)
def dlq_list(
    given: Given,
    topics: TopicsArgument = None,
    reason: ReasonOption = None,
    consumer: ConsumerOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    offsets: OffsetsOption = None,
    examples: Annotated[
        int, typer.Option("--examples", min=0, max=10_000, metavar="N", help="Newest letters to name.")
    ] = 5,
    as_json: JsonOption = False,
) -> None:
    """Count dead letters by topic, reason and consumer, and name the newest.

    A message that two consumers gave up has two letters. `waiting` are those that no redrive has put back yet. Reads
    the topics without joining a group.

    For example:

      sigmawatch dlq list

      sigmawatch dlq list readings --reason TIME_OUT_OF_BOUNDS --since 2026-01-31T12:00:00Z --json
    """
    from deploy.letters.history import waiting_consumers  # noqa: PLC0415
    from deploy.letters.reading import existing_topics, letterboxes, ranges_of, read_ledger, read_letters  # noqa: PLC0415
    from deploy.letters.rendering import Listing  # noqa: PLC0415

    settings = given.begin()
    selection = _selection(reason, consumer, since, until, offsets)
    existing = existing_topics(settings)
    boxes = letterboxes(settings, topics or (), existing)
    ledger = read_ledger(settings, boxes, existing)
    ranges = ranges_of(settings, [box.letters for box in boxes])
    listing = Listing(examples)
    with _progress("read", ranges) as tell:
        for letter in read_letters(settings, ranges, tell):
            if not selection.has(letter):
                continue
            original = ledger.original_of(letter) if letter.can_go_back else None
            waits = False
            if original is not None and letter.origin is not None:
                number = ledger.number_of(original, letter.origin)
                waits = bool(waiting_consumers({letter.consumer: number}, ledger.attempts_of(original)))
            listing.take(letter, waits=waits)
    tell_listing(listing, as_json=as_json)


@with_settings(BROKER, REGISTRY)
def dlq_show(
    given: Given,
    letter: Annotated[
        str,
        typer.Argument(
            metavar="LETTER", help="As readings.dlq/0@17; or where its message stood, as readings/3@1234."
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Show dead letters whole: where they came from, why, and their bytes, decoded field by field up to the first fault.

    `dlq list` names letters. Says as well whether this version could read the message by now, and what was put back.

    For example:

      sigmawatch dlq show readings.dlq/0@17
    """
    from deploy.clients import codec_of  # noqa: PLC0415
    from deploy.letters.dissect import dissect  # noqa: PLC0415
    from deploy.letters.letter import parse_place  # noqa: PLC0415
    from deploy.letters.reading import (  # noqa: PLC0415
        Letterbox,
        Verdicts,
        existing_topics,
        letters_about,
        read_ledger,
    )
    from deploy.letters.rendering import Shown, shown_json, shown_lines  # noqa: PLC0415
    from schemas.sources import schema_source  # noqa: PLC0415

    place = parse_place(letter)
    if place is None:
        raise ConfigError(f"{letter!r} names no letter", "Write TOPIC/PARTITION@OFFSET: readings.dlq/0@17.")
    settings = given.begin()
    existing = existing_topics(settings)
    found = letters_about(settings, place, existing)
    ledger = read_ledger(settings, [Letterbox(found[0].place.topic.removesuffix(".dlq"))], existing)
    verdicts = Verdicts(settings, codec_of(settings))
    source = schema_source(settings)
    console = answers()
    for one in found:
        original = ledger.original_of(one)
        shown = Shown(
            one,
            dissect(one.value, source.schema, one.timestamp_ms, verdicts.bounds),
            verdicts(one),
            () if original is None else ledger.attempts_of(original),
            0 if original is None or one.origin is None else ledger.number_of(original, one.origin),
            None if original is None else original.place,
        )
        if as_json:
            print_json(shown_json(shown))
        else:
            for line in shown_lines(shown):
                console.print(line)


@with_settings(BROKER, REGISTRY)
def dlq_redrive(
    given: Given,
    topics: TopicsArgument = None,
    reason: ReasonOption = None,
    consumer: ConsumerOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    offsets: OffsetsOption = None,
    unreadable_too: Annotated[
        bool, typer.Option("--all", help="Also what this version cannot read either, and so would come back.")
    ] = False,
    max_times: Annotated[
        int, typer.Option("--max-times", min=1, metavar="N", help="How often a message is put back at most.")
    ] = 3,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Put dead letters back onto their topics after a fix: same key, bytes, time and partition, each message once.

    A message that several consumers gave up is put back once. What was put back is kept on `TOPIC.dlq.redriven`, in
    the same transaction, so that a second run repeats nothing, whatever became of the first. What fails again is a
    new letter that knows its ancestor; after --max-times it stays. Nothing is taken out of the dead-letter topics.
    Exits 1 where the broker refused some.

    For example:

      sigmawatch dlq redrive --dry-run

      sigmawatch dlq redrive readings --reason UNKNOWN_SCHEMA

      sigmawatch dlq redrive --consumer sigmawatch-sink-timescale --since 2026-01-31T12:00:00Z --yes
    """
    from deploy.letters.planning import Wish  # noqa: PLC0415
    from deploy.letters.reading import existing_topics, letterboxes, ranges_of  # noqa: PLC0415
    from deploy.letters.redrive import Outcome  # noqa: PLC0415

    settings = given.begin()
    wish = Wish(_selection(reason, consumer, since, until, offsets), unreadable_too, max_times)
    boxes = letterboxes(settings, topics or (), existing_topics(settings))
    total = Outcome()
    plans: list[tuple[Letterbox, Ranges, Plan]] = []
    every = ranges_of(settings, [box.letters for box in boxes])
    for box in boxes:
        ranges = {place: span for place, span in every.items() if place[0] == box.letters}
        plans.append((box, ranges, _planned(settings, box, ranges, wish)))
    if not as_json:
        tell_plans(settings, plans)
    count = sum(len(plan.tasks) for _, _, plan in plans)
    if count and not dry_run:
        if not yes and sys.stdin.isatty() and sys.stderr.isatty():
            typer.confirm(f"Put {counted(count, 'message')} back?", abort=True, err=True)
        with stop_event() as stop:
            for box, ranges, plan in plans:
                if plan.tasks and not stop.is_set():
                    _put_back(settings, box, ranges, wish, stop, total)
    tell_outcome(plans, total, dry_run=dry_run, as_json=as_json)
    if total.refused:
        raise Finished(REFUSED)


def _planned(settings: "Settings", box: "Letterbox", ranges: "Ranges", wish: "Wish") -> "Plan":
    from deploy.letters.planning import make_plan  # noqa: PLC0415

    with _progress(f"read {box.letters}", ranges) as tell:
        return make_plan(settings, box, ranges, wish, tell)


def _put_back(
    settings: "Settings", box: "Letterbox", ranges: "Ranges", wish: "Wish", stop: "Event", total: "Outcome"
) -> None:
    """Carry out the plan of one topic, made again once no other redrive can interfere."""
    from deploy.letters.redrive import Redriver  # noqa: PLC0415
    from producers.progress import progress_bar  # noqa: PLC0415

    with Redriver(settings, box) as redriver:
        plan = _planned(settings, box, ranges, wish)
        try:
            with progress_bar(messages(), f"put back to {box.topic}", len(plan.tasks)) as bar:
                outcome = redriver.put_back(plan, stop=stop, tell=bar)
        except SigmawatchError as error:
            done = total.put_back
            error.remedy = (
                f"{error.remedy} Before this topic, {done} were put back.".strip() if done else error.remedy
            )
            raise
    total.put_back += outcome.put_back
    total.refused += outcome.refused
    total.gone += outcome.gone
    total.stopped = total.stopped or outcome.stopped


def _selection(
    reasons: list[str] | None,
    consumers: list[str] | None,
    since: str | None,
    until: str | None,
    offsets: str | None,
) -> "Selection":
    from deploy.letters.plan import Selection  # noqa: PLC0415

    first = last = None
    if offsets is not None:
        begin, dash, end = offsets.partition("-")
        if not (begin.isdecimal() or (dash and not begin)) or not (end.isdecimal() or not end):
            raise ConfigError(f"--offsets {offsets}", "Write it as 17, 17-40, 17- or -40.")
        first = int(begin) if begin else None
        last = int(end) if end else (None if dash else first)
    since_us, until_us = time_us("--since", since), time_us("--until", until)
    return Selection(
        frozenset(reason.upper() for reason in reasons or ()),
        frozenset(consumers or ()),
        None if since_us is None else -(-since_us // 1000),
        None if until_us is None else -(-until_us // 1000),
        first,
        last,
    )


@contextmanager
def _progress(what: str, ranges: "Ranges") -> Iterator[_Tell]:
    from producers.progress import progress_bar  # noqa: PLC0415

    total = sum(end - start for start, end in ranges.values())
    with progress_bar(messages(), what, total) as bar:
        yield bar
