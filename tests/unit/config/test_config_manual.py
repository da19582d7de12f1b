"""The manual of parameters is the schema's: the file on disk is what the schema gives now."""

import subprocess
import sys
from pathlib import Path

from gatepost.config.schema import FIELDS

ROOT = Path(__file__).resolve().parents[3]


def test_the_manual_of_parameters_is_current():
    result = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "parameter_manual.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def test_every_parameter_has_a_row():
    text = (ROOT / "docs" / "manual" / "parameters.md").read_text(encoding="utf-8")
    for section, fields in FIELDS.items():
        for field in fields:
            assert f"| `{field.name}` |" in text, (section, field.name)
