"""The command line of the ingest, where it ends before it listens."""

import socket

import pytest

from deploy.cli.main import main


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            ["--host", "0.0.0.0"],
            "0.0.0.0 can be reached from other machines, and no token is set. Set a token",
        ),
        (["--device", "x" * 256], "ingest.device_id: the text has 256 bytes"),
        (["--rate-limit", "many"], "ingest.rate_limit"),
        (["--cors-origins", "panel.example"], "expected origins as https://panel.example"),
        (["--set", "ingest.token=short"], "expected at least 16 ASCII characters"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(capsys, flags, said):
    assert main(["ingest", "--port", "0", *flags]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_port_that_is_taken(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["ingest", "--port", str(port)]) == 2
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in capsys.readouterr().err
