"""A command whose output nobody reads to the end (`gatepost … | head -1`) ends quietly."""

import os
import subprocess

from tests.support.gateway import GATEPOST


def test_a_reader_that_goes_away_is_no_error_of_ours() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = subprocess.run(
            [*GATEPOST, "config", "init"], stdout=writing, stderr=subprocess.PIPE, check=False, timeout=60
        )
    finally:
        os.close(writing)
    assert (ended.returncode, ended.stderr) == (4, b"")
