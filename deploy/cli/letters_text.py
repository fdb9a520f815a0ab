"""What the commands of dead letters say: tables, plans, outcomes; for people, and as JSON."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from deploy.cli.terminal import answers, print_json, print_table, say

if TYPE_CHECKING:
    from deploy.letters.letter import Letter
    from deploy.letters.plan import Plan
    from deploy.letters.reading import Letterbox, Ranges
    from deploy.letters.redrive import Outcome
    from deploy.letters.rendering import Listing
    from schemas.settings import Settings

_MOST_NAMED = 10


def counted(count: int, what: str) -> str:
    """So many of something: 1 letter, 2 letters."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def tell_listing(listing: "Listing", *, as_json: bool) -> None:
    """What `dlq list` says."""
    from deploy.letters.rendering import group_json, letter_json, shown_text, when  # noqa: PLC0415

    if as_json:
        print_json(
            {
                "groups": [group_json(group) for group in listing.sorted_groups],
                "newest": [letter_json(letter) for letter in listing.newest],
            }
        )
        return
    if not listing.groups:
        say("there are no dead letters")
        return
    rows = [
        (
            group.topic,
            group.reason,
            group.consumer,
            f"{group.count:,}",
            f"{group.waiting:,}",
            when(group.first_ms) or "",
            when(group.last_ms) or "",
        )
        for group in listing.sorted_groups
    ]
    _print_table(("topic", "reason", "consumer", "letters", "waiting", "first", "last"), rows, right=(3, 4))
    if listing.newest:
        answers().print("")
        named = [
            _example(letter, when(letter.timestamp_ms), shown_text(letter.key)) for letter in listing.newest
        ]
        _print_table(("newest", "from", "time", "reason", "key"), named)


def _example(letter: "Letter", time_text: str | None, key: str | None) -> tuple[str, ...]:
    origin = "" if letter.origin is None else str(letter.origin)
    return str(letter.place), origin, time_text or "", letter.reason, key or ""


def _print_table(names: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from deploy.letters.rendering import printable  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="dim")
    for number, name in enumerate(names):
        table.add_column(
            name, justify="right" if number in right else "left", no_wrap=True, overflow="ignore"
        )
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    print_table(table)


def tell_plans(settings: "Settings", plans: "list[tuple[Letterbox, Ranges, Plan]]") -> None:
    """What a redrive is about to do; asks the broker how long topics keep messages."""
    from deploy.letters.plan import held_texts  # noqa: PLC0415
    from deploy.letters.planning import older_than_retention  # noqa: PLC0415

    for box, _, plan in plans:
        if not plan.letters:
            continue
        letters, tasks = counted(plan.letters, "letter"), counted(len(plan.tasks), "message")
        say(f"{box.letters}: {letters} selected, {tasks} to put back to {box.topic}")
        for why, count in held_texts(plan.held).items():
            say(f"  {counted(count, 'message')} stay{'s' if count == 1 else ''}: {why}")
        old = older_than_retention(settings, box, plan, round(time.time() * 1000)) if plan.tasks else 0
        if old:
            say(
                f"  {old:,} are older than {box.topic} keeps messages: let the consumers run, as Kafka may delete"
                " them within minutes"
            )
    if not any(plan.letters for _, _, plan in plans):
        say("there are no such dead letters")


def tell_outcome(
    plans: "list[tuple[Letterbox, Ranges, Plan]]", total: "Outcome", *, dry_run: bool, as_json: bool
) -> None:
    """What a redrive has done."""
    if as_json:
        print_json(_outcome_json(plans, total, dry_run=dry_run))
    elif not dry_run and any(plan.tasks for _, _, plan in plans):
        say(
            f"put back {counted(total.put_back, 'message')}"
            + (", stopped before the end" if total.stopped else "")
        )
        if total.gone:
            say(f"  {total.gone:,} had gone by retention meanwhile")
        for original, why in total.refused[:_MOST_NAMED]:
            say(f"  refused: {original}: {why}")
        if len(total.refused) > _MOST_NAMED:
            say(f"  and {len(total.refused) - _MOST_NAMED:,} more")


def _outcome_json(
    plans: "list[tuple[Letterbox, Ranges, Plan]]", total: "Outcome", *, dry_run: bool
) -> dict[str, Any]:
    from deploy.letters.plan import held_texts  # noqa: PLC0415

    return {
        "topics": {
            box.letters: {
                "letters": plan.letters,
                "to_put_back": len(plan.tasks),
                "held_back": held_texts(plan.held),
            }
            for box, _, plan in plans
        },
        "dry_run": dry_run,
        "put_back": total.put_back,
        "gone": total.gone,
        "refused": [{"original": original, "why": why} for original, why in total.refused],
        "stopped": total.stopped,
    }
