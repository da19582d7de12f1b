"""Engines that misbehave on a word in the message, loaded by a real template under `filter_rogues:Rogue`."""

import ctypes
import os
import signal
import struct
import threading
import time

import msgspec

from gatepost.antivirus.builtin import BuiltinEngine, _ScopeScanner
from gatepost.antivirus.compiling import NAME_VARIABLE, TYPE_VARIABLE
from gatepost.antivirus.engine import CLEAN, Report, ScanObject
from gatepost.filter.dialogue import Answer, ConnectionQuestion, FromFilter, KnownQuestion, build_frame
from gatepost.filter.template import FILTER_SOCKET
from gatepost.model.finding import Analysis, ObjectKind, ObjectReport, ObjectStatus, Span


def say(*words: FromFilter) -> None:
    os.write(FILTER_SOCKET, b"".join(map(build_frame, words)))


class Rogue:
    """`LOOP`: Python loop for ever. `SWALLOW`: loop that catches everything. `NATIVE`: never returns to Python.
    `GARBAGE`, `LIE`, `OTHER`, `HUGE`: says something unsound. `DIE`: ends. `MEMORY`: eats it all.
    `TWICE`, `PESTER`, `STRANGER`: asks out of turn, without end, for another message. `CLAIM`: knows what nobody told it.
    """

    name = "rogue"

    def __init__(self) -> None:
        self._pause = ctypes.PyDLL(None).pause  # PyDLL: keeps the interpreter's lock, so no Python code can run

    def scan(self, subject: ScanObject, deadline: float) -> Report:
        data = subject.data
        if b"LOOP" in data:
            while True:
                time.monotonic()
        if b"SWALLOW" in data:
            while True:
                try:
                    while True:
                        time.monotonic()
                except BaseException:  # noqa: BLE001 - that is the misbehaviour
                    pass
        if b"NATIVE" in data:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
            while True:
                self._pause()
        if b"DIE" in data:
            os._exit(3)
        if b"GARBAGE" in data:
            os.write(FILTER_SOCKET, struct.pack(">I", 5) + b"\xc1\xc1\xc1\xc1\xc1")
        if b"HUGE" in data:
            os.write(FILTER_SOCKET, struct.pack(">I", 0x7FFFFFFF) + b"x" * 1000)
        if b"LIE" in data:
            report = ObjectReport(-1, ObjectKind.PART, ObjectStatus.CLEAN, whole=Span(0, 1 << 40))
            os.write(FILTER_SOCKET, build_frame(Answer("lie", Analysis((report,)))))
        if b"OTHER" in data:
            os.write(FILTER_SOCKET, build_frame(Answer("another message", Analysis(()))))
        if b"TWICE" in data:
            say(*(KnownQuestion("lie", number, (bytes(32),)) for number in (1, 2, 3)))
        if b"PESTER" in data:
            say(*(ConnectionQuestion("lie", number, "e") for number in range(1, 1000)))
        if b"STRANGER" in data:
            say(KnownQuestion("another message", 1, (bytes(32),)))
        if b"CLAIM" in data:
            say(Answer("lie", Analysis(()), (0,)))
        if b"MEMORY" in data:
            held = [bytearray(1 << 26) for _ in range(1000)]
            held.clear()
        if b"RAISE" in data:
            raise msgspec.ValidationError("bug")
        return CLEAN

    def version(self) -> str:
        return "1"

    def cure(self, subject: ScanObject) -> bytes | None:
        return None

    def health(self) -> str:
        return ""


class Looping(BuiltinEngine):
    """A rule that loops for ever inside the native scanner, on objects that start with LOOPRULE."""

    def __init__(self) -> None:
        import yara_x

        super().__init__()
        compiler = yara_x.Compiler()
        compiler.define_global(NAME_VARIABLE, "")
        compiler.define_global(TYPE_VARIABLE, "")
        compiler.add_source(
            'rule loop { strings: $a = "LOOPRULE" condition: $a at 0 and for all i in (0..1000000000000) : (i >= 0) }'
        )
        self._any = _ScopeScanner(compiler.build(), ())


class Threaded(Rogue):
    """Starts a thread while it is made: the template must not come up."""

    def __init__(self) -> None:
        super().__init__()
        threading.Thread(target=threading.Event().wait, daemon=True).start()
