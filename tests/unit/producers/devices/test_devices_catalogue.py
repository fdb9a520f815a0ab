"""The catalogue: what is shipped, a user's own types, changes by groups, and errors that say where and what to do."""

import pytest

from producers.devices.amounts import Amount, Span
from producers.devices.catalogue import group_type, load_catalogue
from producers.devices.fleet_spec import FaultChances, Group
from producers.devices.metrics import Shape
from producers.devices.model import Effect
from schemas.errors import ConfigError

CATALOGUE = load_catalogue()

ENERGY = {"hvac": 25.0, "lighting": 8.5, "server": 45.0, "industrial": 120.0, "appliance": 15.0}
VOCABULARY = {
    *("high_power_consumption", "voltage_fluctuation", "power_spike", "sustained_high_load"),
    *(
        "spike",
        "drop",
        "drift",
        "oscillation",
        "flicker",
        "stuck_on",
        "stuck_off",
        "stall",
        "vibration",
        "overspeed",
    ),
    *("pollution_spike", "calibration_error", "dust_storm"),
    *("trend", "pattern", "missing_data", "noise", "level_shift", "stuck", "device_failure"),
}


def own(tmp_path, text, name="my.yaml"):
    path = tmp_path / name
    path.write_text(text, "utf-8")
    return path


# What is shipped


def test_every_type_is_there():
    industrial = {"oven", "heater", "lamp", "fan", "pm"}
    environmental = {"environmental", "environmental_vibration"}
    assert set(CATALOGUE.types) == ENERGY.keys() | industrial | environmental | {"signal"}
    assert {name: kind.family for name, kind in CATALOGUE.types.items()} == (
        dict.fromkeys(ENERGY, "energy")
        | dict.fromkeys(industrial, "industrial")
        | dict.fromkeys(environmental, "environmental")
        | {"signal": "signal"}
    )
    assert all(kind.name == name and kind.title for name, kind in CATALOGUE.types.items())


def test_every_fault_is_defined_once_and_some_type_has_it():
    assert set(CATALOGUE.vocabulary) == VOCABULARY
    assert all(fault["title"] for fault in CATALOGUE.vocabulary.values())
    for name in VOCABULARY:
        assert any(name in kind.faults for kind in CATALOGUE.types.values()), name


def test_every_type_can_fail_as_devices_do():
    for name, kind in CATALOGUE.types.items():
        general = {"missing_data", "stuck", "device_failure"}
        assert kind.faults.keys() >= general | (set() if name == "lamp" else {"noise", "level_shift"}), name
        assert sum(fault.weight for fault in kind.faults.values()) > 0.0


@pytest.mark.parametrize(("name", "power"), ENERGY.items())
def test_energy_meters(name, power):
    kind = CATALOGUE.types[name]
    base_power, base_voltage = kind.parameters["base_power"], kind.parameters["base_voltage"]
    assert (base_power.default, base_power.minimum, base_power.maximum) == (power, 0.1, 1000.0)
    assert (base_voltage.default, base_voltage.minimum, base_voltage.maximum) == (240.0, 100.0, 600.0)
    metrics = kind.metrics
    assert metrics["power"].baseline == Amount(1.0, "base_power")
    assert metrics["power"].noise.uniform == Amount(0.1, "baseline")
    assert metrics["voltage"].noise.uniform == Amount(0.02, "baseline")
    assert (metrics["current"].ratio.numerator, metrics["current"].ratio.denominator) == ("power", "voltage")
    assert metrics["current"].ratio.scale == 1000.0
    assert (metrics["energy"].counter.of, metrics["energy"].counter.per) == ("power", 3600.0)
    assert [metric.unit for metric in metrics.values()] == ["kW", "V", "A", "kWh"]


@pytest.mark.parametrize(
    ("fault", "effect", "metric", "intensity"),
    [
        ("high_power_consumption", Effect.MULTIPLY, "power", (2.0, 5.0)),
        ("voltage_fluctuation", Effect.JITTER, "voltage", (0.2, 0.2)),
        ("power_spike", Effect.MULTIPLY, "power", (2.0, 5.0)),
        ("sustained_high_load", Effect.MULTIPLY, "power", (2.0, 5.0)),
    ],
)
def test_energy_faults_have_the_defaults_of_the_service_they_come_from(fault, effect, metric, intensity):
    found = CATALOGUE.types["hvac"].faults[fault]
    assert (found.effect, found.metrics, found.intensity, found.weight) == (effect, (metric,), intensity, 1.0)
    assert found.duration.in_readings
    assert 3 <= found.duration.low <= found.duration.high == 10


@pytest.mark.parametrize(
    ("name", "metric", "unit", "highest"),
    [
        ("oven", "temperature", "°C", 350.0),
        ("heater", "temperature", "°C", 180.0),
        ("lamp", "state", "io", None),
        ("fan", "state", "io", None),
        ("fan", "speed", "rpm", 1000.0),
        ("pm", "pm", "µg/m³", 36_000.0),
    ],
)
def test_industrial_sensors(name, metric, unit, highest):
    kind = CATALOGUE.types[name]
    found = kind.metrics[metric]
    assert found.unit == unit
    assert kind.attributes["category"] == name
    assert kind.attributes["kind"] in {"analog", "digital", "serial"}
    assert kind.places == ("restaurant", "supermarket", "factory")
    assert kind.device_id == "{type}-{place}-{token}"
    if highest is None:
        assert found.digital
        assert sorted(amount.factor for amount in found.baselines.values()) == [0.0, 1.0]
    else:
        assert found.range == found.limits == (Amount(0.0), Amount(highest))
        assert found.wander is not None


@pytest.mark.parametrize(
    ("name", "fault", "intensity", "sign"),
    [
        ("oven", "spike", (50.0, 100.0), "up"),
        ("oven", "drop", (10.0, 30.0), "down"),
        ("heater", "spike", (30.0, 70.0), "up"),
        ("pm", "pollution_spike", (50.0, 150.0), "up"),
        ("pm", "dust_storm", (100.0, 250.0), "up"),
    ],
)
def test_industrial_faults_are_in_units_and_fit_into_what_the_sensor_can_say(name, fault, intensity, sign):
    kind = CATALOGUE.types[name]
    found = kind.faults[fault]
    assert (found.effect, found.scale, found.intensity, found.sign) == (Effect.ADD, "units", intensity, sign)
    (metric,) = kind.metrics.values()
    highest = max(amount.resolve({}) for amount in metric.baselines.values())
    assert highest + intensity[1] <= metric.limits[1].resolve({})


def test_industrial_sensors_have_their_faults():
    assert CATALOGUE.types["oven"].faults.keys() >= {"spike", "drop", "drift", "oscillation"}
    assert CATALOGUE.types["heater"].faults.keys() >= {"spike", "drop", "drift", "oscillation"}
    assert CATALOGUE.types["lamp"].faults.keys() >= {"flicker", "stuck_on", "stuck_off"}
    assert CATALOGUE.types["fan"].faults.keys() >= {"spike", "stall", "vibration", "overspeed"}
    assert CATALOGUE.types["pm"].faults.keys() >= {
        "pollution_spike",
        "drift",
        "calibration_error",
        "dust_storm",
    }


@pytest.mark.parametrize(
    ("metric", "mean", "std", "low", "high"),
    [
        ("temperature", 22.0, 2.0, 15.0, 30.0),
        ("humidity", 65.0, 5.0, 30.0, 90.0),
        ("pressure", 1013.0, 10.0, 990.0, 1040.0),
        ("voltage", 12.0, 0.1, 11.5, 12.5),
        ("vibration", 1.5, 0.5, 0.0, 3.0),
    ],
)
def test_environmental_metrics_have_the_parameters_of_the_sample_configuration(metric, mean, std, low, high):
    kind = CATALOGUE.types["environmental_vibration"]
    found = kind.metrics[metric]
    assert found.baseline == Amount(mean)
    assert found.range == (Amount(low), Amount(high))
    assert variance(kind, metric) ** 0.5 == pytest.approx(std, rel=0.005)


def variance(kind, name):
    """Of a metric whose amounts are plain numbers, before it is clipped."""
    metric = kind.metrics[name]
    cycles = sum(cycle.amplitude[0].factor ** 2 / 2.0 for cycle in metric.cycles)
    followed = sum(gain**2 * variance(kind, other) for other, gain in metric.follows.items())
    return cycles + followed + metric.wander.std.factor**2 + metric.noise.normal.factor**2


def test_environmental_cycles_follow_the_local_clock():
    kind = CATALOGUE.types["environmental"]
    assert list(kind.metrics) == ["temperature", "humidity", "pressure", "voltage"]
    (day,) = kind.metrics["temperature"].cycles
    assert (day.period, day.peak) == ((86_400.0, 86_400.0), "15:00")
    assert all(cycle.peak for metric in kind.metrics.values() for cycle in metric.cycles)


def test_environmental_faults_have_the_weights_and_durations_of_the_sample_configuration():
    faults = CATALOGUE.types["environmental"].faults
    assert {name: fault.weight for name, fault in faults.items() if fault.weight} == {
        "spike": 0.4, "trend": 0.2, "pattern": 0.1, "missing_data": 0.1, "noise": 0.2
    }  # fmt: skip
    seconds = {name: fault.duration.high for name, fault in faults.items() if not fault.duration.in_readings}
    assert {name: seconds[name] for name in ("trend", "pattern", "missing_data", "noise")} == {
        "trend": 300.0, "pattern": 600.0, "missing_data": 30.0, "noise": 180.0
    }  # fmt: skip
    assert faults["missing_data"].effect is Effect.SILENCE


def test_signals_keep_their_shapes_and_sizes():
    kind = CATALOGUE.types["signal"]
    defaults = kind.parameter_values({})
    assert defaults == {"low": 40.0, "high": 50.0, "middle": 45.0, "width": 10.0}
    periods = {"sinusoid": (60.0, 480.0), "trend": (3600.0, 10_800.0), "step": (600.0, 1800.0)}
    shapes = {"sinusoid": Shape.SINE, "trend": Shape.TRIANGLE, "step": Shape.STEPS}
    for name, metric in kind.metrics.items():
        (cycle,) = metric.cycles
        assert (cycle.period, cycle.shape) == (periods[name], shapes[name])
        assert tuple(end.resolve(defaults) for end in cycle.amplitude) == (1.25, 2.5)
        assert metric.noise.normal.resolve(defaults) == 0.2
        assert tuple(end.resolve(defaults) for end in metric.range) == (40.0, 50.0)
    outlier = kind.faults["spike"]
    assert (outlier.intensity, outlier.scale, outlier.sign) == ((1.0, 2.0), "width", "random")
    assert (outlier.pick, outlier.duration) == ("one", Span(1.0, 1.0, in_readings=True))


# Parameters


def test_parameters_that_are_made_of_others_follow_them():
    kind = CATALOGUE.types["signal"]
    values = kind.parameter_values({"low": 10.0})
    assert values == {"low": 10.0, "high": 50.0, "middle": 30.0, "width": 40.0}
    assert kind.parameter_values({"high": 20.0}, values)["width"] == 10.0


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("hvac", {"base_powr": 1.0}, "base_powr is no parameter of hvac"),
        ("hvac", {"base_power": 1000.5}, "base_power of 1000.5 kW is not 0.1 to 1000"),
        ("hvac", {"base_voltage": float("nan")}, "base_voltage of nan V is not 100 to 600"),
        ("signal", {"width": 3.0}, "width cannot be set: it is made of high, low"),
        ("signal", {"low": 50.0}, r"width of 0 \(made of high, low\) is not at least 1e-06"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(kind, changes, message):
    with pytest.raises(ValueError, match=message):
        CATALOGUE.types[kind].parameter_values(changes)


# A user's own types


def test_a_type_extends_another_and_lays_its_own_over_it(tmp_path):
    path = own(
        tmp_path,
        """
types:
  bakery_oven:
    extends: oven
    title: Bakery oven
    attributes: {fuel: gas, battery_level: null}
    metrics: {temperature: {baseline: {heating: 240, resting: 60}, wander: null}}
    faults: {spike: {weight: 2}, drop: null, power_spike: {metrics: [temperature]}}
  small_bakery_oven: {extends: bakery_oven, places: bakery}
""",
    )
    catalogue = load_catalogue([path])
    oven, bakery = catalogue.types["oven"], catalogue.types["bakery_oven"]
    assert oven == CATALOGUE.types["oven"]
    assert bakery.metrics["temperature"].baselines == {"heating": Amount(240.0), "resting": Amount(60.0)}
    assert bakery.metrics["temperature"].wander is None
    assert bakery.metrics["temperature"].noise == oven.metrics["temperature"].noise
    assert bakery.attributes == {"kind": "analog", "category": "oven", "fuel": "gas"}
    assert bakery.faults["spike"] == oven.faults["spike"].model_copy(update={"weight": 2.0})
    assert bakery.faults.keys() - oven.faults.keys() == {"power_spike"}
    assert bakery.faults["power_spike"].effect is Effect.MULTIPLY
    assert "drop" not in bakery.faults
    assert catalogue.types["small_bakery_oven"].title == "Bakery oven"
    assert catalogue.types["small_bakery_oven"].places == ("bakery",)


def test_types_of_several_files_share_faults_and_extend_each_other(tmp_path):
    first = own(
        tmp_path, "faults: {melt: {effect: ramp, duration: 5m}}\ntypes: {a: {extends: b}}\n", "a.yaml"
    )
    second = own(
        tmp_path,
        "types: {b: {metrics: {heat: {unit: C, baseline: 3}}, faults: {melt: {weight: 2}}}}",
        "b.yaml",
    )
    kind = load_catalogue([first, second]).types["a"]
    assert (kind.faults["melt"].effect, kind.faults["melt"].weight) == (Effect.RAMP, 2.0)


def test_a_type_that_is_not_there():
    with pytest.raises(ConfigError, match=r"no device type hvca. Did you mean hvac\?"):
        CATALOGUE.type("hvca")


HEAD = """types:
  kiln:
    metrics:
      heat:
        unit: C
        baseline: 20
"""
BAD_FILES = [
    ("", "my.yaml: expected types, found nothing", "Begin with `types:`."),
    ("typs: {}", "my.yaml, line 1: typs is no key here", "Did you mean types?"),
    ("types: 3", "line 1: types: expected names and what they are, found a number", "with a name"),
    ("types: {kiln: 3}", "line 1: types.kiln: expected keys and values, found a number", "example"),
    ("types:\n  Kiln: {metrics: {}}", "line 2: type Kiln: name is 'Kiln': expected a name", ""),
    ("types:\n  kiln: {title: Kiln}", "line 2: type kiln: metrics is missing", "Give metrics."),
    ("types:\n  kiln: {metrics: [1", "my.yaml, line 2, column", "Mend the YAML there."),
    ("types:\n  oven: {metrics: {}}", "line 2: oven is in", "`extends: oven`"),
    ("types:\n  kiln: {extends: ovn}", "line 2: kiln extends ovn, which is no type", "Did you mean oven?"),
    ("types:\n  a: {extends: b}\n  b: {extends: a}", "a extends b extends a", "Break the circle."),
    ("faults: {spike: {}}", "line 1: spike is in", "Change it in the type."),
    ("faults:\n  melt: {effect: add}", "line 2: fault melt: duration is missing", "Give duration."),
    (HEAD + "        nosie: {normal: 3}", "line 7: type kiln: metrics.heat.nosie is no key", "Did you mean noise?"),
    (HEAD + "        noise: {nromal: 3}", "metrics.heat.noise.nromal is no key here", "Did you mean normal?"),
    (HEAD + "        noise: {normal: x y}", "line 7: type kiln: metrics.heat.noise.normal is 'x y': expected", ""),
    (HEAD + "        noise: {normal: .nan}", "metrics.heat.noise.normal is", ""),
    (HEAD + "        wander: {std: 1, time: 5 parsecs}", "metrics.heat.wander.time is '5 parsecs'", ""),
    (HEAD + "        ratio: {numerator: a, denominator: b}", "give one of baseline, ratio and counter", ""),
    (HEAD + "        range: [10, 0]", "metrics.heat.range: expected the lower end first, found 10 to 0", ""),
    (HEAD + "        range: [20 %, 10 %]", "line 4: type kiln: metrics.heat: its range of 4 to 2 ends before", ""),
    (HEAD + "        follows: {cold: 1}", "line 4: type kiln: metrics.heat uses cold, which is no metric", ""),
    (HEAD + "        baseline: 3", "line 7, column 9: baseline is said twice", "Mend the YAML there."),
    (HEAD + "        cycles: [{period: 0, amplitude: 1}]", "the period must be longer than 0", ""),
    (HEAD + "        cycles: [{period: 1d, amplitude: 1, peak: 25:00}]", "is '25:00': expected a time of day", ""),
    (HEAD + "        cycles: [{period: [1h, 2h], amplitude: 1, peak: 15:00}]", "needs one period", ""),
    (HEAD + "        digital: maybe", "metrics.heat.digital is 'maybe'", ""),
    (HEAD.replace("20", "base"), "line 4: type kiln: metrics.heat uses base, which is no parameter", ""),
    (HEAD.replace("20", "{hot: 20}"), "needs a baseline for each of the type's states (none)", ""),
    (HEAD.replace("20", "{hot: x y}"), "metrics.heat.baseline: hot: expected an amount", ""),
    (HEAD + "    states: {on: {lasts: 3m}}", "line 7: types.kiln.states has the key True", "Put it in quotes"),
    (HEAD + "    firmware: [1.4]", "line 7: type kiln: firmware.0 is 1.4", "Put it in quotes."),
    (HEAD + "    manufacturers: {}", "manufacturers", ""),
    (HEAD + "    device_id: '{typ}-{number}'", "device_id is '{typ}-{number}': {typ} is unknown", ""),
    (HEAD + "    device_id: '{type'", "device_id is '{type': expected '}'", ""),
    (HEAD + "    device_id: '{number:q}'", "cannot be filled in", ""),
    (HEAD + "    attributes: {a: 3}", "attributes.a is 3: expected a text (a number in quotes)", ""),
    (HEAD + "    attributes: {a: {low: 3, hihg: 4}}", "attributes.a.hihg is no key here", "Did you mean high?"),
    (HEAD + "    attributes: {a: {low: 5, high: 4}}", "expected the lower end first, found 5 to 4", ""),
    (HEAD + "    parameters: {a: {}}", "parameters.a: give one of default and made_of", ""),
    (HEAD + "    parameters: {a: {default: 1, minimum: 2}}", "a's default of 1 is not at least 2", ""),
    (HEAD + "    parameters: {a: {made_of: {b: 1}}}", "a is made of b, which is no parameter", ""),
    (HEAD + "    faults: {spkie: {}}", "line 7: type kiln: faults.spkie: there is no such fault", "Did you mean spike?"),
    (HEAD + "    faults: {spike: }", "faults.spike: expected keys and values, found nothing", "Write {}"),
    (HEAD + "    faults: {spike: {effect: add up}}", "faults.spike.effect is 'add up'", ""),
    (HEAD + "    faults: {spike: {metrics: [haet]}}", "faults.spike changes haet, which is no metric", "Did you mean heat?"),
    (HEAD + "    faults: {spike: {scale: spreed}}", "line 7: type kiln: faults.spike has the unknown scale", "spread?"),
    (HEAD + "    faults: {spike: {duration: 0}}", "faults.spike.duration is 0: expected", ""),
    (HEAD + "    faults: {spike: {onset: 2}}", "faults.spike.onset is 2", ""),
    (HEAD + "    faults: {flicker: {}}", "faults.flicker: only digital metrics flicker, and heat is none", ""),
    (HEAD + "    faults: {power_spike: {}}", "faults.power_spike changes power, which is no metric", "There are: heat."),
    (HEAD + "    faults: 3", "faults", ""),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message", "remedy"), BAD_FILES)
def test_errors_say_where_and_what_to_do(tmp_path, text, message, remedy):
    path = own(tmp_path, text)
    with pytest.raises(ConfigError) as refused:
        load_catalogue([path])
    assert refused.value.message.startswith(str(path))
    assert message in refused.value.message
    assert remedy in refused.value.remedy
    assert refused.value.remedy


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match=r"nothing\.yaml: cannot be read"):
        load_catalogue([tmp_path / "nothing.yaml"])


# A group's changes


def test_a_group_without_changes_has_the_type_itself():
    assert group_type(CATALOGUE, Group(type="oven")) is CATALOGUE.types["oven"]


def test_a_group_changes_metrics_key_by_key():
    group = Group(
        type="environmental",
        metrics={
            "temperature": {"baseline": 19, "range": [10, 25]},
            "humidity": {"noise": None},
            "light": {"unit": "lx", "baseline": 400},
        },
    )
    before, after = CATALOGUE.types["environmental"], group_type(CATALOGUE, group)
    assert after.metrics["temperature"].baseline == Amount(19.0)
    assert after.metrics["temperature"].cycles == before.metrics["temperature"].cycles
    assert after.metrics["humidity"].noise is None
    assert list(after.metrics) == [*before.metrics, "light"]
    assert before == CATALOGUE.types["environmental"]
    assert before.metrics["temperature"].baseline == Amount(22.0)


def test_a_group_drops_metrics_and_what_hangs_on_them():
    group = Group(type="environmental", drop_metrics=("temperature",))
    kind = group_type(CATALOGUE, group)
    assert list(kind.metrics) == ["humidity", "pressure", "voltage"]
    assert kind.metrics["humidity"].follows == {}
    fan = group_type(CATALOGUE, Group(type="fan", drop_metrics=("speed",)))
    assert fan.faults.keys() >= {"stuck_on", "flicker", "missing_data"}
    assert not fan.faults.keys() & {"stall", "overspeed", "vibration", "spike"}


def test_a_group_changes_and_adds_faults():
    kinds = {
        "spike": {"weight": 0.9},
        "drift": {"metrics": ["pressure"]},
        "frost": {"effect": "add", "duration": "5m", "intensity": 3},
    }
    kind = group_type(CATALOGUE, Group(type="environmental", faults=FaultChances(kinds=kinds)))
    old = CATALOGUE.types["environmental"].faults["spike"]
    assert kind.faults["spike"] == old.model_copy(update={"weight": 0.9})
    assert kind.faults["drift"].effect is Effect.RAMP
    assert kind.faults["frost"].duration == Span(300.0, 300.0, in_readings=False)


def test_the_fleets_faults_hold_where_they_fit_and_the_groups_go_before_them():
    fleet = FaultChances(
        kinds={
            "spike": {"weight": 5, "duration": "2 readings"},
            "brownout": {"effect": "multiply", "intensity": 0.7, "duration": "1m", "metrics": ["voltage"]},
        }
    )
    oven = group_type(CATALOGUE, Group(type="oven"), fleet)
    assert oven.faults["spike"].weight == 5.0
    assert "brownout" not in oven.faults
    hvac = group_type(CATALOGUE, Group(type="hvac"), fleet)
    assert "spike" not in hvac.faults
    assert hvac.faults["brownout"].intensity == (0.7, 0.7)
    own_kinds = FaultChances(kinds={"spike": {"weight": 1}})
    both = group_type(CATALOGUE, Group(type="oven", faults=own_kinds), fleet).faults["spike"]
    assert (both.weight, both.duration) == (1.0, Span(2.0, 2.0, in_readings=True))


@pytest.mark.parametrize("where", ["fleet", "group"])
def test_faults_that_are_not_enabled_never_come_by_themselves_and_can_be_injected(where):
    off = FaultChances(enabled=False)
    kind = group_type(
        CATALOGUE,
        Group(type="oven", faults=off if where == "group" else FaultChances()),
        off if where == "fleet" else None,
    )
    assert kind.fault_factor == 0.0
    assert kind.faults == CATALOGUE.types["oven"].faults


@pytest.mark.parametrize(
    ("group", "fleet", "message", "remedy"),
    [
        ({"type": "ovne"}, {}, "no device type ovne", "Did you mean oven?"),
        (
            {"metrics": {"temprature": {"baseline": 3}}},
            {},
            "metrics.temprature: oven has no such",
            "temperature?",
        ),
        ({"metrics": {"temperature": {"noise": 3}}}, {}, "metrics.temperature.noise is 3", "Put it right"),
        ({"metrics": {"temperature": {"nosie": 3}}}, {}, "metrics.temperature.nosie is no key", "noise?"),
        ({"drop_metrics": ["temprature"]}, {}, "drop_metrics: no metric temprature", "temperature?"),
        ({"drop_metrics": ["temperature"]}, {}, "metrics", "Put it right"),
        ({"type": "hvac", "drop_metrics": ["power"]}, {}, "metrics.current uses power", "voltage"),
        ({"faults": {"kinds": {"spkie": {}}}}, {}, "faults.spkie: there is no such fault", "spike?"),
        ({"faults": {"kinds": {"spike": {"wieght": 1}}}}, {}, "faults.spike.wieght is no key", "weight?"),
        ({}, {"kinds": {"spkie": {}}}, "fleet: faults.kinds.spkie: no such fault", "spike?"),
        ({}, {"kinds": {"spike": {"wieght": 1}}}, "faults.spike.wieght is no key", "weight?"),
    ],
)
def test_changes_that_make_no_sense_are_refused(group, fleet, message, remedy):
    with pytest.raises(ConfigError) as refused:
        group_type(CATALOGUE, Group(**{"type": "oven", **group}), FaultChances(**fleet), "group 3")
    assert message in refused.value.message
    assert remedy in refused.value.remedy
    assert refused.value.message.startswith(("group 3", "fleet"))
