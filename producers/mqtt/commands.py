"""Commands that come by MQTT: {"command": NAME, "parameters"?: {...}}, as the control API takes them."""

from collections.abc import Container
from concurrent.futures import Future
from functools import partial
from queue import Empty, Full, Queue

import structlog
from pydantic import ValidationError

from producers.control.device_commands import device_command
from producers.control.requests import SendCommand
from producers.mqtt.payloads import Answer
from producers.mqtt.topics import Topics
from producers.simulation.commands import CommandError, Outcome
from producers.simulation.control import CommandQueue
from schemas.errors import SigmawatchError
from schemas.strict_json import DoubledKey, NotJsonError, parse_json

_LOG = structlog.get_logger(__name__)

_FORM = 'Send {"command": NAME, "parameters": {...}}.'
_MAX_BYTES = 65_536
_MAX_ANSWERS = 1000  # that wait; a flood of nonsense is logged only


class CommandDesk:
    """Hands commands to the simulation, those for its own devices; `answers` collects what became of them.

    Args:
        topics: where commands come.
        devices: ids of the simulation's own; asked from the sending thread.
        queue: the simulation empties it.
    """

    def __init__(self, topics: Topics, devices: Container[str], queue: CommandQueue) -> None:
        self._topics = topics
        self._devices = devices
        self._queue = queue
        self._answers: Queue[tuple[str, Answer]] = Queue(_MAX_ANSWERS)

    def take(self, topic: str, payload: bytes, retained: bool) -> None:
        """Take a message; does not block. What cannot be obeyed is logged, and answered with the reason."""
        device_id = self._topics.commanded(topic)
        if device_id is None or device_id not in self._devices:
            return  # of another simulator, or of a real device
        name = ""
        try:
            sent = _parse(payload, retained=retained)
            name = sent.command
            command = device_command(device_id, name, sent.parameters)
        except CommandError as error:
            self._refuse(device_id, name, error)
            return
        self._queue.submit(command).add_done_callback(partial(self._settle, device_id, name))

    def answers(self) -> list[tuple[str, Answer]]:
        """(device, answer) of the commands that are settled since the last call."""
        found = []
        while True:
            try:
                found.append(self._answers.get_nowait())
            except Empty:
                return found

    def _settle(self, device_id: str, name: str, future: Future[Outcome]) -> None:
        error = future.exception()
        if error is None:
            _LOG.info("a command was obeyed", device=device_id, command=name)
            self._answer(device_id, Answer(name, success=True, message="done"))
        elif isinstance(error, SigmawatchError):
            self._refuse(device_id, name, error)
        else:
            _LOG.error("a command could not be obeyed", device=device_id, command=name, exc_info=error)
            self._answer(device_id, Answer(name, success=False, message="an error of the simulator's own"))

    def _refuse(self, device_id: str, name: str, error: SigmawatchError) -> None:
        _LOG.warning("a command is not obeyed", device=device_id, reason=str(error))
        self._answer(device_id, Answer(name, success=False, message=str(error)))

    def _answer(self, device_id: str, answer: Answer) -> None:
        try:
            self._answers.put_nowait((device_id, answer))
        except Full:
            _LOG.warning("an answer to a command is left out: there are too many", device=device_id)


def _parse(payload: bytes, *, retained: bool) -> SendCommand:
    if retained:
        raise CommandError("a retained command", "It would be obeyed at every start: do not retain it.")
    if len(payload) > _MAX_BYTES:
        raise CommandError(f"a command of {len(payload)} bytes", f"Send at most {_MAX_BYTES}.")
    try:
        document = parse_json(payload)
    except NotJsonError as error:
        where = f" ({error.place})" if error.place else ""
        raise CommandError(f"the command is {error}{where}", _FORM) from None
    if not isinstance(document, dict):
        raise CommandError("the command is no JSON object", _FORM)
    for part in (document, document.get("parameters")):
        if isinstance(part, DoubledKey):
            raise CommandError(f"the command has the key {part.key[:50]!r} twice", _FORM)
    try:
        return SendCommand.model_validate(document)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        place = ".".join(map(str, problem["loc"]))
        raise CommandError(f"{place[:100]}: {problem['msg']}", _FORM) from None
