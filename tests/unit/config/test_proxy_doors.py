"""Doors of kind proxy in the configuration: where their mail goes is named, and is somewhere else."""

from pathlib import Path

import pytest

from gatepost.config.default import build_default_config
from gatepost.config.load import load

DOOR = '\n[[door]]\nkind = "proxy"\naddress = "tcp:127.0.0.1:9026"\nnext_hop = "{hop}"\n'


@pytest.mark.parametrize(
    ("hop", "wrong"),
    [
        ("tcp:127.0.0.1:10026", ""),
        ("unix:/run/lmtp", ""),
        ("", "is neither"),
        ("tcp:127.0.0.1:9026", "leads back to the door itself"),
    ],
)
def test_the_next_hop_is_somewhere_else(tmp_path: Path, hop: str, wrong: str) -> None:
    file = tmp_path / "gatepost.toml"
    text = build_default_config(
        state_path=str(tmp_path), hostname="gw.example.org", listen="127.0.0.1:2525", protected_domains=("example.org",)
    )
    file.write_text(text + DOOR.format(hop=hop))
    problems = [str(problem) for problem in load(file).problems if "next_hop" in str(problem)]
    assert len(problems) == bool(wrong)
    assert all(wrong in problem for problem in problems)
