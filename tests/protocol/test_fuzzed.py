"""What the fuzzer knows is replayed: seeds and kept inputs of every target, without the fuzzer; and what it has found."""

import importlib
import sys
import zlib
from pathlib import Path

import pytest
from smtp_dialogue import serve_every_way, settings

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "fuzz"))

from targets import NAMES

CORPUS = Path(__file__).resolve().parents[2] / "fuzz" / "corpus"
SIZE_LIMIT = 500 * 1024
"""Bytes of all kept inputs together."""


@pytest.mark.parametrize("name", NAMES)
def test_kept_inputs_break_no_promise(name):
    target = importlib.import_module(f"targets.{name}")
    inputs = list(target.seeds())
    assert inputs
    folder = CORPUS / name
    if folder.is_dir():
        inputs += [path.read_bytes() for path in sorted(folder.iterdir())]
    for data in inputs:
        target.execute(data)


@pytest.mark.parametrize("name", NAMES)
def test_damaged_inputs_break_no_promise(name):
    """A short search of its own: every seed with one byte changed, one left out, or its end cut off."""
    target = importlib.import_module(f"targets.{name}")
    for number, data in enumerate(target.seeds()):
        at = zlib.crc32(data) % len(data)
        target.execute(data[:at] + bytes((data[at] ^ (1 << number % 8),)) + data[at + 1 :])
        target.execute(data[:at] + data[at + 1 :])
        target.execute(data[:at])


def test_kept_inputs_stay_small():
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) < SIZE_LIMIT


@pytest.mark.parametrize("domain", ["[ä]", "[192.0.2.1ä]", "[IPv6:\u0085::]", "[用户]"])
def test_an_address_literal_is_ascii(domain):
    stream = (
        f"EHLO user\r\nMAIL FROM:<a@{domain}> SMTPUTF8\r\nMAIL FROM:<> SMTPUTF8\r\nRCPT TO:<ä@{domain}>\r\n".encode()
    )
    assert serve_every_way(stream, settings(smtputf8=True)).codes[-3:] == [501, 250, 501]
