"""Messages put together from `tools/model_texts/*.txt`: kinds of spam and of wanted mail as they come today.

A file is one kind. Its name begins with `spam-` or `ham-`. Blocks are parted by empty lines; the first line of a block
is `[language part]`, the following ones are sentences of which one (subject, opening, closing, footer) or several
(body) are taken. `{name}` and the like are filled in. The same seed gives the same messages.
"""

import random
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

FOLDER = Path(__file__).resolve().parent / "model_texts"
ENGLISH_TIMES, OTHERS_TIMES = 2.0, 0.6
"""Shares of languages: most kinds have twice as many sentences in English, and few would come again and again."""
_SLOT = re.compile(r"\{(\w+)\}")
_MOST_SENTENCES = 6


class Example(msgspec.Struct, frozen=True):
    """One message as its reader sees it."""

    spam: bool
    kind: str
    language: str
    subject: str
    body: str


def read_blocks(path: Path) -> dict[str, dict[str, list[str]]]:
    """Return sentences by language and part. ValueError names the line that is wrong."""
    found: dict[str, dict[str, list[str]]] = {}
    sentences: list[str] | None = None
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if heading := re.fullmatch(r"\[(\w\w) (subject|opening|body|closing|footer)\]", line):
            sentences = found.setdefault(heading[1], {}).setdefault(heading[2], [])
        elif line and sentences is None:
            raise ValueError(f"{path.name}, line {number}: no heading above")
        elif line and sentences is not None:
            sentences.append(line)
    return found


def write_examples(each: int, seed: int = 1) -> Iterator[Example]:
    """Yield messages of every kind and language, about `each` of them; twice as many in English."""
    slots = read_slots()
    for path in sorted(FOLDER.glob("*-*.txt")):
        chance = random.Random(f"{seed} {path.stem}")
        for language, parts in sorted(read_blocks(path).items()):
            for _ in range(round(each * (ENGLISH_TIMES if language == "en" else OTHERS_TIMES))):
                yield _write(path.stem, language, parts, slots, chance)


def read_slots() -> dict[str, list[str]]:
    """Return what fills the slots: `tools/model_texts/slots.txt`, one slot a line."""
    found = {}
    for line in (FOLDER / "slots.txt").read_text("utf-8").splitlines():
        name, _, values = line.partition(": ")
        found[name] = values.split("; ")
    return found


def _write(
    kind: str, language: str, parts: dict[str, list[str]], slots: dict[str, list[str]], chance: random.Random
) -> Example:
    body = parts["body"]
    wanted = chance.randint(min(2, len(body)), min(_MOST_SENTENCES, len(body)))
    lines = [chance.choice(parts[part]) for part in ("opening",) if part in parts]
    lines += chance.sample(body, wanted)
    lines += [chance.choice(parts[part]) for part in ("closing", "footer") if part in parts]
    subject = chance.choice(parts["subject"])
    filled = [_fill(line, slots, language, chance) for line in (subject, *lines)]
    return Example(kind.startswith("spam-"), kind, language, filled[0], "\n".join(filled[1:]))


def _fill(line: str, slots: dict[str, list[str]], language: str, chance: random.Random) -> str:
    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name == "n":
            return str(chance.randint(2, 98))
        if name == "number":
            return "".join(chance.choice("0123456789") for _ in range(chance.randint(4, 12)))
        if name == "price":
            return f"{chance.randint(3, 2400)}{chance.choice('.,')}{chance.choice(('00', '99', '95', '50', '49'))}"
        return chance.choice(slots.get(f"{name}_{language}") or slots[name])

    return _SLOT.sub(value, line)
