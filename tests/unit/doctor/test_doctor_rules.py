"""`gatepost doctor` says which rule set is in force; where rules are off it says nothing."""

from pathlib import Path

import msgspec
import pytest

from gatepost.config.load import load_text
from gatepost.config.schema import Config
from gatepost.doctor.finding import State
from gatepost.doctor.rules import check_rules


def config_of(state: Path, *, enabled: bool = True) -> Config:
    text = f"[network]\nhostname = 'gw.example.org'\n[relay]\nstate_path = '{state}'\n[profiles]\nenabled = {str(enabled).lower()}\n"
    config = load_text(text, "x.toml").config
    assert config is not None
    return config


def test_the_set_in_force_is_told(tmp_path: Path) -> None:
    (finding,) = check_rules(config_of(tmp_path), 0.0)
    assert finding.state is State.OK
    assert finding.text.endswith("are in force (as shipped)")
    assert not finding.text.startswith("0 rules")


def test_a_set_of_which_nothing_is_active_is_a_warning(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    off = msgspec.structs.replace(config.rule_set, common=(), personal=())
    (finding,) = check_rules(msgspec.structs.replace(config, rule_set=off), 0.0)
    assert (finding.state, "no profile" in finding.text, bool(finding.mend)) == (State.WARNING, True, True)
    assert list(check_rules(config_of(tmp_path, enabled=False), 0.0)) == []


@pytest.mark.parametrize(("listeners", "warned"), [("[[listener]]\naddress = '127.0.0.1:25'\n", True), ("", False)])
def test_a_filtering_server_without_a_relay_needs_no_relay_rules(tmp_path: Path, listeners: str, warned: bool) -> None:
    text = f"[network]\nlisten_on = []\n[[door]]\nname = 'd'\naddress = 'unix:{tmp_path}/s'\n{listeners}"
    problems = load_text(text, "x.toml").problems
    assert any("no relay rule" in problem.what for problem in problems) is warned
