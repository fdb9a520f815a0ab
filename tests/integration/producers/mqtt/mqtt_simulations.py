"""Simulations that publish by MQTT."""

import threading
from contextlib import contextmanager

from producers.options import SimulateOptions
from producers.simulation.running import run_simulate
from schemas.errors import SigmawatchError
from schemas.settings import load_settings

SECONDS = 120.0


class Simulation:
    """A simulation in a thread; `progress` is the latest, `summary` or `error` what it ended with."""

    def __init__(self, overrides, **options):
        self.progress = self.summary = self.error = self.port = None
        self.stop = threading.Event()
        self._settings = load_settings(None, overrides, {})
        self._options = SimulateOptions(**options)
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        try:
            self.summary = run_simulate(
                self._settings,
                self._options,
                stop=self.stop,
                on_progress=self._show,
                on_listening=self._listen,
            )
        except SigmawatchError as error:
            self.error = error

    def _show(self, progress):
        self.progress = progress

    def _listen(self, port):
        self.port = port
        self._listening.set()

    @property
    def waiting(self):
        """Readings that the broker has not acknowledged."""
        return self.progress.sent - self.progress.acknowledged if self.progress else 0

    def join(self):
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()
        assert self.error is None, self.error


@contextmanager
def simulation(overrides, **options):
    started = Simulation(overrides, **options)
    try:
        yield started
    finally:
        started.stop.set()
        started._thread.join(SECONDS)
