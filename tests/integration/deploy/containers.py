"""Docker for the tests of image and compose file: its command line, and the image, built once on what base there is."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from deploy.embedded.paths import FolderLock
from tests.support.servers import docker_images

ROOT = Path(__file__).parents[3]
WRAPPED, IMAGE = "sigmawatch-test-base", "sigmawatch:test"
LABEL = "sigmawatch.test"
"""Of the base, so that every image that is built on it has it, also stages that get no name."""
PYTHON_BASES = ("python:3.13-slim-trixie", "python:3.13-slim", "python:3.12-slim", "python:3.11-slim")
DEBIAN_BASES = ("debian:trixie-slim", "debian:trixie", "local/trixie:min")
NETWORK = ("--network", "host")
"""So that builds reach what this machine reaches, and a worker the broker on loopback."""
BUILD_SECONDS = 900.0


def docker(*arguments, timeout=BUILD_SECONDS, check=True, **more):
    """Run docker and give what it said; the legacy builder, as BuildKit may not be there."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COMPOSE_")}
    done = subprocess.run(
        ["docker", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**environment, "DOCKER_BUILDKIT": "0"},
        check=False,
        **more,
    )
    if check:
        assert done.returncode == 0, (
            f"docker {' '.join(arguments[:3])}: {(done.stdout + done.stderr)[-4000:]}"
        )
    return done


def require_docker() -> frozenset[str]:
    """The images that are here; skips where Docker does not answer."""
    images = docker_images()
    if isinstance(images, str):
        pytest.skip(images)
    if shutil.which("docker") is None:
        pytest.skip("there is no docker command")
    return images


def require_image(*wanted: str) -> str:
    """The first of `wanted` that is here; skips where none is, as tests pull nothing."""
    found = next((name for name in wanted if name in require_docker()), None)
    if found is None:
        pytest.skip(f"Docker has none of the images {', '.join(wanted)}")
    return found


def build_image(folder: Path) -> str:
    """Build the image; it stays, as the next build's cache, and what it replaces goes.

    Of several test processes one builds at a time.
    """
    base = require_image(*PYTHON_BASES, *DEBIAN_BASES)
    lock = FolderLock(Path(tempfile.gettempdir()) / "sigmawatch-test-image", "building the test image")
    with lock.acquire(BUILD_SECONDS):
        before, left = _image_id(IMAGE), _untagged()
        wrapped = _wrap(base, folder)
        build = ("build", *NETWORK, "--file", "deploy/images/Dockerfile")
        docker(*build, "--build-arg", f"BASE_IMAGE={wrapped}", "--tag", IMAGE, str(ROOT))
        if before != _image_id(IMAGE):
            _remove({before} | left)
    return IMAGE


def _image_id(name: str) -> str:
    """Empty where there is no such image."""
    return docker("images", "--quiet", "--no-trunc", name).stdout.strip()


def _untagged() -> set[str]:
    """Images of these tests' builds that have lost their names, as stages of builds never have any."""
    ours = ("--filter", "dangling=true", "--filter", f"label={LABEL}")
    return set(docker("images", "--quiet", "--no-trunc", *ours).stdout.split())


def _remove(images: set[str]) -> None:
    """By their ids, one at a time: one that a container still runs stays."""
    for image in images - {""}:
        docker("rmi", image, check=False)


def _wrap(base: str, folder: Path) -> str:
    """A base that knows this machine's way to a package index: its certificates and pip's settings."""
    settings = {
        name: value for name, value in os.environ.items() if name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL")
    }
    bundle = next((os.environ[name] for name in ("PIP_CERT", "SSL_CERT_FILE") if os.environ.get(name)), None)
    lines = [f"FROM {base}", f"LABEL {LABEL}=1"]
    if bundle is not None and Path(bundle).is_file():
        (folder / "certificates.pem").write_bytes(Path(bundle).read_bytes())
        lines.append("COPY certificates.pem /etc/certificates.pem")
        settings |= dict.fromkeys(("PIP_CERT", "SSL_CERT_FILE"), "/etc/certificates.pem")
    lines += [f"ENV {name}={json.dumps(value)}" for name, value in sorted(settings.items())]
    (folder / "Dockerfile").write_text("\n".join(lines) + "\n")
    docker("build", "--quiet", *NETWORK, "--tag", WRAPPED, str(folder))
    return WRAPPED


def compiled_since_start(container: str) -> list[str]:
    """Loops that a container had to compile because the image brought them not."""
    changes = docker("diff", container).stdout.splitlines()
    return [line for line in changes if line.startswith("A") and line.endswith(".nbc")]
