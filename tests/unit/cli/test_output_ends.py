"""A command whose output nobody reads to the end (`gatepost … | head -1`) ends quietly."""

import os
import subprocess

import pytest
from tests.support.gateway import GATEPOST


@pytest.mark.parametrize("command", [("config", "init"), ("config", "explain", "relays")], ids=["much", "little"])
def test_a_reader_that_goes_away_is_no_error_of_ours(command: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = subprocess.run(
            [*GATEPOST, *command],
            stdout=writing, stderr=subprocess.PIPE, check=False, timeout=60,
            env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        )  # fmt: skip
    finally:
        os.close(writing)
    assert (ended.returncode, ended.stderr) == (4, b"")
