"""What is sent of a message: prefix, untouched ranges, edits; from memory and from a file the same."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.model.verdict import Splice
from gatepost.relay.work import CHUNK, content_chunks, edited_size


@st.composite
def edited(draw: st.DrawFn) -> tuple[bytes, tuple[Splice, ...]]:
    content = draw(st.binary(max_size=200))
    cuts = sorted(draw(st.lists(st.integers(0, len(content)), max_size=8)))
    pairs = zip(cuts[::2], cuts[1::2], strict=False)
    return content, tuple(Splice(start, end, draw(st.binary(max_size=10))) for start, end in pairs)


def apply(content: bytes, splices: tuple[Splice, ...]) -> bytes:
    for splice in reversed(splices):
        content = content[: splice.start] + splice.data + content[splice.end :]
    return content


@given(edited())
@settings(max_examples=200)
def test_edits_leave_every_other_byte(case: tuple[bytes, tuple[Splice, ...]]) -> None:
    content, splices = case
    sent = b"".join(content_chunks(content, None, len(content), b"P: x\r\n", splices))
    assert sent == b"P: x\r\n" + apply(content, splices)
    assert edited_size(len(content), splices) == len(apply(content, splices))


def test_file_and_memory_give_the_same(tmp_path: Path) -> None:
    content = bytes(range(256)) * (CHUNK // 256 * 2) + b"tail"
    splices = (Splice(0, 10, b"start"), Splice(CHUNK - 1, CHUNK + 1, b""), Splice(len(content), len(content), b"end"))
    path = tmp_path / "content"
    path.write_bytes(content)
    chunks = list(content_chunks(None, str(path), len(content), b"", splices))
    assert b"".join(chunks) == apply(content, splices)
    assert max(map(len, chunks)) <= CHUNK


def test_file_that_is_too_short_is_an_error_not_a_short_mail(tmp_path: Path) -> None:
    path = tmp_path / "content"
    path.write_bytes(b"half")
    with pytest.raises(OSError, match="8 bytes were accepted"):
        list(content_chunks(None, str(path), 8, b"", ()))
