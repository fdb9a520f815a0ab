"""The journal of times of arrival."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.bridge.arrivals import _COMPACT_BYTES, ArrivalJournal, key_of
from schemas.errors import ConfigError

A, B = key_of(1, "t", b"21.5"), key_of(2, "t", b"21.5")


def reopened(journal, path):
    """As after a kill: nothing is said to the old one."""
    journal.close()
    return ArrivalJournal(path)


def test_keys_tell_messages_apart():
    assert key_of(1, "t", b"21.5") == A
    different = {A, B, key_of(1, "u", b"21.5"), key_of(1, "t", b"21.6"), key_of(1, "t2", b"1.5")}
    assert len(different) == 5


def test_times_come_through_a_crash_until_they_are_struck(tmp_path):
    path = tmp_path / "deep" / "bridge.journal"
    journal = ArrivalJournal(path)
    journal.note([(A, 100), (B, 200)])
    journal.strike([A])
    journal = reopened(journal, path)
    assert (journal.recall(A), journal.recall(B)) == (None, 200)
    journal.keep_only([B])
    assert journal.recall(B) == 200
    journal.keep_only([])
    journal = reopened(journal, path)
    assert journal.recall(B) is None
    journal.close()


def test_a_later_message_of_the_same_packet_id_takes_its_place(tmp_path):
    path = tmp_path / "j"
    journal = ArrivalJournal(path)
    journal.note([(A, 100)])
    journal.strike([A])
    journal.note([(A, 300)])
    journal = reopened(journal, path)
    assert journal.recall(A) == 300
    journal.close()


@given(st.integers(0, 200))
def test_a_line_cut_short_by_a_crash_spoils_no_other(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("j") / "j"
    journal = ArrivalJournal(path)
    journal.note([(A, 1_700_000_000_000_000), (B, 1_700_000_000_000_001)])
    journal.close()
    data = path.read_bytes()
    path.write_bytes(data[: min(cut, len(data))])
    journal = ArrivalJournal(path)
    assert journal.recall(A) in (None, 1_700_000_000_000_000)
    assert journal.recall(B) in (None, 1_700_000_000_000_001)
    assert (journal.recall(A) is None) == (cut < data.index(b"\n") + 1)
    journal.close()


def test_rubbish_is_passed_over(tmp_path):
    path = tmp_path / "j"
    path.write_bytes(b"\xff\xfe\n+ 1\n+ 1 zz 5\n+ 1 " + A[1].hex().encode() + b" 5\n?\n\n")
    journal = ArrivalJournal(path)
    assert journal.recall(A) == 5
    journal.close()


def test_it_does_not_grow_without_end(tmp_path):
    path = tmp_path / "j"
    journal = ArrivalJournal(path)
    journal.note([(B, 7)])
    keys = [key_of(packet, "t", b"") for packet in range(1000)]
    for _ in range(40):
        journal.note([(key, 1_700_000_000_000_000) for key in keys])
        journal.strike(keys)
        assert path.stat().st_size < _COMPACT_BYTES + 100_000
    journal = reopened(journal, path)
    assert journal.recall(B) == 7
    assert all(journal.recall(key) is None for key in keys)
    journal.close()


def test_without_a_file_it_knows_what_it_was_told():
    journal = ArrivalJournal(None)
    journal.note([(A, 1)])
    assert journal.recall(A) == 1
    journal.strike([A])
    assert journal.recall(A) is None


def test_a_file_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"bridge\.journal"):
        ArrivalJournal(tmp_path / "file" / "j")
