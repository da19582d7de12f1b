"""The heap before a fork: free memory goes back to the system, and the collector leaves the rest alone."""

import ctypes
import subprocess
import sys

import pytest

BLOCKS, KEPT = 20_000, 50
"""Blocks of a size that comes from the C library's heap, and which of them are kept: the others are holes."""
_PROGRAM = f"""
import gc, re
from gatepost.control.heap import settle_heap

def anonymous_mb():
    with open("/proc/self/smaps_rollup") as file:
        return int(re.search(r"^Anonymous:\\s+(\\d+)", file.read(), re.M)[1]) / 1024

loop = []
loop.append(loop)
blocks = [bytes(2_000) for _ in range({BLOCKS})]
kept = blocks[::{KEPT}]
del blocks, loop
before = anonymous_mb()
settle_heap()
assert len(kept) == {BLOCKS // KEPT}
print(before - anonymous_mb(), gc.get_freeze_count(), gc.collect())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="this C library keeps free memory")
def test_holes_go_back_and_the_rest_is_frozen() -> None:
    told = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True).stdout
    given_back_mb, frozen, garbage = told.split()
    assert float(given_back_mb) > 10  # of 40 MB; which of the pages are free differs by allocator
    assert int(frozen) > 1000
    assert int(garbage) == 0
