"""Spam of the corpora played again with every trick: how much of it loses its status. No gateway: checks and rating only.

Used by the test of a fixed sample and by `make prove NAME=tricks`. What counts is a letter whose status is Spam at the
default level, untrained and without any network check, when it is put together without a trick.
"""

import random
import tarfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from gatepost.antispam.check import Check
from gatepost.antispam.content import inspect_content
from gatepost.antispam.extract.parts import PictureReader
from gatepost.antispam.rating import rate
from gatepost.mime.structure import parse
from gatepost.model.spam import Method, SpamOptions
from tests.support.spam_tricks import TRICKS, Letter, plain, read_letter

SPAM_AT = 90.0
"""Rating from which mail is Spam at the default level."""
LOST_LIMIT = 0.2
"""Share of spam that a trick may cost."""
RECEIVED_AT = 1_700_000_000.0


class Row(NamedTuple):
    """One trick."""

    name: str
    played: int
    lost: tuple[str, ...]
    """Which letters lost their status."""

    @property
    def share(self) -> float:
        return len(self.lost) / self.played if self.played else 0.0


class Trial(NamedTuple):
    """All tricks on one set."""

    seen: int
    """Spam looked at that has a text to play with."""
    found: int
    """Of it has status Spam, and is played with."""
    rows: tuple[Row, ...]


def corpus(shared: Path, name: str) -> Path:
    """Return the archive of a set."""
    return shared / "corpora" / "spam" / f"{name}.tar.gz"


def read_set(archive: Path, label: str, *, step: int = 1) -> Iterator[tuple[str, bytes]]:
    """Yield (id, content) of every `step`th message of a label, in order of receipt."""
    labels: dict[str, str] = {}
    number = 0
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            stream = tar.extractfile(member)
            if stream is None:
                continue
            if member.name.endswith("index.tsv"):
                rows = (line.split("\t") for line in stream.read().decode().splitlines()[1:])
                labels = {row[0]: row[1] for row in rows}
            elif labels.get(member.name.partition("/")[2]) == label:
                if number % step == 0:
                    yield member.name, stream.read()
                number += 1


def read_letters(archive: Path, label: str, most: int, *, step: int = 1) -> list[tuple[str, Letter]]:
    """Return (id, letter) of at most `most` messages that have a text."""
    found: list[tuple[str, Letter]] = []
    for name, raw in read_set(archive, label, step=step):
        letter = read_letter(raw)
        if letter is not None:
            found.append((name, letter))
            if len(found) == most:
                break
    return found


def rating(
    content: bytes,
    checks: Sequence[Check],
    without: frozenset[Method] = frozenset(),
    reader: PictureReader | None = None,
) -> float:
    """Return the rating of a message; `reader` recognises words in pictures."""
    facts = inspect_content(parse(content), SpamOptions(now=RECEIVED_AT), checks, reader)
    assert not facts.trouble, facts.trouble
    return rate(sign for sign in facts.signs if sign.method not in without)


def play(
    letters: Sequence[tuple[str, Letter]],
    hams: Sequence[str],
    checks: Sequence[Check],
    without: frozenset[Method] = frozenset(),
    reader: PictureReader | None = None,
    tricks: Collection[str] = tuple(TRICKS),
) -> Trial:
    """Play tricks on every letter that is found without."""
    found = [
        (name, letter)
        for name, letter in letters
        if rating(plain(letter, random.Random(name), ""), checks, without) >= SPAM_AT
    ]
    rows = []
    for trick_name in tricks:
        trick = TRICKS[trick_name]
        lost = []
        for name, letter in found:
            chance = random.Random(name)
            if rating(trick(letter, chance, chance.choice(hams)), checks, without, reader) < SPAM_AT:
                lost.append(name)
        rows.append(Row(trick_name, len(found), tuple(lost)))
    return Trial(len(letters), len(found), tuple(rows))


def table(trials: dict[str, Trial]) -> str:
    """Return what came of it as a Markdown table."""
    names = list(trials)
    lines = [
        f"| trick | {' | '.join(names)} |",
        f"|---|{'---|' * len(names)}",
        f"| spam found, of | {' | '.join(f'{t.found} of {t.seen}' for t in trials.values())} |",
    ]
    for trick in TRICKS:
        rows = [next((row for row in trial.rows if row.name == trick), None) for trial in trials.values()]
        shares = ("" if row is None else f"{len(row.lost)} lost ({row.share:.0%})" for row in rows)
        if any(rows):
            lines.append(f"| {trick.replace('_', ' ')} | {' | '.join(shares)} |")
    return "\n".join(lines)
