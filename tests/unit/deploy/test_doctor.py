"""`sigmawatch doctor`: how checks run, and those that need no server."""

import json
import socket
import threading
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from deploy.cli.main import main
from deploy.doctor import Check, Context, Finding, Report, Status, all_checks
from deploy.doctor.check import fail, ok, warn
from deploy.doctor.configuration import look_at_settings
from deploy.doctor.files import look_at_models, look_at_mqtt, look_at_notifications, look_at_rules
from deploy.doctor.machine import look_at_embedded, look_at_folders, look_at_platform, look_at_python, size
from deploy.doctor.ports import look_at_ports
from deploy.doctor.running import run_checks
from deploy.embedded import free_port
from schemas.errors import ConfigError, SigmawatchError
from schemas.settings import load_settings

NOTHING = Context(None)


def context(overrides=None, **more):
    return Context(load_settings(None, overrides or {}, {}), **more)


def statuses(findings):
    found = [findings] if isinstance(findings, Finding) else findings
    return [one.status for one in found]


def test_a_check_waits_for_what_it_needs_and_is_skipped_without_it():
    order = []

    def look(name, finding):
        def run(_context):
            order.append(name)
            return finding

        return run

    checks = [
        Check("c", look("c", ok("fine")), needs=("b",), needs_settings=False),
        Check("b", look("b", warn("so so", "mend it")), needs=("a",), needs_settings=False),
        Check("a", look("a", ok("fine")), needs_settings=False),
        Check("d", look("d", ok("never")), needs=("e",), needs_settings=False),
        Check("e", look("e", fail("broken", "mend it")), needs=("not asked for",), needs_settings=False),
        Check("f", look("f", ok("never")), needs=("d",), needs_settings=False),
    ]
    reports = run_checks(checks, NOTHING)
    assert [(one.name, str(one.status)) for one in reports] == [
        ("c", "ok"),
        ("b", "warn"),
        ("a", "ok"),
        ("d", "skipped"),
        ("e", "fail"),
        ("f", "skipped"),
    ]
    assert [name for name in order if name != "e"] == ["a", "b", "c"]
    assert reports[3].findings[0].found == "needs: e"


def test_checks_run_side_by_side_and_one_that_hangs_holds_up_nobody():
    both, for_ever = threading.Barrier(2), threading.Event()

    def meet(_context):
        both.wait(60)
        return ok("met")

    def hang(_context):
        for_ever.wait(60)
        return ok("never")

    checks = [
        Check("one", meet, needs_settings=False),
        Check("two", meet, needs_settings=False),
        Check("hanging", hang, needs_settings=False),
        Check("behind it", meet, needs=("hanging",), needs_settings=False),
    ]
    try:
        reports = {one.name: one for one in run_checks(checks, NOTHING, limit=0.5)}
    finally:
        for_ever.set()
    assert [str(reports[name].status) for name in reports] == ["ok", "ok", "fail", "skipped"]
    assert "no answer within 0.5 s" in reports["hanging"].findings[0].found


def test_an_error_is_a_failure_with_its_remedy():
    def refuse(_context):
        raise SigmawatchError("it is closed", "Open it.")

    def break_down(_context):
        raise ZeroDivisionError("by zero")

    checks = [
        Check("ours", refuse, needs_settings=False),
        Check("a bug", break_down, needs_settings=False),
        Check("no settings", refuse),
    ]
    ours, bug, nothing = run_checks(checks, NOTHING)
    assert ours.findings == (Finding(Status.FAIL, "it is closed", "Open it."),)
    assert "ZeroDivisionError: by zero" in bug.findings[0].found
    assert nothing.status is Status.SKIPPED
    assert Report("x", (), 0.0).status is Status.SKIPPED


def test_settings_that_are_not_usable_are_said_one_by_one(tmp_path):
    file = tmp_path / "plant.yaml"
    file.write_text("kafka:\n  bootstrap_server: x\nprocessor:\n  k: -1\n")
    with pytest.raises(ConfigError) as error:
        load_settings(file, {}, {})
    found = look_at_settings(Context(None, error.value, file))
    assert statuses(found) == [Status.FAIL, Status.FAIL]
    assert "bootstrap_server" in found[0].found


def test_a_file_with_a_password_that_all_can_read_is_warned_of(tmp_path):
    file = tmp_path / "plant.yaml"
    file.write_text("database:\n  url: postgresql://me:secret@db/plant\n")
    file.chmod(0o644)
    found = look_at_settings(context(config=file, environ={"SIGMAWATCH_LOG__LEVEL": "info"}))
    assert statuses(found) == [Status.OK, Status.WARN]
    assert "SIGMAWATCH_LOG__LEVEL" in found[0].found
    assert "secret@" not in found[1].found
    file.chmod(0o600)
    assert statuses(look_at_settings(context(config=file, environ={}))) == [Status.OK]
    file.chmod(0o644)
    file.write_text("log:\n  level: info\n")
    assert statuses(look_at_settings(context(config=file, environ={}))) == [Status.OK]


def test_this_machine(tmp_path):
    assert look_at_python(NOTHING).status in (Status.OK, Status.WARN)
    assert look_at_platform(NOTHING)[0].status is Status.OK
    folders = context({"state_dir": str(tmp_path / "new" / "state"), "cache_dir": str(tmp_path)})
    assert all("free" in one.found for one in look_at_folders(folders))
    assert not (tmp_path / "new").exists(), "a check changes nothing"
    assert {one.status for one in look_at_embedded(folders)} <= {Status.OK, Status.SKIPPED, Status.WARN}
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert look_at_folders(context({"state_dir": str(blocked / "state"), "cache_dir": str(tmp_path)}))[
        0
    ].status is (Status.FAIL)


def test_sizes_read_well():
    assert [size(count) for count in (0, 1023, 1024, 10 << 20, 3 * 2**40)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "10 MiB",
        "3.0 TiB",
    ]


def ports(context_of_ports, key):
    (found,) = [one for one in look_at_ports(context_of_ports) if key in one.found]
    return found


def test_ports_are_free_or_taken():
    port = free_port()
    settings = context({"processor.web_port": port, "processor.web_host": "127.0.0.1"})
    assert ports(settings, "processor.web_port").status is Status.OK
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        taken = ports(settings, "processor.web_port")
    assert taken.status is Status.WARN
    assert "another program" in taken.found
    assert ports(context({"processor.web_host": "192.0.2.1"}), "processor.web_port").status is Status.FAIL


def test_what_the_settings_point_to(tmp_path):
    nothing = context({"state_dir": str(tmp_path)})
    for look in (look_at_rules, look_at_notifications):
        assert look(nothing).status is Status.SKIPPED
    assert statuses(look_at_mqtt(nothing)) == [Status.SKIPPED]
    assert statuses(look_at_models(nothing)) == [Status.SKIPPED]
    assert statuses(look_at_models(context({"models.folder": str(tmp_path / "no")}))) == [Status.WARN]
    (tmp_path / "oven.json").write_text("{}")
    assert statuses(look_at_models(context({"models.folder": str(tmp_path)}))) == [Status.OK, Status.WARN]

    rules = tmp_path / "rules.yaml"
    rules.write_text("rules:\n  - {types: [oven], alarm: {minimum_deviation: 2.0}}\n")
    with_rules = context({"processor.rules": str(rules)})
    assert look_at_rules(with_rules).status is Status.OK
    rules.write_text("rules:\n  - {types: [oven], alarms: {minimum_deviation: 2.0}}\n")
    assert "line" in look_at_rules(with_rules).found
    rules.unlink()
    assert look_at_rules(with_rules).status is Status.FAIL
    assert look_at_notifications(context({"notify.routes": str(rules)})).status is Status.FAIL


def test_an_mqtt_broker_that_listens_or_not():
    with socket.socket() as broker:
        broker.bind(("127.0.0.1", 0))
        broker.listen()
        url = f"mqtt://me:secret@127.0.0.1:{broker.getsockname()[1]}"
        (found,) = look_at_mqtt(context({"mqtt.url": url}))
    assert found.status is Status.OK
    assert "secret" not in found.found
    (gone,) = look_at_mqtt(context({"mqtt.url": url}, seconds=2.0))
    assert gone.status is Status.FAIL


def doctor(*arguments):
    out = StringIO()
    with redirect_stdout(out):
        code = main(["doctor", *arguments])
    return code, out.getvalue()


def test_the_command_ends_with_1_where_a_check_fails_and_names_all(tmp_path):
    code, out = doctor(
        *("--json", "--timeout", "1", "--bootstrap-servers", f"127.0.0.1:{free_port()}"),
        *("--database", "postgresql://me:secret@127.0.0.1:1/none", "--set", f"state_dir={tmp_path}"),
    )
    told = json.loads(out)
    by_name = {one["name"]: one for one in told["checks"]}
    assert code == 1
    assert list(by_name) == [one.name for one in all_checks()]
    assert by_name["broker"]["status"] == by_name["database"]["status"] == "fail"
    assert "refused" in by_name["broker"]["findings"][0]["found"].lower()
    assert by_name["broker"]["findings"][0]["remedy"]
    assert by_name["topics"]["status"] == by_name["migrations"]["status"] == "skipped"
    assert told["failed"] >= 2
    assert "secret" not in out


def test_only_what_is_asked_for_is_checked(capsys: pytest.CaptureFixture[str]):
    code, out = doctor("python", "folders")
    assert code == 0
    assert [line.split()[1] for line in out.splitlines() if line.strip()][:1] == ["python"]
    assert "broker" not in out
    assert doctor("pythons")[0] == 2
    assert "Checks are: configuration, python" in capsys.readouterr().err


def test_settings_that_cannot_be_loaded_are_a_finding_and_the_rest_goes_on(tmp_path: Path):
    code, out = doctor("configuration", "python", "topics", "--json", "--set", "kafka.nonsense=1")
    told = {one["name"]: one["status"] for one in json.loads(out)["checks"]}
    assert (code, told) == (1, {"configuration": "fail", "python": "ok", "topics": "skipped"})
