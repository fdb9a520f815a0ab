"""Who receives notifications, on loopback: an HTTP server for webhooks and an SMTP server for mail, both real and small."""

import json
import socketserver
import threading
from collections import Counter
from dataclasses import dataclass, field
from email import message_from_string
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from email.message import Message


@dataclass
class Call:
    """One request: path, headers and body."""

    path: str
    headers: dict[str, str]
    document: Any
    status: int


class Served:
    """A server of the standard library on a free loopback port, in a thread while the block runs."""

    def _serve_by(self, server: socketserver.BaseServer) -> None:
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


@dataclass
class Webhooks(Served):
    """An HTTP server that keeps what it got; `answers` maps a path to the status it gives, 200 if there is none."""

    answers: dict[str, int] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.hold.set()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"] or 0))
                owner.hold.wait(60)
                path = self.path.partition("?")[0]
                status = owner.answers.get(path, 200)
                try:
                    document = json.loads(body)
                except ValueError:
                    document = body.decode(errors="replace")
                owner.calls.append(Call(path, dict(self.headers.items()), document, status))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._serve_by(ThreadingHTTPServer(("127.0.0.1", 0), Handler))

    def url(self, path: str = "/hook") -> str:
        return f"json://127.0.0.1:{self.port}{path}"

    def taken(self, path: str = "/hook") -> list[Call]:
        return [call for call in self.calls if call.path == path and call.status == 200]

    def told(self, path: str = "/hook") -> Counter[tuple[str, str]]:
        """(device, state) -> how often, over all that was taken."""
        return Counter(
            (each["device_id"], each["state"])
            for call in self.taken(path)
            for each in call.document["anomalies"]
        )

    def keys(self, path: str = "/hook") -> list[str]:
        return [call.headers["Idempotency-Key"] for call in self.taken(path)]

    def __exit__(self, *_: object) -> None:
        self.hold.set()
        super().__exit__()


class Mailbox(Served):
    """An SMTP server that keeps the mails it got."""

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], Message]] = []
        owner = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                recipients: list[str] = []
                self._say("220 test")
                while line := self.rfile.readline().decode().strip():
                    verb = line[:4].upper()
                    if verb == "RCPT":
                        recipients.append(line.partition("<")[2].partition(">")[0])
                    if verb == "DATA":
                        self._say("354 go on")
                        owner.mails.append((recipients, message_from_string(self._data())))
                        recipients = []
                    self._say("221 bye" if verb == "QUIT" else "250 ok")
                    if verb == "QUIT":
                        return

            def _data(self) -> str:
                lines = []
                while (line := self.rfile.readline().decode()) not in (".\r\n", ""):
                    lines.append(line.removeprefix("."))
                return "".join(lines)

            def _say(self, line: str) -> None:
                self.wfile.write(f"{line}\r\n".encode())

        self._serve_by(_Server(("127.0.0.1", 0), Handler))
