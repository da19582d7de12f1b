"""The samples of a rule set as the filters compare mail with them (specification antispam.md §10.4). Pure.

Called by `master.bases`, which has the filters' template told of them, and by `config.profiles_check`, which says which
of them find nothing. Samples without use are left out, and are no fault: sets of older servers come with some.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from gatepost.model.profile import Sample

SAMPLES_LIMIT: Final = 10_000
"""Samples of a set that are compared."""
LETTERS_LIMIT: Final = 64 * 1024
"""Characters of one that are: more of it is not looked at in mail either."""
LETTERS_IN_ALL: Final = 4 * 1024 * 1024
"""Characters of all: each template of filters reads them at its start."""
GROUPS_LEAST: Final = 16
"""Different groups of three words that a sample must have: shorter texts are like other short texts."""

_CATEGORY: Final = re.compile(r"[a-z0-9-]{1,30}(/[a-z0-9-]{1,30}){0,2}\Z")
_WORD: Final = re.compile(r"[^\W\d_]+")
_FIELD: Final = re.compile(r"(From |[A-Za-z][A-Za-z0-9-]*:)")


class ReadySample(msgspec.Struct, frozen=True):
    """A sample that mail is compared with."""

    name: str
    category: str
    text: str


def choose_samples(samples: Mapping[str, Sample]) -> tuple[ReadySample, ...]:
    """Return those that can find anything."""
    return tuple(ready for _, ready, _ in _look(samples) if ready is not None)


def find_useless(samples: Mapping[str, Sample]) -> Iterator[tuple[str, str]]:
    """Yield the file's name and the reason for each sample that is not compared with mail."""
    return ((name, why) for name, _, why in _look(samples) if why)


def _look(samples: Mapping[str, Sample]) -> Iterator[tuple[str, ReadySample | None, str]]:
    letters = kept = 0
    for name, sample in samples.items():
        category = sample.category.strip().lower().replace("_", "-")  # as `policy` compares them
        text = _body(sample.text)[:LETTERS_LIMIT]
        if _CATEGORY.match(category) is None:
            why = f"{sample.category[:60]!r} is no category"
        elif not _has_groups(text):
            why = "it is too short to be compared with mail"
        elif kept >= SAMPLES_LIMIT:
            why = f"there are more than {SAMPLES_LIMIT} samples"
        elif letters + len(text) > LETTERS_IN_ALL:
            why = f"the samples have more than {LETTERS_IN_ALL} characters in all"
        else:
            letters, kept = letters + len(text), kept + 1
            yield name, ReadySample(name, category, text), ""
            continue
        yield name, None, why


def _body(text: str) -> str:
    """Return a message without its header: that of the next one like it is another."""
    text = text.replace("\r\n", "\n").lstrip()
    head, _, body = text.partition("\n\n")
    return body if body and _FIELD.match(head) and all(map(_is_header_line, head.split("\n"))) else text


def _is_header_line(line: str) -> bool:
    return line[:1] in {" ", "\t"} or _FIELD.match(line) is not None


def _has_groups(text: str) -> bool:
    words = _WORD.findall(text.lower())
    return len(set(zip(words, words[1:], words[2:], strict=False))) >= GROUPS_LEAST
