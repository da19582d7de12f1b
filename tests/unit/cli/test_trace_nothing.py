"""What `gatepost trace` says when it finds nothing while nothing is put on record."""

from typing import Any

import pytest

from gatepost.cli.trace import _show
from gatepost.control.socket import ControlError

FULL = "the recorder ends again and again: what becomes of mail is written down later (disk is full)"


class Gateway:
    """Answers that there is nothing, and tells of these problems; None: it does not run."""

    def __init__(self, problems: list[dict[str, str]] | None) -> None:
        self._problems = problems

    def __call__(self, name: str, arguments: dict[str, Any]) -> Any:
        if name == "tracking.search":
            return {"mails": [], "cursor": "", "back_until": 0.0}
        assert (name, arguments) == ("problems", {})
        if self._problems is None:
            raise ControlError("unknown call 'problems'")
        return {"problems": self._problems}


@pytest.mark.parametrize(
    ("problems", "told"),
    [([{"key": "process:recorder", "text": FULL}, {"key": "host", "text": "other"}], True), ([], False), (None, False)],
)
def test_a_recorder_that_does_not_write_is_told_first(
    capsys: pytest.CaptureFixture[str], problems: list[dict[str, str]] | None, told: bool
) -> None:
    """It said that the mail had not come here."""
    assert _show(Gateway(problems), {"text": "u@example.org"}, json=False) == 4
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "nothing matches"
    assert (lines[1] == f"- {FULL}: what came lately may be in the queue: gatepost queue list") is told
    assert not any("other" in line for line in lines)
    assert _show(Gateway(problems), {"text": "u@example.org"}, json=True) == 4
    assert "recorder" not in capsys.readouterr().out
