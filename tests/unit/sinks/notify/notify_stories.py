"""Alarms that open and clear, and a clock that is turned, for the tests of what is told of them."""

import json
from dataclasses import replace
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import SecretStr

from schemas.readings import Anomaly, AnomalySeverity, AnomalyState
from schemas.testing import START_US, anomaly
from sinks.notify.alarms import DeviceFacts, event_of
from sinks.notify.decide import Decider
from sinks.notify.routes import Route, Routes
from sinks.notify.state import State

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
OVEN = DeviceFacts("oven", "Oven", "Denver", {"temperature": "°C"})


def route(name: str = "ops", **fields) -> Route:
    values = {"name": name, "targets": ("hook",), "wait": 0, "limit": "off"} | fields
    return Route.model_validate(values)


def routes(*some: Route) -> Routes:
    return Routes(some or (route(),), {"hook": SecretStr("json://127.0.0.1/x")}, ZoneInfo("UTC"))


def opened(number: int = 1, at: int = START_US, **fields) -> Anomaly:
    values = {"anomaly_id": UUID(int=number), "opened_at": at, "detected_at": at, "kind": "spike"} | fields
    return anomaly(values.pop("device_id", f"oven-{number}"), **values)


def cleared(before: Anomaly, at: int, **fields) -> Anomaly:
    return replace(before, state=AnomalyState.CLEARED, cleared_at=at, **fields)


def storm(number: int, group: str, at: int = START_US, devices: int = 5, **fields) -> Anomaly:
    values = {
        "kind": "storm",
        "metric": "*",
        "severity": AnomalySeverity.CRITICAL,
        "readings": devices,
        "reason": f"{devices} of 9 devices of {group} at once: spike",
    }
    return opened(number, at, device_id=group, **(values | fields))


class Story:
    """A decider, its state, a clock, and all that was told: (time, notification)."""

    def __init__(self, *some: Route, max_age: int = HOUR, facts: DeviceFacts = OVEN) -> None:
        self.routes = routes(*some)
        self.max_age = max_age
        self.facts = facts
        self.now = START_US
        self.state = State()
        self.decider = Decider(self.routes, max_age, "https://watch.example")
        self.told = []
        self.rows = {}

    def say(self, *messages: Anomaly):
        """Messages come now; what is told at once."""
        unknown = DeviceFacts()
        events = [event_of(each, unknown if each.kind == "storm" else self.facts) for each in messages]
        found = self.decider.decide(self.state, events, self.now)
        self.told += [(self.now, each) for each in found]
        for key, value in self.state.changes().items():
            if value is None:
                self.rows.pop(key)
            else:
                self.rows[key] = json.loads(json.dumps(value))
        return found

    def restart(self) -> None:
        """Everything is forgotten but what was stored."""
        self.state = State(json.loads(json.dumps(self.rows)))
        self.decider = Decider(self.routes, self.max_age, "https://watch.example")

    def until(self, when: int):
        """Time passes; what is told meanwhile, at the moments when it is due."""
        before = len(self.told)
        while True:
            due = self.decider.next_due(self.state)
            if due is None or due > when:
                break
            self.now = max(self.now, due)
            self.say()
        self.now = max(self.now, when)
        self.say()
        return [each for _, each in self.told[before:]]

    def wait(self, us: int):
        return self.until(self.now + us)


def states(notification) -> list[str]:
    return [each.state for each in notification.told]
