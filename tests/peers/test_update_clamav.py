"""ClamAV's own scanner and the converted signatures find the same in the same files."""

import hashlib
import math
import shutil
import subprocess
from pathlib import Path

import pytest

from gatepost.antivirus.builtin import BuiltinEngine
from gatepost.antivirus.compiling import compile_knowledge
from gatepost.antivirus.engine import Outcome, ScanObject
from gatepost.antivirus.sources import Source
from gatepost.feeds.clamav import convert_lines

CLAMSCAN = shutil.which("clamscan")
pytestmark = pytest.mark.skipif(CLAMSCAN is None, reason="clamscan is not installed: tools/peers.sh")

KNOWN = b"a whole file that is known by its digest\n"
FILLER = b"0123456789" * 30
FILES = {
    "known": KNOWN,
    "longer": KNOWN + b"\n",
    "start": b"STARTMARK" + FILLER,
    "late-start": FILLER + b"STARTMARK",
    "range": FILLER[:12] + b"RANGEMARK" + FILLER,
    "out-of-range": FILLER[:90] + b"RANGEMARK" + FILLER,
    "end": FILLER + b"FINALMARK",
    "not-end": b"FINALMARK" + FILLER * 4,
    "wild": FILLER + b"WILDxxCARDzMARK" + FILLER,
    "tame": FILLER + b"WILDxxxCARDzMARK" + FILLER,
    "gap": FILLER + b"GAPSHERE" + b"-" * 6 + b"GAPSEND." + FILLER,
    "wide-gap": FILLER + b"GAPSHERE" + b"-" * 60 + b"GAPSEND." + FILLER,
    "far": FILLER + b"FARHEAD." + FILLER * 3 + b"FARTAIL." + FILLER,
    "one-of": FILLER + b"CHOICE-bb-MADE" + FILLER,
    "none-of": FILLER + b"CHOICE-dd-MADE" + FILLER,
    "plain": FILLER * 5,
}
HASHES = (
    f"{hashlib.md5(KNOWN).hexdigest()}:{len(KNOWN)}:Peer.Known\n"
    f"{hashlib.sha256(FILES['plain'] + b'x').hexdigest()}:*:Peer.Other:73\n"
)
PATTERNS = (
    ("Peer.Start", "0", b"STARTMARK".hex()),
    ("Peer.Range", "10,20", b"RANGEMARK".hex()),
    ("Peer.End", "EOF-9", b"FINALMARK".hex()),
    ("Peer.Wild", "*", f"{b'WILD'.hex()}????{b'CARD'.hex()}?a{b'MARK'.hex()}"),
    ("Peer.Gap", "*", f"{b'GAPSHERE'.hex()}{{4-8}}{b'GAPSEND.'.hex()}"),
    ("Peer.Far", "*", f"{b'FARHEAD.'.hex()}*{b'FARTAIL.'.hex()}"),
    ("Peer.OneOf", "*", f"{b'CHOICE-'.hex()}(6161|6262|6363){b'-MADE'.hex()}"),
)


def test_both_find_the_same(tmp_path: Path) -> None:
    assert CLAMSCAN is not None
    ndb = "".join(f"{name}:0:{offset}:{data}\n" for name, offset, data in PATTERNS)
    (tmp_path / "peer.hsb").write_text(HASHES)
    (tmp_path / "peer.ndb").write_text(ndb)
    place = tmp_path / "files"
    place.mkdir()
    for name, data in FILES.items():
        (place / name).write_bytes(data)
    command = [CLAMSCAN, "--no-summary", "-d", str(tmp_path / "peer.hsb"), "-d", str(tmp_path / "peer.ndb"), str(place)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode in (0, 1), done.stderr
    theirs = {}
    for line in done.stdout.splitlines():
        path, _, told = line.partition(": ")
        theirs[Path(path).name] = told.removesuffix(" FOUND").removesuffix(".UNOFFICIAL") if "FOUND" in told else ""

    hashes, left = convert_lines(HASHES.splitlines(), hashes=True)
    patterns, also_left = convert_lines(ndb.splitlines(), hashes=False)
    assert (left, also_left) == ({}, {})
    sources = [Source("a.hash", "\n".join(hashes).encode()), Source("b.pattern", "\n".join(patterns).encode())]
    engine = BuiltinEngine(compile_knowledge(sources))
    ours = {}
    for name, data in FILES.items():
        report = engine.scan(ScanObject(data, name), math.inf)
        ours[name] = report.threat if report.outcome is Outcome.INFECTED else ""
    assert ours == theirs
    assert set(ours.values()) == {"", "Peer.Known", *(name for name, _, _ in PATTERNS)}
