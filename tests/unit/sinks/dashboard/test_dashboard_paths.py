"""The dashboard's paths: files, errors, the control, without a database."""

import gzip
from contextlib import contextmanager
from importlib.metadata import version

import psycopg
import pytest
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry

from schemas.errors import InputError, SigmawatchError
from schemas.settings import WebSettings
from schemas.web.app import new_app
from sinks.dashboard import DashboardSources, mount_dashboard
from sinks.dashboard.faults import NewFault, literal
from sinks.dashboard.files import library_name, page_files
from sinks.dashboard.warming import Warming
from sinks.queries.connection import DatabaseAwayError

DATA = "/dashboard/data"


@contextmanager
def no_database():
    raise DatabaseAwayError("the database does not answer", "Try again in a moment.")
    yield


def client(**sources):
    app = new_app("test", WebSettings(), registry=CollectorRegistry())
    mount_dashboard(app, DashboardSources(**{"connection": no_database, **sources}))
    return TestClient(app, base_url="http://127.0.0.1")


class Simulation:
    """Answers as the control API; remembers what it was asked."""

    def __init__(self, devices=None):
        self.asked = []
        self.devices = devices

    def __call__(self, method, path, *, body=None, query=None):
        self.asked.append((method, path, body))
        if path == "/catalogue":
            return [{"name": "oven", "title": "Oven", "faults": {"spike": "A value jumps up"}, "metrics": {}}]
        if path == "/faults/clear":
            return {"count": 1}
        return {"devices": self.devices or [], "count": 1}


FAULTY = {
    "device_id": "oven-1",
    "fault": {"fault": "spike", "began": "2026-03-01T12:00:00Z", "ends": None, "intensity": 2.0},
}


# -- files


def test_the_page_says_what_it_may_load():
    with client() as page:
        answer = page.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe-eval" not in policy
    assert "http" not in policy
    assert f'data-library="{library_name()}"' in answer.text


def test_every_file_of_the_page_is_there_and_names_no_address():
    with client() as page:
        for name, file in page_files().items():
            answer = page.get(f"/dashboard/static/{name}")
            assert answer.status_code == 200, name
            assert answer.content == file.plain, name
            assert answer.headers["x-content-type-options"] == "nosniff"
            if name.endswith(".js"):
                assert answer.headers["content-type"].startswith("text/javascript"), name
            if not file.lasting:
                text = file.plain.decode().replace("http://www.w3.org/2000/svg", "")
                assert "http://" not in text, name
                assert "https://" not in text, name


def test_what_the_page_imports_exists():
    import re  # noqa: PLC0415

    for name, file in page_files().items():
        if name.endswith(".js") and not file.lasting:
            for imported in re.findall(r'from "\./([^"]+)"', file.plain.decode()):
                assert imported in page_files(), f"{name} imports {imported}"
    page = page_files()["index.html"].plain.decode()
    for named in re.findall(r'"/dashboard/static/([^"]+)"', page):
        assert named in page_files()


def test_no_code_takes_html():
    for name, file in page_files().items():
        if name.endswith(".js") and not file.lasting:
            for way in (
                b"innerHTML",
                b"outerHTML",
                b"insertAdjacentHTML",
                b"document.write",
                b"eval(",
                b"Function(",
            ):
                assert way not in file.plain, f"{name} uses {way!r}"


def test_the_library_comes_from_its_wheel_and_may_be_kept():
    name = f"bokeh-{version('bokeh')}/bokeh.min.js"
    with client() as page:
        answer = page.get(f"/dashboard/static/{name}")
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["content-encoding"] == "gzip"
        plain = page.get(f"/dashboard/static/{name}", headers={"Accept-Encoding": "identity"})
        assert "content-encoding" not in plain.headers
        assert plain.content == answer.content


def test_a_file_that_a_browser_has_is_not_sent_again():
    with client() as page:
        first = page.get("/dashboard/static/main.js")
        again = page.get("/dashboard/static/main.js", headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert first.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "path", ["nothing.js", "../mounting.py", "%2e%2e/mounting.py", "bokeh-0/bokeh.min.js"]
)
def test_other_files_are_not_to_be_had(path):
    with client() as page:
        assert page.get(f"/dashboard/static/{path}").status_code == 404


def test_packed_files_are_what_they_were():
    for file in page_files().values():
        assert file.packed is None or gzip.decompress(file.packed) == file.plain


# -- errors


@pytest.mark.parametrize(
    "path",
    [
        "fleet",
        "state",
        "anomalies",
        "pipeline",
        "device?id=a",
        "charts?device=a",
        "latest?device=a",
        "watch?device=a&fault=spike&began=1",
    ],
)
def test_a_database_that_is_away_is_said_with_a_remedy(path):
    with client() as page:
        answer = page.get(f"{DATA}/{path}")
    assert answer.status_code == 503
    assert answer.json()["detail"] == "the database does not answer"
    assert answer.json()["remedy"] == "Try again in a moment."


def test_a_database_without_our_tables_is_said_with_a_remedy():
    @contextmanager
    def empty():
        raise psycopg.errors.UndefinedTable("relation devices does not exist")
        yield

    with client(connection=empty) as page:
        answer = page.get(f"{DATA}/fleet")
    assert (answer.status_code, answer.json()["remedy"]) == (503, "Run `sigmawatch db migrate`.")


@pytest.mark.parametrize(
    "path",
    [
        "anomalies?severity=LOUD",
        "anomalies?limit=0",
        "anomalies?cursor=nonsense",
        "device?id=a%00b",
        "charts?device=a&seconds=-1",
        "charts?device=a&pixels=0",
        "watch?device=a&fault=&began=1",
        "latest?" + "&".join(f"device={number}" for number in range(101)),
    ],
)
def test_questions_that_make_no_sense_are_refused(path):
    @contextmanager
    def connected():
        yield None

    with client(connection=connected) as page:
        answer = page.get(f"{DATA}/{path}")
    assert answer.status_code == 422
    assert answer.json()["detail"]


def test_quality_that_nobody_measures_says_who_does():
    with client() as page:
        answer = page.get(f"{DATA}/quality")
    assert answer.status_code == 422
    assert "sigmawatch" in answer.json()["remedy"]


# -- faults


def test_without_a_simulation_the_page_says_how_to_get_one():
    with client(control_remedy="Run it.") as page:
        told = page.get(f"{DATA}/control").json()
        refused = page.post(f"{DATA}/faults", json={"device": "a", "fault": "spike", "seconds": 1})
    assert told == {
        "available": False,
        "why": "No simulation is within reach of this page.",
        "remedy": "Run it.",
    }
    assert (refused.status_code, refused.json()["remedy"]) == (422, "Run it.")


def test_the_faults_of_each_type_are_offered():
    with client(control=Simulation()) as page:
        told = page.get(f"{DATA}/control").json()
    assert told["types"] == [{"type": "oven", "title": "Oven", "faults": {"spike": "A value jumps up"}}]


def test_a_fault_is_put_into_one_device():
    simulation = Simulation([FAULTY])
    with client(control=simulation) as page:
        begun = page.post(f"{DATA}/faults", json={"device": "oven-1", "fault": "spike", "seconds": 30})
    assert begun.json() == {"device": "oven-1", **FAULTY["fault"]}
    assert simulation.asked == [
        ("POST", "/faults", {"select": {"device_id": "oven-1"}, "fault": "spike", "seconds": 30.0})
    ]


def test_a_device_that_the_simulation_does_not_have_takes_no_fault():
    with client(control=Simulation()) as page:
        answer = page.post(f"{DATA}/faults", json={"device": "real-1", "fault": "spike", "seconds": 30})
    assert (answer.status_code, answer.json()["remedy"]) == (422, "Only simulated devices take faults.")


def test_a_fault_can_be_ended():
    simulation = Simulation()
    with client(control=simulation) as page:
        assert page.post(f"{DATA}/faults/clear", json={"device": "oven-1"}).json() == {"count": 1}
    assert simulation.asked == [("POST", "/faults/clear", {"select": {"device_id": "oven-1"}})]


def test_a_simulation_that_does_not_answer_is_told_with_its_remedy():
    def away(*_, **__):
        raise SigmawatchError("nobody answers", "Is it running?")

    with client(control=away) as page:
        answer = page.get(f"{DATA}/control")
    assert (answer.status_code, answer.json()["remedy"]) == (422, "Is it running?")


@pytest.mark.parametrize("device_id", ["oven-*", "oven-?"])
def test_an_id_that_is_a_pattern_is_refused(device_id):
    with pytest.raises(InputError):
        literal(device_id)


def test_only_what_was_given_goes_to_the_simulation():
    fault = NewFault(device="a", fault="drift", seconds=60, intensity=2.5, onset=0.5)
    assert fault.body() == {
        "select": {"device_id": "a"},
        "fault": "drift",
        "seconds": 60.0,
        "intensity": 2.5,
        "onset": 0.5,
    }


def test_a_form_of_another_page_changes_nothing():
    simulation = Simulation([FAULTY])
    with client(control=simulation) as page:
        answer = page.post(f"{DATA}/faults", content='{"device":"oven-1","fault":"spike","seconds":3}')
    assert answer.status_code == 415
    assert simulation.asked == []


# -- warm-up


class Counts:
    """A connection that counts readings."""

    def __init__(self, counts):
        self.counts = counts
        self.asked = []

    def execute(self, _, parameters):
        self.asked.append(parameters["devices"])
        return [(device, min(self.counts[device], parameters["enough"])) for device in parameters["devices"]]


def test_a_device_that_is_warm_is_not_asked_for_again():
    warming, counts = Warming(60), Counts({"a": 500, "b": 12, "c": 0})
    assert warming.among(counts, ["a", "b", "c"]) == {"b": 12, "c": 0}
    counts.counts["b"] = 60
    assert warming.among(counts, ["a", "b", "c"]) == {"c": 0}
    assert warming.among(counts, ["a", "b"]) == {}
    assert counts.asked == [["a", "b", "c"], ["b", "c"]]
