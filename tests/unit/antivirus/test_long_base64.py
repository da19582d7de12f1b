"""Long base64 in texts is found wherever plain expressions find it, in time that grows with the text."""

import base64
import random
import re
import subprocess
import sys
import time

import pytest

from gatepost.antivirus.long_base64 import SHORTEST, find_long_base64, holds_long_base64, plain_text

REFERENCES = (
    re.compile(rb"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{160,}+={0,2}"),
    re.compile(rb"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{40,}+(?:\s++[A-Za-z0-9+/]{40,}+)++(?:\s++[A-Za-z0-9+/]++)?+={0,2}"),
)
"""What is looked for, said in the simplest way and searched in the slowest."""
LENGTHS = (0, 1, 5, 39, 40, 41, 60, 79, 80, 81, 119, 120, 158, 159, 160, 161, 200)
GAPS = (
    b"", b" ", b"\n", b"\r\n", b"\n  ", b".", b"-", b"=", b"==", b"=\n", b"\\", b"\\/", b"\\n", b"\\r\\n", b"\\u002b",
    b"\\u003d", b"\v", b"\f", b"\t", b"\x1c", b"\x85", b"\xa0", b'"', b"\0",
)  # fmt: skip
DATA = base64.b64encode(bytes(range(256)) * 3)


def places(text: bytes) -> list[tuple[int, int]]:
    return [found.span() for found in find_long_base64(text)]


def reference(text: bytes) -> list[tuple[int, int]]:
    spans = [found.span() for each in REFERENCES for found in each.finditer(text)]
    return [(start, end) for start, end in spans if end - start >= SHORTEST]


@pytest.mark.parametrize("seed", range(8))
def test_it_is_found_where_the_simple_search_finds_it(seed: int) -> None:
    dice = random.Random(seed)
    held = 0
    for _ in range(1500):
        text = b"".join(
            "".join(dice.choices("ABCxyz019+/", k=dice.choice(LENGTHS))).encode() + dice.choice(GAPS)
            for _ in range(dice.randint(1, 8))
        )
        assert places(text) == reference(text), text
        holds = bool(reference(plain_text(text)))
        assert holds_long_base64(text) is holds, text
        held += holds
    assert 500 < held < 1400  # both kinds of text were tried


@pytest.mark.parametrize("length", [SHORTEST - 1, SHORTEST])
def test_one_line_has_to_be_long_enough(length: int) -> None:
    assert holds_long_base64(b"key: " + DATA[:length] + b".") is (length == SHORTEST)


@pytest.mark.parametrize("gap", [b"\n", b"\r\n    ", b"\\n", b"\\r\\n"])
def test_many_lines_have_to_be_long_enough_together(gap: bytes) -> None:
    lines = gap.join(DATA[at : at + 64] for at in range(0, 256, 64))
    assert holds_long_base64(b'{"a": "' + lines + b'"}')
    assert not holds_long_base64(b'{"a": "' + lines[:70] + b'"}')


def test_as_json_writes_it() -> None:
    text = (b"A+/b" * 50).replace(b"+", b"\\u002b").replace(b"/", b"\\/")
    assert holds_long_base64(b'"' + text + b'"')
    assert places(text) == []  # its escapes are its callers' business
    assert places(plain_text(text)) == [(0, 200)]


@pytest.mark.parametrize(
    "text",
    [
        b"a" * 39 + b" ",
        b"a" * 64 + b"\n",
        b"a" * 159 + b".",
        b"a" * 200 + b"\n",
        b"a" * 40 + b" " * 60,
        b"\\/" * 20 + b".",
    ],
    ids=["short", "lines", "nearly", "long-lines", "far", "escapes"],
)
def test_time_grows_with_the_text_and_no_faster(text: bytes) -> None:
    def spent(size: int) -> float:
        data = text * (size // len(text))
        start = time.process_time()
        for _ in find_long_base64(data):
            pass
        holds_long_base64(data)
        return time.process_time() - start

    small = min(spent(100_000) for _ in range(3))
    assert spent(1_600_000) < 16 * 8 * (small + 0.002)


def test_relays_do_without_the_library() -> None:
    code = "import sys, gatepost.relay.process; sys.exit('hyperscan' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0
