"""Settings of the troubles, from the command line and from data."""

import pytest
from pydantic import ValidationError

from producers.troubles import MalformedKind, TroubleSettings, parse_troubles
from schemas.errors import ConfigError


def test_all_are_off_until_asked_for():
    assert not TroubleSettings().active
    assert parse_troubles([]) == TroubleSettings()


@pytest.mark.parametrize("name", TroubleSettings.model_fields)
def test_a_name_alone_switches_one_on(name):
    settings = parse_troubles([name])
    assert settings.active
    assert getattr(settings, name).model_dump().get("share", 0.1) == 0.1
    assert getattr(settings, name).model_dump().get("probability", 0.01) == 0.01
    assert [one for one in TroubleSettings.model_fields if getattr(settings, one).active] == [name]


def test_texts():
    settings = parse_troubles(
        [
            "late=2%",
            "late.delay=5m-1h",
            "duplicated.copies=3",
            "clock_skew=0.5",
            "clock_skew.drift_ppm=0-50",
            "burst.hold=1m",
            "malformed.kinds=empty, text",
        ]
    )
    assert settings.late.probability == 0.02
    assert settings.late.delay == (300.0, 3600.0)
    assert (settings.duplicated.probability, settings.duplicated.copies) == (0.01, 3)
    assert settings.clock_skew.share == 0.5
    assert settings.clock_skew.drift_ppm == (0.0, 50.0)
    assert settings.burst.hold == (60.0, 60.0)
    assert settings.malformed.kinds == (MalformedKind.EMPTY, MalformedKind.TEXT)


def test_data():
    settings = TroubleSettings.model_validate(
        {
            "late": {"probability": "1%", "delay": ["1m", 90]},
            "malformed": {"probability": 1, "kinds": ["json"]},
        }
    )
    assert settings.late.delay == (60.0, 90.0)
    assert settings.malformed.kinds == (MalformedKind.JSON,)
    assert TroubleSettings.model_validate(settings.model_dump(mode="json")) == settings


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("lat", "'lat' is no trouble of the stream"),
        ("late=2", "trouble late.probability: Input should be less than or equal to 1"),
        ("late=-1%", "trouble late.probability: Input should be greater"),
        ("late=much", "trouble late.probability: Input should be a valid number"),
        ("late=x%", "trouble late.probability"),
        ("late=nan", "trouble late.probability"),
        ("late.delay=2m-1m", "trouble late: delay: the lowest comes first"),
        ("late.delay=1m-2m-3m", "trouble late.delay: expected one value"),
        ("late.delay=soon", "trouble late.delay: expected a length of time"),
        ("late.delay=60d", "trouble late.delay: Input should be less"),
        ("late.probabilty=0.1", "trouble late.probabilty: Extra inputs are not permitted"),
        ("out_of_order.window=0", "trouble out_of_order.window: Input should be greater than"),
        ("burst.every=1us", "trouble burst.every: Input should be greater than"),
        ("duplicated.copies=0", "trouble duplicated.copies"),
        ("clock_skew.drift_ppm=0-2000", "trouble clock_skew.drift_ppm"),
        ("clock_skew.direction=up", "trouble clock_skew.direction"),
        ("burst.hold=11m", "trouble burst: hold must not be longer than every"),
        ("malformed.kinds=", "trouble malformed.kinds"),
        ("malformed.kinds=odd", "trouble malformed.kinds"),
    ],
)
def test_mistakes_are_named(text, what):
    with pytest.raises(ConfigError) as caught:
        parse_troubles([text])
    assert str(caught.value).startswith(what)


def test_yes_is_no_number():
    with pytest.raises(ValidationError, match="expected a number"):
        TroubleSettings.model_validate({"late": {"probability": True}})
