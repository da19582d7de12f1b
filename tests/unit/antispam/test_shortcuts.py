"""Short ways that content checks take for ordinary mail give what the long ways give."""

import itertools
import random

import can_ada
import numpy as np
import pytest

from gatepost.antispam.classifier.features import distinct, distinct_halves
from gatepost.antispam.classifier.model import BaseModel
from gatepost.antispam.extract.fold import fold
from gatepost.antispam.extract.markup import read_link_looks, read_looks
from gatepost.antispam.extract.plain import find_bare
from gatepost.antispam.lazy import lazy
from gatepost.antispam.links import Anchor
from gatepost.antispam.links import distinct as distinct_links
from gatepost.antispam.samples.base import Sample, SampleBase, compile_samples, parse_samples
from gatepost.antispam.samples.shingles import build_shingles, hash_wording
from gatepost.antispam.samples.shingles import distinct as distinct_hashes
from gatepost.antispam.terms import wording
from gatepost.antispam.terms.wording import build_wording

CHOICE = random.Random(4)
WORDS = ["".join(letters) for letters in itertools.product("bdfgklm", "aeiou", "nprst")]


@pytest.mark.parametrize("length", [1, 2, 3, 9, 400, 3001])
def test_both_halves_by_one_sort_are_what_each_half_is_by_its_own(length: int) -> None:
    runs = np.random.default_rng(length).integers(0, 1 << 18, length, dtype=np.uint32) % np.uint32(max(2, length))
    text, slots, second = distinct_halves(runs)
    halves = [distinct(half) for half in (runs[: length // 2], runs[length // 2 :])]
    assert text.tolist() == sorted(set(runs.tolist()))
    assert [slots[~second].tolist(), slots[second].tolist()] == [half.tolist() for half in halves]


def test_the_stronger_half_has_the_odds_it_has_by_itself() -> None:
    numbers = np.random.default_rng(7)
    model = BaseModel(numbers.integers(-127, 128, 1 << 18, dtype=np.int64).astype(np.int8), 0.01, 1.7, -0.3)
    for length in (2, 500, 3700):
        runs = numbers.integers(0, 1 << 18, length, dtype=np.uint32)
        _, slots, second = distinct_halves(runs)
        alone = [model.log_odds(distinct(half)) for half in (runs[: length // 2], runs[length // 2 :])]
        assert model.stronger(slots, second) == max(alone)


@pytest.mark.parametrize("blank", [" ", "\n", "\t", "\r\n", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x1f"])
def test_blanks_of_ascii_text_are_tidied_as_those_of_any_text(blank: str) -> None:
    text = "  one two" + blank * 9 + "three \n \n four" + (blank + "\n") * 3 + " five\n\n" + blank + "six " + blank
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert fold(text).text == "\n".join(line for line in lines if line)


def test_random_blanks_are_tidied_as_by_lines_and_words() -> None:
    for _ in range(300):
        text = "  " + "".join(CHOICE.choices("ab \n\t\r\v\f\x1c\x1d\x1e\x1f", k=CHOICE.randint(0, 40)))
        lines = [" ".join(line.split()) for line in text.splitlines()]
        assert fold(text).text == "\n".join(line for line in lines if line)


@pytest.mark.parametrize("text", ["", " ", "...", "one", " one, two ", "a-b\x00c\x7fd", "free: 100% now!!"])
def test_short_texts_are_worded_as_long_ones(text: str) -> None:
    filler = " and so on" * wording.SHORT
    assert build_wording(f"{text}{filler}") == build_wording(text).rstrip() + build_wording(filler)


def test_marks_let_no_sample_pass() -> None:
    texts = [" ".join(CHOICE.choices(WORDS, k=60)) for _ in range(30)]
    samples = [Sample(f"sample {number}", "spam/x", text) for number, text in enumerate(texts)]
    base = SampleBase(parse_samples("x", compile_samples(samples)))
    for number in (0, 11, 29):
        words = f"{' '.join(CHOICE.choices(WORDS, k=200))} {texts[number]} {texts[number]}"
        found = base.find_among(hash_wording(build_wording(words)), 0.3)
        assert found == base.find(build_shingles(words), 0.3)
        assert [likeness.name for likeness in found] == [f"sample {number}"]
    assert base.find_among(hash_wording(build_wording("nothing of it all is in these few words")), 0.0) == []
    assert SampleBase([]).find_among(hash_wording(build_wording("no samples at all are known here")), 0.0) == []


@pytest.mark.parametrize("count", [0, 1, 5])
def test_hashes_are_told_once_each(count: int) -> None:
    hashes = np.array([3, 1, 3, 2, 1][:count], dtype=np.uint64)
    assert distinct_hashes(hashes).tolist() == sorted({3, 1, 2} if count == 5 else set(hashes.tolist()))


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("see shop.example.com today", ["http://shop.example.com"]),
        ("an end. Another end.\nAnd more", []),
        ("a.b", []),
        ("go to cheap.ru!", ["http://cheap.ru"]),
        ("", []),
    ],
)
def test_hosts_without_a_scheme_are_found(text: str, hosts: list[str]) -> None:
    assert find_bare(text) == hosts


@pytest.mark.parametrize(
    "inside",
    [
        ' class="b" href="http://x.example/a" style="color:#fff;font-size:0"',
        ' href="http://x.example/?style=display:none" color="red"',
        ' title=" href=" style="display:none" href="http://x.example/"',
        ' HREF="http://x.example/" style="display:none"',
        ' href="http://x.example/"',
        " href='http://x.example/' hidden",
        ' href="http://x.example/"style="display:none"',
        ' hidden href="http://x.example/" href="http://y.example/"',
    ],
)
def test_looks_of_a_link_are_those_of_any_element(inside: str) -> None:
    assert read_link_looks(inside) == read_looks(inside)


@pytest.mark.parametrize(
    "address",
    [
        "http://a.example/b",
        "https://a.example/b?c=%41",
        "http://a.example",
        "http://A.example/b",
        "http://a.example/b/../c",
        "http://a.example/.b",
        "http://xn--80ak6aa92e.example/b",
        "http://a.example:80/b",
        "http://a.example/'",
        "http://a.example/?'",
        "http://a.example//b",
        "http://a.example/b#c",
        "http://1.2.3.4/b",
        "http://a.example/é",
    ],
)
def test_links_are_told_as_browsers_write_them(address: str) -> None:
    anchor = Anchor(address, "a.example", "a.example")
    assert [link.url for link in distinct_links([anchor])] == [str(can_ada.parse(address).href)]


def test_a_lazy_value_is_computed_once() -> None:
    asked: list[int] = []

    class Thing:
        @lazy
        def value(self) -> int:
            """A value."""
            asked.append(1)
            return len(asked)

    thing = Thing()
    assert asked == []
    assert [thing.value, thing.value, Thing().value] == [1, 1, 2]
    assert Thing.value.__doc__ == "A value."
