"""Archives made to exhaust: each ends as `error`, in bounded time and memory, in a process of its own."""

import bz2
import json
import lzma
import os
import sys
import time
import zlib
from collections.abc import Callable

import av_samples
import pytest
from tests.support.bombs_packed import (
    GIB,
    deflated,
    in_a_row,
    many_empty,
    nested,
    overlapping,
    seven_zip_of_zeros,
    sparse_tar,
    tar_header,
    tar_in_tar,
    zip_by_hand,
)

from gatepost.antivirus.budget import MEMBER_BYTES
from gatepost.antivirus.builtin import BuiltinEngine
from gatepost.antivirus.stage import inspect
from gatepost.model.finding import SEVERITY, ObjectStatus, ScanOptions
from gatepost.model.zstandard import zstd

CPU_LIMIT_S = 10
"""Several times what the dearest takes here: what matters is that it does not grow with the bomb."""
MEMORY_LIMIT = 2 * MEMBER_BYTES + 64 * 1024 * 1024
"""One object of the largest size with what makes it, beside the archive."""
OPTIONS = ScanOptions(deadline_s=60)
ENGINE = BuiltinEngine()


BOMBS: dict[str, Callable[[], bytes]] = {
    "bzip2": lambda: in_a_row(bz2.compress, 1 << 24),
    "xz": lambda: in_a_row(lzma.compress, 1 << 25),
    "lzma": lambda: lzma.compress(bytes(1 << 26), lzma.FORMAT_ALONE, preset=0),
    "zstd": lambda: in_a_row(zstd.compress, 1 << 26),
    "7z": lambda: seven_zip_of_zeros(1 << 26),
    "zip": lambda: zip_by_hand([(b"zeros", deflated(GIB), GIB, 0)]),
    "zip, lying": lambda: zip_by_hand([(b"small", deflated(GIB), 10, 0)]),
    "tar in xz": lambda: lzma.compress(tar_header("zeros", 1 << 26) + bytes(1 << 26), preset=0),
    "42": lambda: nested(5, 17),
    "overlap": lambda: overlapping(250, 20 << 20),
    "many empty": lambda: many_empty(150_000),
    "many empty in a tar": lambda: b"".join(tar_header(str(index), 0) for index in range(12_000)) + bytes(1024),
    "many streams": lambda: zlib.compress(b"", wbits=31) * 200_000,
    "sparse": lambda: sparse_tar(8 << 40),
    "tar in tar": lambda: tar_in_tar(200),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_costs_little_and_is_an_error(name: str) -> None:
    content = av_samples.attached(BOMBS[name]())
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        with open("/proc/self/clear_refs", "w") as file:  # noqa: PTH123 - the peak counts from here on
            file.write("5")
        base = _status("VmHWM")
        started = time.process_time()
        analysis = inspect(content, OPTIONS, [ENGINE], time.monotonic() + OPTIONS.deadline_s)
        took = time.process_time() - started
        worst = min((each.status for each in analysis.objects), key=SEVERITY.index)
        evidence = next(each.evidence for each in analysis.objects if each.status is worst)
        answer = {"status": worst.value, "evidence": evidence, "cpu": took, "memory": _status("VmHWM") - base}
        os.write(write, json.dumps(answer).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        answer = json.loads(pipe.read())
    os.waitpid(child, 0)
    if "SHOW" in os.environ:
        print(name, answer, len(content), file=sys.stderr)
    assert answer["status"] == ObjectStatus.ERROR
    assert answer["cpu"] < CPU_LIMIT_S
    assert answer["memory"] < MEMORY_LIMIT


def _status(field: str) -> int:
    with open("/proc/self/status") as file:  # noqa: PTH123 - in a forked child, as little as possible
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(field))
