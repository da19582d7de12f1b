"""A set of rules made by others is loaded as a database: it compiles, loads fast from its compiled form, and is quiet."""

import datetime as dt
import math
import sys
import tarfile
from pathlib import Path

import pytest

from gatepost.antivirus.builtin import BuiltinEngine
from gatepost.antivirus.engine import ScanObject
from gatepost.antivirus.kinds import Kind
from gatepost.antivirus.stage import inspect
from gatepost.feeds.bases import choose_sets
from gatepost.feeds.building import build_set
from gatepost.feeds.cache import load_image
from gatepost.feeds.keys import build_public_text, generate_key, load_private, resolve_keys
from gatepost.model.finding import ObjectStatus, ScanOptions

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tools"))
from detection_table import SHARED, mails

RULES = SHARED / "corpora/av/yara-reversinglabs.tar.gz"
FEWEST = 250
FILES_PER_TEST = 40
"""Of 274 files; all of them take six times as long."""


@pytest.mark.skipif(not RULES.is_file(), reason="the shared corpora are not here")
def test_rules_of_others(tmp_path: Path) -> None:
    folder = tmp_path / "bases" / "rules"
    count = 0
    with tarfile.open(RULES, "r:gz") as archive:
        for member in archive:
            if member.name.endswith(".yara") and (file := archive.extractfile(member)) is not None:
                count += 1
                if count % (FEWEST // FILES_PER_TEST) == 0:
                    place = folder / "yara" / "executable" / f"{Path(member.name).stem}.yar"
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.write_bytes(file.read())
    assert count > FEWEST
    public = generate_key(tmp_path / "key")
    made = build_set(folder, "rules", 1, dt.date(2026, 1, 31), [load_private(tmp_path / "key")])
    assert made.manifest.records >= len(made.manifest.files) >= FILES_PER_TEST
    sets = choose_sets(tmp_path / "bases", resolve_keys([build_public_text(public)]), None).sets
    load_image(tmp_path / "cache", sets)
    engine = BuiltinEngine(load_image(tmp_path / "cache", sets))
    program = ScanObject(b"MZ" + bytes(4000), "setup.exe", kind=Kind.EXECUTABLE)
    assert engine.scan(program, math.inf).threat == ""
    for _, name, content in mails("inbox-2023-2025", 5):
        analysis = inspect(content, ScanOptions(), [engine], math.inf)
        assert {each.status for each in analysis.objects} <= {ObjectStatus.CLEAN}, name
