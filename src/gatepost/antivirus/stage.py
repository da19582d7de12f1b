"""First stub: the whole content as one object."""

import time
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import entry_points

from gatepost.antivirus.engine import Engine
from gatepost.model.finding import Analysis, ObjectKind, ObjectReport, ObjectStatus, ScanOptions, Span


def load_engines(names: Sequence[str]) -> list[Engine]:
    engines: list[Engine] = []
    for name in names:
        if ":" in name:
            module, _, attribute = name.partition(":")
            engines.append(getattr(import_module(module), attribute)())
        else:
            (entry,) = entry_points(group="gatepost.engines", name=name)
            engines.append(entry.load()())
    return engines


def warm_up(engines: Sequence[Engine]) -> None:
    inspect(b"Subject: warm\r\n\r\nwarm\r\n", ScanOptions(), engines, time.monotonic() + 3600)


def inspect(content: bytes, options: ScanOptions, engines: Sequence[Engine], deadline: float) -> Analysis:
    span = Span(0, len(content))
    status = ObjectStatus.CLEAN
    for engine in engines:
        status = ObjectStatus(engine.scan(content, "", deadline).outcome.value)
    return Analysis((ObjectReport(-1, ObjectKind.PART, status, size=len(content), whole=span, body=span),))
