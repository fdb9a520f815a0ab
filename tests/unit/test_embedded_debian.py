"""Reading apt's sources, choosing packages, and what is changed in the unpacked programs."""

from pathlib import Path

import pytest

from deploy.embedded import debian
from deploy.embedded.debian import AptSource
from deploy.embedded.errors import UnavailableError

ONE_LINE = """\
# deb http://old.example/debian bookworm main
deb http://mirror.example/debian bookworm main contrib # the main one
deb [arch=amd64 signed-by=/keys/ours.gpg trusted=yes] https://other.example/debian trixie main
deb-src http://mirror.example/debian bookworm main
deb http://mirror.example/debian-security bookworm-security main
deb https://packages.example/apt tool-bookworm main
"""

DEB822 = """\
Types: deb deb-src
# a comment
URIs: http://mirror.example/debian http://second.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Enabled: no
Types: deb
URIs: http://disabled.example/debian
Suites: trixie
Components: main

Types: deb
URIs: http://inline.example/debian
Suites: stable
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
 -----END PGP PUBLIC KEY BLOCK-----
"""

DEPENDS = """\
postgresql-17
 |Depends: locales
  Depends: locales-all
  Depends: postgresql-common
  Depends: tzdata
 |Depends: debconf
  Depends: <debconf-2.0>
    cdebconf
    debconf
  Depends: libc6
  Depends: <libcurl-virtual>
    libcurl-a
    libcurl-b
  Depends: libllvm19
postgresql-17-timescaledb
  Depends: postgresql-17
  PreDepends: libssl3t64
libc6
  Depends: libgcc-s1
libgcc-s1
  Depends: libc6
 |Depends: second-choice
  Depends: third-choice
postgresql-common
  Depends: perl
tzdata
libcurl-a
  Depends: libnghttp
"""


def test_one_line_sources_keep_their_options() -> None:
    found = debian.parse_one_line(ONE_LINE)
    assert [source.uri for source in found] == [
        "http://mirror.example/debian",
        "https://other.example/debian",
        "http://mirror.example/debian-security",
        "https://packages.example/apt",
    ]
    assert found[0].components == ("main", "contrib")
    assert found[1] == AptSource(
        "https://other.example/debian", ("trixie",), ("main",), "/keys/ours.gpg", True
    )


def test_deb822_sources_give_one_entry_a_uri() -> None:
    found = debian.parse_deb822(DEB822)
    assert [source.uri for source in found] == [
        "http://mirror.example/debian",
        "http://second.example/debian",
        "http://inline.example/debian",
    ]
    assert found[0].suites == ("bookworm", "bookworm-updates")
    assert found[0].signed_by == "/usr/share/keyrings/debian-archive-keyring.gpg"
    assert "abc" in found[2].signed_by


def test_only_mirrors_of_the_whole_archive_are_asked_for_trixie() -> None:
    found = debian.trixie_sources(debian.parse_one_line(ONE_LINE) + debian.parse_deb822(DEB822))
    assert [source.uri for source in found] == [
        "http://mirror.example/debian",
        "https://other.example/debian",
        "http://second.example/debian",
        "http://inline.example/debian",
    ]
    assert all(source.suites == ("trixie",) and source.components == ("main",) for source in found)


def test_ubuntu_is_not_asked() -> None:
    text = "deb http://archive.example/ubuntu noble main universe\n"
    assert debian.trixie_sources(debian.parse_one_line(text)) == []


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    for source in debian.trixie_sources(debian.parse_deb822(DEB822) + debian.parse_one_line(ONE_LINE)):
        text = debian.render_deb822(source, keyrings=())
        assert debian.parse_deb822(text) == [source]


def test_a_source_without_a_key_takes_debians_keyring(tmp_path: Path) -> None:
    ring = tmp_path / "debian.gpg"
    ring.touch()
    source = AptSource("http://mirror.example/debian", ("trixie",), ("main",))
    text = debian.render_deb822(source, keyrings=(str(tmp_path / "none"), str(ring)))
    assert f"Signed-By: {ring}\n" in text


def test_sources_of_a_machine_come_from_both_formats(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text("deb http://a.example/debian trixie main\n")
    (tmp_path / "sources.list.d" / "b.sources").write_text(DEB822)
    (tmp_path / "sources.list.d" / "c.list.save").write_text("deb http://c.example/debian trixie main\n")
    uris = [source.uri for source in debian.machine_sources(tmp_path)]
    assert uris[0] == "http://a.example/debian"
    assert "http://mirror.example/debian" in uris
    assert not any("c.example" in uri for uri in uris)


def test_closure_follows_first_choices_and_cuts_what_only_installing_needs() -> None:
    assert debian.closure(DEPENDS) == [
        "libc6",
        "libcurl-a",
        "libgcc-s1",
        "libnghttp",
        "libssl3t64",
        "postgresql-17",
        "postgresql-17-timescaledb",
        "second-choice",
        "tzdata",
    ]


def test_time_zones_are_redirected_without_moving_a_byte() -> None:
    program = b"\x7fELF...\0" + b"/usr/share/zoneinfo\0" + b"rest"
    changed = debian.redirect_time_zones(program)
    assert len(changed) == len(program)
    assert b"\0zoneinfo\0" in changed
    assert b"/usr/share/zoneinfo" not in changed
    assert changed.endswith(b"rest")


@pytest.mark.parametrize("program", [b"nothing", (b"\0/usr/share/zoneinfo\0x") * 2])
def test_a_program_that_is_not_as_expected_stays_as_it_is(program: bytes) -> None:
    assert debian.redirect_time_zones(program) == program


def test_without_apt_the_reason_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert debian.unavailable_reason() == "apt-get is not installed"
    with pytest.raises(UnavailableError, match="apt-get is not installed"):
        debian.build(tmp_path / "fresh", tmp_path / "final", lambda _: None)
