"""Amounts, spans and ranges as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.devices.amounts import BASELINE, Amount, Span, parse_amount, parse_ascending, parse_span


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        (12.5, Amount(12.5)),
        ("-3", Amount(-3.0)),
        ("1e-3", Amount(0.001)),
        ("10 %", Amount(0.1, BASELINE)),
        ("10%", Amount(0.1, BASELINE)),
        ("base_power", Amount(1.0, "base_power")),
        ("0.25 width", Amount(0.25, "width")),
        ("10 % of base_power", Amount(0.1, "base_power")),
        ("-2 low", Amount(-2.0, "low")),
    ],
)
def test_amounts(text, amount):
    assert parse_amount(text) == amount
    assert parse_amount(str(amount)) == amount


@pytest.mark.parametrize(
    "text", ["", "%", "x y", "3 4", None, True, [3], float("nan"), float("inf"), "1 Width"]
)
def test_what_is_no_amount_is_refused(text):
    with pytest.raises(ValueError, match="expected an amount"):
        parse_amount(text)


@given(st.floats(-1e12, 1e12).map(lambda x: round(x, 6)), st.sampled_from([None, "width"]))
def test_an_amount_as_text_is_the_same_amount(factor, of):
    assert parse_amount(str(Amount(factor, of))) == Amount(factor, of)


def test_an_amount_stands_for_a_number():
    assert Amount(0.1, BASELINE).resolve({}, 240.0) == 24.0
    assert Amount(0.25, "width").resolve({"width": 10.0}) == 2.5
    assert Amount(3.0).resolve({}) == 3.0
    with pytest.raises(KeyError):
        Amount(1.0, "hight").resolve({"height": 1.0})


@pytest.mark.parametrize(
    ("text", "span"),
    [
        (30, Span(30.0, 30.0, in_readings=False)),
        ("5m-10m", Span(300.0, 600.0, in_readings=False)),
        ("1 reading", Span(1.0, 1.0, in_readings=True)),
        ("3-10 readings", Span(3.0, 10.0, in_readings=True)),
        ("1h30m", Span(5400.0, 5400.0, in_readings=False)),
    ],
)
def test_spans(text, span):
    assert parse_span(text) == span
    assert parse_span(str(span)) == span


@pytest.mark.parametrize(
    "text", ["", "0", "10-3 readings", "10m-5m", "3-4-5 readings", "-5m", "readings", None]
)
def test_what_is_no_span_is_refused(text):
    with pytest.raises(ValueError, match="expected"):
        parse_span(text)


def test_a_range_is_one_value_or_two_in_their_order():
    assert parse_ascending(3) == (3, 3)
    assert parse_ascending([3, 5]) == (3, 5)
    for wrong in ([5, 3], [1], [1, 2, 3], [1, float("nan")]):
        with pytest.raises(ValueError, match="expected"):
            parse_ascending(wrong)
