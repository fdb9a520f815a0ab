"""A schema registry in memory that speaks the documented HTTP API, and can be told to misbehave."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class RegistryServer:
    """`url`; `requests` is what was asked; `answer` set to (status, body) is given to every request."""

    def __init__(self):
        self.schemas, self.subjects, self.levels = [], {}, {None: "BACKWARD"}
        self.requests, self.authorizations, self.answer = [], [], None
        handler = type("Handler", (_Handler,), {"registry": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=lambda: self._server.serve_forever(poll_interval=0.02))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def handle(self, method, path, body):
        self.requests.append((method, path))
        if self.answer:
            return self.answer
        parts = path.partition("?")[0].strip("/").split("/")
        match method, *parts:
            case "POST", "subjects", subject:
                return self._look_up(subject, body["schema"])
            case "POST", "subjects", subject, "versions":
                return self._register(subject, body["schema"])
            case "GET", "subjects", subject, "versions", "latest":
                ids = self.subjects.get(subject)
                return (200, self._entry(subject, ids[-1])) if ids else _not_found(40401, "Subject not found")
            case "GET", "schemas", "ids", number:
                if 1 <= int(number) <= len(self.schemas):
                    return 200, {"schema": self.schemas[int(number) - 1]}
                return _not_found(40403, "Schema not found")
            case "GET", "config", *subject:
                level = self.levels.get(subject[0] if subject else None)
                return (200, {"compatibilityLevel": level}) if level else _not_found(40408, "No level")
            case "PUT", "config", subject:
                self.levels[subject] = body["compatibility"]
                return 200, body
        return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}

    def _look_up(self, subject, schema):
        if subject not in self.subjects:
            return _not_found(40401, f"Subject '{subject}' not found.")
        for schema_id in self.subjects[subject]:
            if json.loads(self.schemas[schema_id - 1]) == json.loads(schema):
                return 200, self._entry(subject, schema_id)
        return _not_found(40403, "Schema not found")

    def _register(self, subject, schema):
        same = [n for n, known in enumerate(self.schemas, 1) if json.loads(known) == json.loads(schema)]
        if not same:
            self.schemas.append(schema)
            same = [len(self.schemas)]
        ids = self.subjects.setdefault(subject, [])
        if same[0] not in ids:
            ids.append(same[0])
        return 200, {"id": same[0]}

    def _entry(self, subject, schema_id):
        version = self.subjects[subject].index(schema_id) + 1
        return {
            "subject": subject,
            "version": version,
            "id": schema_id,
            "schema": self.schemas[schema_id - 1],
        }


def _not_found(code, message):
    return 404, {"error_code": code, "message": message}


class _Handler(BaseHTTPRequestHandler):
    registry: RegistryServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _serve(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        self.registry.authorizations.append(self.headers.get("Authorization"))
        status, answer = self.registry.handle(self.command, self.path, body)
        raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    do_GET = do_POST = do_PUT = _serve  # noqa: N815

    def log_message(self, *_):
        pass
