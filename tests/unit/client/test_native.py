"""Edits that count in CRLF, made on a message that has bare line feeds."""

import mmap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.client import native
from gatepost.client.native import build_wire, edit_native
from gatepost.mime.edit import apply_splices
from gatepost.model.verdict import Splice

TEXT = st.lists(st.sampled_from([b"\n", b"\r\n", b"\r", b"a", b"bc"]), max_size=30).map(b"".join)
CUTS = st.lists(st.tuples(st.integers(0, 60), st.sampled_from([b"", b"X", b"Y\r\nZ"])), max_size=6)


def wire(raw: bytes) -> bytes:
    return b"".join(build_wire(raw))


def splices_for(size: int, cuts: list[tuple[int, bytes]]) -> list[Splice]:
    places = sorted(min(place, size) for place, _ in cuts)
    return [Splice(start, end, data) for start, end, (_, data) in zip(places[::2], places[1::2], cuts, strict=False)]


def test_line_feeds_stay_line_feeds() -> None:
    raw = b"Subject: x\nTo: y\n\nline\n"
    assert wire(raw) == b"Subject: x\r\nTo: y\r\n\r\nline\r\n"
    at = wire(raw).index(b"line")
    made = b"".join(edit_native(raw, b"X-New: 1\r\n", [Splice(9, 10, b"[y]"), Splice(at, at + 6, b"a\r\nb\r\n")]))
    assert made == b"X-New: 1\nSubject: [y]\nTo: y\n\na\nb\n"


def test_what_has_crlf_keeps_it() -> None:
    raw = b"A: 1\r\nB: 2\n\r\n"
    assert wire(raw) == b"A: 1\r\nB: 2\r\n\r\n"
    assert b"".join(edit_native(raw, b"N: 1\r\n", [])) == b"N: 1\r\n" + raw


@given(TEXT)
def test_nothing_is_touched_without_an_edit(raw: bytes) -> None:
    assert b"".join(edit_native(raw, b"", [])) == raw


@given(TEXT, CUTS)
def test_it_is_the_edited_form_for_the_judge(raw: bytes, cuts: list[tuple[int, bytes]]) -> None:
    content = wire(raw)
    assert b"\n" not in content.replace(b"\r\n", b"")
    splices = splices_for(len(content), cuts)
    inside = {place + 1 for place in range(len(content)) if content[place : place + 2] == b"\r\n"}
    if inside & {place for splice in splices for place in (splice.start, splice.end)}:
        return  # between CR and LF nobody edits
    edited = b"".join(edit_native(raw, b"P: 1\r\n", splices))
    assert wire(edited) == wire(b"P: 1\r\n" + b"".join(apply_splices(content, splices)))


def test_pieces_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = b"a\r\nb\nc\r\n\r\n\rd\n"
    whole = wire(raw)
    for size in range(1, 6):
        monkeypatch.setattr(native, "PIECE_BYTES", size)
        assert wire(raw) == whole
        assert b"".join(edit_native(raw, b"", [Splice(3, 3, b"!")])) == b"a\r\n!b\nc\r\n\r\n\rd\n"


def test_a_mapped_file(tmp_path: Path) -> None:
    path = tmp_path / "mail"
    path.write_bytes(b"S: 1\n\nx\n")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert b"".join(build_wire(mapped)) == b"S: 1\r\n\r\nx\r\n"
        assert b"".join(edit_native(mapped, b"", [Splice(3, 4, b"2")])) == b"S: 2\n\nx\n"


@pytest.mark.parametrize("splices", [[Splice(4, 5, b"")], [Splice(3, 2, b"")], [Splice(0, 2, b""), Splice(1, 2, b"")]])
def test_splices_that_do_not_fit(splices: list[Splice]) -> None:
    with pytest.raises(ValueError, match="a splice at"):
        list(edit_native(b"a\n", b"", splices))
