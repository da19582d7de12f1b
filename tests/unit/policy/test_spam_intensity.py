"""The stricter the intensity, the more of a corpus is marked: real spam through the content checks and the verdicts."""

import itertools
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.spam_knowledge import shipped_knowledge

from gatepost.antispam.checks import build_checks
from gatepost.antispam.content import inspect_content
from gatepost.config.gateway import Ave
from gatepost.config.grouping import Group
from gatepost.config.services import Antispam
from gatepost.mime.structure import parse
from gatepost.model.envelope import Client, Envelope, Recipient
from gatepost.model.finding import Analysis
from gatepost.model.spam import SpamOptions
from gatepost.policy.group import GroupPolicy
from gatepost.policy.spam import decide_spam

CORPUS = Path(os.environ.get("GATEPOST_SHARED", Path(__file__).parents[4] / "shared")) / "corpora/spam"
NAME = "modern-2019-2024"
STEP = 40
"""The shipped model knows nothing of this set; every so many of it are two hundred, wanted and unwanted ones."""
MAILS = 209
ENVELOPE = Envelope("a@b.example", (Recipient("c@example.org"),), Client("192.0.2.1"))


def mails() -> Iterator[bytes]:
    """Some mails of a corpus."""
    with tarfile.open(CORPUS / f"{NAME}.tar.gz", "r:gz") as archive:
        files = (entry for entry in archive if entry.isfile() and not entry.name.endswith(".tsv"))
        for entry in itertools.islice(files, 0, STEP * MAILS, STEP):
            file = archive.extractfile(entry)
            assert file is not None
            yield file.read()


@pytest.mark.feature("F-ASR-01")
@pytest.mark.skipif(not CORPUS.is_dir(), reason="the shared corpora are not here (set GATEPOST_SHARED)")
def test_the_number_of_marked_mails_grows_with_the_intensity() -> None:
    checks = build_checks(shipped_knowledge())
    facts = [inspect_content(parse(content), SpamOptions(), checks) for content in mails()]
    assert len(facts) == MAILS
    assert not [each.trouble for each in facts if each.trouble]
    marked = {}
    for level in ("soft", "standard", "hard"):
        policy = GroupPolicy.from_config(Group(spam_level=level), Ave(), 60.0, antispam=Antispam())
        verdicts = [decide_spam(Analysis((), spam=each), ENVELOPE, policy) for each in facts]
        marked[level] = sum(verdict is not None and bool(verdict.labels) for verdict in verdicts)
    assert 0 < marked["soft"] < marked["standard"] < marked["hard"]
