"""A letter for people and for programs."""

import json
from io import StringIO

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from deploy.letters.dissect import dissect
from deploy.letters.history import Attempt
from deploy.letters.letter import Letter, Place
from deploy.letters.rendering import Shown, hex_dump, shown_json, shown_lines, shown_text
from schemas.catalogue import Catalogue
from schemas.codec import Codec
from schemas.dead_letters import DeadLetterReason
from schemas.readings import Reading

CATALOGUE = Catalogue()
CODEC = Codec(CATALOGUE)


def shown(value, *, verdict=DeadLetterReason.BAD_MAGIC, attempts=(), number=0, **more):
    values = {
        "place": Place("readings.dlq", 0, 17),
        "origin": Place("readings", 3, 9),
        "reason": "NON_FINITE_VALUE",
        "message": "the value is not a finite number",
        "consumer": "sink",
        "stage": "VALUE_CONVERTER",
        "key": b"boiler-7",
        "value": value,
        "headers": [("origin", b"plc")],
        "timestamp_ms": 1_700_000_000_123,
    }
    letter = Letter(**values | more)
    found = dissect(value, CATALOGUE.schema, letter.timestamp_ms)
    return Shown(letter, found, verdict, attempts, number, Place("readings", 3, 4))


def printed(one):
    out = StringIO()
    console = Console(file=out, width=200, highlight=False, soft_wrap=True)
    for line in shown_lines(one):
        console.print(line)
    return out.getvalue()


def test_a_letter_is_shown_from_its_origin_to_its_last_byte():
    value = CODEC.encode_reading(Reading("boiler-7", "temperature", 1_700_000_000_000_000, float("nan")))
    attempts = (Attempt(3, 9, "2026-03-01T00:00:00Z", ("sink", "processor")),)
    text = printed(shown(value, attempts=attempts, number=1))
    for part in (
        "readings.dlq/0@17",
        "from       readings/3@9",
        "ancestor   readings/3@4, of which this is attempt 1",
        "time       2023-11-14T22:13:20.123",
        "NON_FINITE_VALUE  the value is not a finite number",
        "by sink, stage VALUE_CONVERTER",
        "put back   2026-03-01T00:00:00Z to 3@9, for sink, processor",
        "key        boiler-7",
        "header     origin: plc",
        f"value      {len(value)} bytes, schema 1 (Reading)",
        "device_id  boiler-7",
        "time  2023-11-14T22:13:20Z",
        "value  nan",
        "value: value is NaN",
        "this version would give it up as well: BAD_MAGIC",
        "00000000  00 00 00 00 01 10 62 6f 69 6c 65 72 2d 37 16 74  ......boiler-7.t",
    ):
        assert part in text, part


def test_the_faulty_byte_is_pointed_at():
    lines = list(hex_dump(bytes(range(40)), 18))
    assert len(lines) == 4
    assert lines[2].index("^^") - len("[red]") == 10 + 3 * 2
    assert "byte 18" in lines[2]


def test_a_message_that_can_be_read_by_now_says_so():
    value = CODEC.encode_reading(Reading("d", "m", 1, 1.0))
    assert "`sigmawatch dlq redrive` puts it back" in printed(shown(value, verdict=DeadLetterReason.OK))
    elsewhere = shown(value, verdict=DeadLetterReason.OK, origin=Place("plant/boiler", -1, -1))
    assert "cannot be put back" in printed(elsewhere)
    assert "none (a tombstone)" in printed(shown(None))


TEXTS = st.text(max_size=12) | st.sampled_from(["[red]x", "[/red]", "\x1b[31m", "[bold", "\\[", "\r\n"])


@given(
    st.none() | st.binary(max_size=40),
    st.none() | st.binary(max_size=12),
    TEXTS,
    TEXTS,
    st.binary(max_size=9),
)
def test_what_a_letter_says_is_shown_as_text_whatever_it_is(value, key, consumer, message, header):
    one = shown(value, key=key, consumer=consumer, message=message, headers=[(consumer, header)])
    text = printed(one)
    assert "\x1b" not in text
    assert "\r" not in text
    json.dumps(shown_json(one), allow_nan=False)


@given(st.binary(max_size=30))
def test_text_of_bytes_has_no_control_characters(raw):
    assert shown_text(raw).isprintable()
