"""Boils the inputs a long run has found down to a few small ones that reach the same code. Used by `tools/fuzz.py`.

Coverage here is pairs of lines that follow each other in a function of the code under test, by the interpreter's own
tracing: slower than the fuzzer's, but it tells for each input what it reaches.
"""

import hashlib
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Final

SIZE_LIMIT: Final = 16 * 1024
"""Bytes kept for each target: the tests replay all of them in a second or two."""
COUNT_LIMIT: Final = 250
TRIED_LIMIT: Final = 12_000
"""Inputs looked at, the smallest first."""

Step = tuple[str, int, int]


class _Tracer:
    """Notes which line follows which, in files below some folders."""

    def __init__(self, folders: tuple[str, ...]) -> None:
        self._folders = folders
        self.steps: set[Step] = set()

    def trace(self, frame: FrameType, _event: str, _argument: object) -> Callable[..., Any] | None:
        name = frame.f_code.co_filename
        if not name.startswith(self._folders):
            return None
        last = frame.f_lineno
        add = self.steps.add

        def step(frame: FrameType, _event: str, _argument: object) -> Callable[..., Any]:
            nonlocal last
            line = frame.f_lineno
            add((name, last, line))
            last = line
            return step

        return step


def _reach(execute: Callable[[bytes], None], folders: tuple[str, ...], data: bytes) -> set[Step]:
    tracer = _Tracer(folders)
    sys.settrace(tracer.trace)
    try:
        execute(data)
    finally:
        sys.settrace(None)
    return tracer.steps


def keep(name: str, found: Path, kept: Path) -> str:
    """Renew the kept inputs of a target from them and from those found. Return what came of it, in words."""
    target = importlib.import_module(f"targets.{name}")
    folders = tuple(str(Path(str(importlib.import_module(each).__file__)).parent) for each in target.INSTRUMENTED)
    inputs = {path.read_bytes() for folder in (kept, found) if folder.is_dir() for path in folder.iterdir()}
    seen: set[Step] = set()
    chosen: list[bytes] = []
    size = 0
    for data in sorted(inputs, key=lambda each: (len(each), each))[:TRIED_LIMIT]:
        new = _reach(target.execute, folders, data) - seen
        if new and size + len(data) <= SIZE_LIMIT and len(chosen) < COUNT_LIMIT:
            seen |= new
            chosen.append(data)
            size += len(data)
    kept.mkdir(parents=True, exist_ok=True)
    names = {hashlib.sha256(data).hexdigest()[:16]: data for data in chosen}
    for path in kept.iterdir():
        if path.name not in names:
            path.unlink()
    for file, data in names.items():
        (kept / file).write_bytes(data)
    return f"{len(chosen)} of {len(inputs)} inputs kept, {size} bytes, {len(seen)} steps from line to line"
