"""Sample messages: found again when edited, not found in other mail; files and bounds."""

import random
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.support.spam_knowledge import shipped_knowledge

from gatepost.antispam import samples
from gatepost.antispam.check import Notes
from gatepost.antispam.knowledge import Knowledge
from gatepost.antispam.samples.base import Sample, SampleBase, compile_samples, parse_samples
from gatepost.antispam.samples.check import SamplesCheck
from gatepost.antispam.samples.shingles import BYTES_LIMIT, build_shingles
from gatepost.antispam.samples.source import build_sample, parse_sample
from gatepost.antispam.view import build_view
from gatepost.mime.structure import parse
from gatepost.model.spam import SpamOptions

VOCABULARY = [f"{a}{b}{c}" for a in "bdfgklmn" for b in ("a", "ei", "o", "u") for c in ("rt", "ls", "m", "ndo", "ty")]
TEXT = (
    "Our company sells garden houses of spruce wood in five sizes, with a floor and a door that can be locked. We bring "
    "them to your garden and two of our carpenters put them up within a day. The price includes the roof, the windows "
    "and a coat of paint in a colour of your choice. Write to us for the list of prices; whoever orders before the end "
    "of the month gets a bench for two people as a present. Our houses stand in many gardens of your neighbourhood."
)


def make_text(seed: int, words: int = 120) -> str:
    chance = random.Random(seed)
    return " ".join(chance.choice(VOCABULARY) for _ in range(words))


def edit(text: str, share: float, seed: int) -> str:
    """Change, drop or add words, `share` of them in all."""
    chance = random.Random(seed)
    words = []
    for word in text.split():
        if chance.random() >= share:
            words.append(word)
            continue
        match chance.randrange(3):
            case 0:
                words.append(f"new{chance.randrange(1000)}x")
            case 1:
                words += [word, "added"]
            case _:
                pass
    return " ".join(words)


def inspect(check: SamplesCheck, body: str) -> Notes:
    mail = f"From: a@example.org\r\nSubject: x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{body}\r\n"
    notes = Notes()
    check.inspect(build_view(parse(mail.encode()), SpamOptions()), notes)
    return notes


@pytest.fixture(scope="module")
def check() -> SamplesCheck:
    return SamplesCheck(Knowledge({"samples/garden.sample": build_sample("spam/goods/garden", TEXT)}))


@pytest.mark.feature("F-AS-15")
def test_a_lightly_edited_sample_still_matches(check: SamplesCheck) -> None:
    notes = inspect(check, "Dear neighbour,\r\n\r\n" + edit(TEXT, 0.08, 1))
    assert list(notes.categories) == ["spam/goods/garden"]
    (sign,) = notes.signs
    assert (sign.method.value, sign.name) == ("content", "sample")
    assert sign.weight > 5.2
    assert "“garden”" in sign.evidence


def test_editing_of_a_fifth_is_survived(check: SamplesCheck) -> None:
    weights = [sum(sign.weight for sign in inspect(check, edit(TEXT, 0.2, seed)).signs) for seed in range(40)]
    assert sum(weight > 5.2 for weight in weights) >= 36
    assert all(weight > 2 for weight in weights)


@pytest.mark.parametrize(
    "disguise",
    [
        lambda text: text.upper(),
        lambda text: text.replace(".", " !!! ").replace(",", " -"),
        lambda text: text.replace(" ", "  \r\n", 20),
        lambda text: make_text(1, 400) + "\r\n" + text + "\r\n" + make_text(2, 400),
        lambda text: text.replace("company", "c\u200bompany").replace("e", "\u0435"),
    ],
    ids=["capitals", "signs", "lines", "word salad around", "look-alikes"],
)
def test_what_does_not_change_a_text(check: SamplesCheck, disguise) -> None:
    assert inspect(check, disguise(TEXT)).signs[0].weight > 5.2


def test_other_texts_do_not_match(check: SamplesCheck) -> None:
    others = [
        "We sell garden furniture. Write to us for the list of prices; orders before the end of the month are free.",
        make_text(3),
        "",
        "two words",
        TEXT[:60],
    ]
    for other in others:
        assert not inspect(check, other).signs


def test_digits_do_not_matter() -> None:
    text = f"{make_text(5)} call 12345 or 67890 and pay 17 dollars to account 99 today please"
    other = text.replace("12345", "555").replace("67890", "1").replace("99", "4711")
    assert np.array_equal(build_shingles(text), build_shingles(other))


@pytest.mark.parametrize(("category", "weight"), [("spam/x", 6.5), ("seminars", 4.4), ("other/own", 0.0)])
def test_categories_tell_what_a_sample_is_worth(category: str, weight: float) -> None:
    check = SamplesCheck(Knowledge({"own:own.samples": compile_samples([Sample("one", category, TEXT.lower())])}))
    notes = inspect(check, TEXT)
    assert notes.signs[0].weight == pytest.approx(weight)
    assert list(notes.categories) == [category]


def test_copies_of_one_sample_are_one_sign() -> None:
    rows = [Sample(f"copy {number}", "spam", TEXT.lower()) for number in range(5)]
    notes = inspect(SamplesCheck(Knowledge({"own:own.samples": compile_samples(rows)})), TEXT)
    assert len(notes.signs) == 3
    assert sum(sign.weight for sign in notes.signs) == pytest.approx(6.5)


def test_among_fifty_thousand_samples_the_right_one_is_found() -> None:
    hashes = np.random.default_rng(1).integers(0, 2**63, (50_000, 96), dtype=np.uint64)
    rows = [("another", "spam", row) for row in hashes]
    rows[31_415] = parse_samples("x", compile_samples([Sample("wanted", "spam/x", TEXT.lower())]))[0]
    base = SampleBase(rows)
    assert [likeness.name for likeness in base.find(build_shingles(edit(TEXT, 0.1, 4).lower()), 0.3)] == ["wanted"]
    assert base.find(build_shingles(make_text(6, 2000)), 0.3) == []


def test_hostile_texts_end() -> None:
    base = SampleBase(parse_samples("x", compile_samples([Sample("wanted", "spam/x", TEXT.lower())])))
    for text in ("a " * 600_000, "ab" * 600_000, " " * 1_000_000, "\u0436 \u0449 " * 300_000):
        base.find(build_shingles(text), 0.3)
    assert build_shingles("x" * BYTES_LIMIT * 2 + " b c d").size == 0


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"text without category", "the first line is to be"),
        (b"= No Category\ntext", "is no category"),
        (b"= spam\n\xff", "not UTF-8"),
    ],
)
def test_faulty_sample_files(data: bytes, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_sample("a.sample", data)
    assert words in str(caught.value)
    assert "a.sample" in str(caught.value)


def test_short_texts_are_no_samples() -> None:
    with pytest.raises(ValueError, match="tiny: too short for a sample"):
        compile_samples([Sample("tiny", "spam", "buy now and here " * 50)])
    with pytest.raises(ValueError, match="is no category"):
        build_sample("No", TEXT)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"garbage",
        msgspec.msgpack.encode({"format": 2, "rows": []}),
        msgspec.msgpack.encode({"format": 1, "rows": [["a", "b", b"123"]]}),
        msgspec.msgpack.encode({"format": 1, "rows": [["a", "b", b"1" * 8000]]}),
    ],
)
def test_faulty_compiled_files(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"own\.samples"):
        parse_samples("own.samples", data)


def test_shipped_samples_are_known_and_alike_to_nothing_else() -> None:
    check = SamplesCheck(shipped_knowledge())
    folder = Path(samples.__file__).parents[1] / "rules" / "samples"
    for file in sorted(folder.glob("*.sample")):
        first, _, text = file.read_text().partition("\n")
        notes = inspect(check, edit(text, 0.15, 7))
        assert [sign.evidence.split("“")[1].split("”")[0] for sign in notes.signs] == [file.stem]
        assert list(notes.categories) == [first[2:]]


def test_a_chinese_sample_is_known_again_after_an_edit() -> None:
    """Its words have no blanks between them: each character counts as a word."""
    text = "我公司现有一部分剩余的普通商品销售发票可以优惠代开、税点低、所有发票均可在税务局网站验证、验证后付款。"
    edited = (
        "我公司目前有一部分多余的普通商品销售发票 可以优惠代开、点数低、所有的发票均可在税务局网\n站查询、验证后付款。"
    )
    strange = "各位同事、信息中心将于本周六对邮件系统进行升级维护、期间邮箱将无法使用、请提前做好工作安排、谢谢配合。"
    sample = set(build_shingles(text).tolist())
    shares = [len(sample & set(build_shingles(each).tolist())) / len(sample) for each in (edited, strange)]
    assert shares[0] > 0.5
    assert shares[1] < 0.1
