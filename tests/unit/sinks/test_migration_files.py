from pathlib import Path

import pytest

from schemas.errors import DatabaseError
from sinks.timescale.migrate import Strength, _strength, load_migrations, packaged_migrations


def test_packaged_files_are_numbered_from_one_without_holes() -> None:
    migrations = packaged_migrations()
    assert [migration.version for migration in migrations] == list(range(1, len(migrations) + 1))
    assert migrations[0].needs is Strength.PLAIN


def test_strength_is_read_from_the_name(tmp_path: Path) -> None:
    for name in ("002_b.apache.sql", "001_a.sql", "003_c.community.sql"):
        (tmp_path / name).write_text("SELECT 1")
    (tmp_path / "notes.txt").write_text("not a migration")
    assert [(m.version, m.name, m.needs) for m in load_migrations(tmp_path)] == [
        (1, "a", Strength.PLAIN),
        (2, "b", Strength.APACHE),
        (3, "c", Strength.COMMUNITY),
    ]


@pytest.mark.parametrize("name", ["1_a.sql", "001-a.sql", "001_a.enterprise.sql"])
def test_other_names_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("SELECT 1")
    with pytest.raises(DatabaseError, match="name"):
        load_migrations(tmp_path)


def test_a_number_is_given_once(tmp_path: Path) -> None:
    (tmp_path / "001_a.sql").write_text("SELECT 1")
    (tmp_path / "001_b.apache.sql").write_text("SELECT 1")
    with pytest.raises(DatabaseError, match="001"):
        load_migrations(tmp_path)


def test_line_ends_do_not_change_the_checksum(tmp_path: Path) -> None:
    (tmp_path / "001_a.sql").write_bytes(b"SELECT 1;\nSELECT 2;\n")
    (unix,) = load_migrations(tmp_path)
    (tmp_path / "001_a.sql").write_bytes(b"SELECT 1;\r\nSELECT 2;\r\n")
    (windows,) = load_migrations(tmp_path)
    assert unix.checksum == windows.checksum


@pytest.mark.parametrize(
    ("extension", "licence", "strength"),
    [
        (None, None, Strength.PLAIN),
        ("2.28.3", "apache", Strength.APACHE),
        ("2.28.3", "timescale", Strength.COMMUNITY),
        ("2.18.1", "timescale", Strength.COMMUNITY),
        ("3.0.0-dev", "timescale", Strength.COMMUNITY),
        ("2.18.0", "timescale", Strength.APACHE),
        ("2.9.3", "timescale", Strength.APACHE),
    ],
)
def test_strength_of_a_version_and_licence(
    extension: str | None, licence: str | None, strength: Strength
) -> None:
    """Before 2.18.1 the columnstore loses rows beside repeated ones."""
    assert _strength(extension, licence) is strength
