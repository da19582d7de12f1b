"""Whatever tests start ends with them, however they end (`tests.support.leftovers`)."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUN = """
import subprocess, sys
from tests.support.leftovers import watch
watch()
left = subprocess.Popen(["sh", "-c", "tail -f /dev/null & wait"], start_new_session=True)
print(left.pid, flush=True)
sys.stdin.read()
left.returncode = 0
"""


@pytest.mark.parametrize("killed", [False, True])
def test_what_a_run_of_tests_leaves_behind_is_ended(killed: bool) -> None:
    with subprocess.Popen([sys.executable, "-c", RUN], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        left = os.pidfd_open(int(run.stdout.readline()))
        ends = select.poll()
        ends.register(left, select.POLLIN)
        assert not ends.poll(0)
        if killed:
            run.send_signal(signal.SIGKILL)
    assert run.returncode == (-signal.SIGKILL if killed else 0)
    assert ends.poll(30_000), "it still runs"
    os.close(left)
