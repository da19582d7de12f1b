"""Spam that is found is found behind common tricks as well: a fixed sample; `make prove NAME=tricks` plays them all."""

import os
import random
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.support.spam_knowledge import shipped_knowledge
from tests.support.spam_tricks import TRICKS, Letter, plain
from tests.support.trick_trial import LOST_LIMIT, Trial, corpus, play, read_letters, table

from gatepost.antispam.checks import build_checks
from gatepost.antispam.ocr.recogniser import load_recogniser
from gatepost.antispam.view import build_view
from gatepost.mime.structure import parse
from gatepost.model.spam import SpamOptions

SHARED = Path(os.environ.get("GATEPOST_SHARED", Path(__file__).resolve().parents[4] / "shared"))
SET = "inbox-2023-2025"
SAMPLE = 40
LEAST_FOUND = 15
"""With fewer there is nothing to learn from shares of them."""
UNSEEN = "image_of_text"
READ_SAMPLE = 8
"""Letters whose pictures are read: a third of a second each."""
OPEN = {UNSEEN: 0.3}
"""Tricks that hide more than they should, and how much at most: without text recognition the words of a picture are gone
(README, known limits).
"""


@pytest.fixture(scope="module")
def trial() -> Trial:
    archive = corpus(SHARED, SET)
    if not archive.exists():
        pytest.skip(f"no corpora at {SHARED}: set GATEPOST_SHARED")
    hams = [letter.plain for _, letter in read_letters(archive, "ham", 10)]
    found = play(read_letters(archive, "spam", SAMPLE, step=2), hams, build_checks(shipped_knowledge()))
    print(table({SET: found}))
    return found


def test_there_is_spam_to_play_with(trial: Trial) -> None:
    assert trial.found >= LEAST_FOUND


@pytest.mark.parametrize("name", list(TRICKS))
def test_a_trick_hides_at_most_a_fifth_of_it(trial: Trial, name: str) -> None:
    row = next(each for each in trial.rows if each.name == name)
    assert row.share <= OPEN.get(name, LOST_LIMIT), row.lost


def test_a_picture_hides_at_most_a_fifth_of_it_from_who_reads() -> None:
    archive = corpus(SHARED, SET)
    if not archive.exists():
        pytest.skip(f"no corpora at {SHARED}: set GATEPOST_SHARED")
    pytest.importorskip("tesserocr", reason="tesserocr is not installed: tools/setup.sh dev")
    reader = load_recogniser("", time.monotonic)
    if reader is None:
        pytest.skip("no language data: make peers, or apt-get install tesseract-ocr-eng")
    letters = read_letters(archive, "spam", READ_SAMPLE, step=4)
    found = play(letters, [""], build_checks(shipped_knowledge()), reader=reader, tricks=[UNSEEN])
    assert found.found >= READ_SAMPLE // 2
    assert found.rows[0].share <= LOST_LIMIT, found.rows[0].lost


class TestTheTricksThemselves:
    """A trick that damages the message proves nothing: what a reader sees has to be there still."""

    LETTERS: Sequence[Letter] = (
        Letter(
            b"From: a@b.example\r\nSubject: s\r\n", "Winning numbers of the international lottery programme.\n" * 3, ""
        ),
        Letter(
            b"From: a@b.example\r\nSubject: s\r\n",
            "Winning numbers of the international lottery programme.",
            "<html><head><title>t</title></head><body><p>Winning numbers of the <b>international</b> lottery programme.</p></body></html>",
        ),
    )

    @pytest.mark.parametrize("letter", LETTERS, ids=["text", "page"])
    @pytest.mark.parametrize("name", [name for name in TRICKS if name != UNSEEN])
    def test_the_words_can_be_read(self, name: str, letter: Letter) -> None:
        raw = TRICKS[name](letter, random.Random(1), "An honest sentence about gardens. " * 20)
        seen = build_view(parse(raw), SpamOptions())
        words = f"{seen.folded} {seen.disguised}".replace("\n", " ")
        assert "lottery" in words or name == "split_words"
        assert raw.startswith(letter.header)

    @pytest.mark.parametrize("name", list(TRICKS))
    def test_it_changes_something_and_is_the_same_each_time(self, name: str) -> None:
        made = [TRICKS[name](self.LETTERS[1], random.Random(7), "An honest sentence. " * 30) for _ in range(2)]
        assert made[0] == made[1] != plain(self.LETTERS[1], random.Random(7), "")
