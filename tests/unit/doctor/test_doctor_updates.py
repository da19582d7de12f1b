"""Updates that failed, were taken back, or are no longer looked for, are problems; what was never set up is none."""

from pathlib import Path

import pytest

from gatepost.config.load import load_text
from gatepost.config.schema import Config
from gatepost.doctor.finding import State
from gatepost.doctor.updates import check_updates, judge_update
from gatepost.feeds.update_state import DIRECTORY, UpdateRun, write_run

NOW = 1_800_000_000.0
HOUR = 3600.0


def _config(state: Path) -> Config:
    text = f'[network]\nhostname = "gw.example.org"\n[relay]\nstate_path = "{state}"\n'
    config = load_text(text, "x.toml").config
    assert config is not None
    return config


@pytest.mark.parametrize(
    ("run", "state", "told"),
    [
        (UpdateRun(checked=NOW - HOUR, result="not-needed"), State.OK, "looked for on"),
        (UpdateRun(checked=NOW - HOUR, result="error", error="no server\nmore"), State.WARNING, "failed: no server"),
        (UpdateRun(checked=NOW - HOUR, result="rolled-back", error="unfit"), State.WARNING, "refused on"),
        (UpdateRun(checked=NOW - HOUR, result="rolled-back"), State.OK, "looked for"),
        (UpdateRun(checked=NOW - HOUR, result="updated", pending=("antivirus/own",)), State.WARNING, "not known"),
        (UpdateRun(checked=NOW - 47 * HOUR, result="updated"), State.OK, "looked for on"),
        (UpdateRun(checked=NOW - 49 * HOUR, result="updated"), State.WARNING, "nobody has looked"),
        (UpdateRun(checked=NOW + 365 * 24 * HOUR, result="updated"), State.WARNING, "nobody has looked"),
    ],
)
def test_the_last_run_is_judged(run: UpdateRun, state: State, told: str) -> None:
    finding = judge_update(run, NOW)
    assert finding.state is state
    assert told in finding.text
    assert "\n" not in finding.text


def test_an_installation_that_never_updates_has_nothing_to_say(tmp_path: Path) -> None:
    config = _config(tmp_path)
    assert list(check_updates(config, NOW)) == []
    write_run(tmp_path / DIRECTORY, UpdateRun(checked=NOW, result="updated"))
    assert [finding.state for finding in check_updates(config, NOW)] == [State.OK]
