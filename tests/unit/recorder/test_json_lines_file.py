"""The file of JSON lines: what it was before stays as it was."""

import json
from pathlib import Path

import pytest
from tests.unit.tracking.support_tracking import SOURCE, received

from gatepost.model.record import ENCODER
from gatepost.recorder.books import Books
from gatepost.recorder.frames import Rows
from gatepost.recorder.settings import RecorderSettings


@pytest.mark.parametrize(
    "former", [b"\x00" * 500_000, b"not a line of ours", b"a\nb", b'{"source":"x","number":1}\nkey']
)
def test_a_file_that_was_something_else_loses_nothing(tmp_path: Path, former: bytes) -> None:
    """Whatever file a change of `json_file` names: only what a kill has cut off a line of ours is taken away."""
    path = tmp_path / "was-something-else"
    path.write_bytes(former)
    settings = RecorderSettings(directory=str(tmp_path / "tracking"), socket="", questions="", json_file=str(path))
    books = Books(settings, lambda _, __: None, [])
    books.take(SOURCE, 0, [Rows(1, 1, ENCODER.encode([received(0)]))])
    books.commit()
    books.close()
    kept, line, _ = path.read_bytes().rsplit(b"\n", 2)
    assert kept == former
    assert json.loads(line)["type"] == "received"
