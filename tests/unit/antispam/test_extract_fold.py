"""The form of a text for matching: disguises undone, honest text of any language left alone."""

# ruff: noqa: RUF001 - letters that look like others are the matter

import pytest

from gatepost.antispam.extract.fold import fold

UNDONE = [
    ("Вuy Viаgrа nоw", "buy viagra now"),
    ("Раypal", "paypal"),
    ("please рау the bill", "please pay the bill"),
    ("интернет-мaгaзин", "интернет-магазин"),
    ("Vi\u200bag\u200bra \u202ecod\u00ading", "viagra coding"),
    ("𝐕𝐈𝐀𝐆𝐑𝐀 ｃｌｉｃｋ ⓗⓔⓡⓔ", "viagra click here"),
    ("ᴠɪᴀɢʀᴀ", "viagra"),
    ("  Many \t blanks \n\n\n and\u00a0lines ", "many blanks\nand lines"),
    ("Stra\u00dfe CAF\u0045\u0301", "strasse café"),
]


@pytest.mark.parametrize(("text", "folded"), UNDONE)
def test_disguises_are_undone(text: str, folded: str) -> None:
    assert fold(text).text == folded


HONEST = [
    "Купите нашу новую книгу, рекомендует Windows и HTML-код",
    "наш SMSка и PDFка, email'ом на сайте",
    "сос со рот хор осот",
    "Ελλάδα και English μαζί: Η τιμή είναι 5€",
    "kısa ışık çağrı, Łódź, Ångström, naïve, Straße",
    "μmol βeta 5 μm αKG",
    "日本語のテキスト と English 한국어 ไทย",
    "हिन्दी में लिखा है — می‌خواهم بروم",
    "J. R. R. Tolkien, e. g. U.S.A. and h2o or mp3s",
]


@pytest.mark.parametrize("text", HONEST)
def test_honest_text_is_left_alone(text: str) -> None:
    found = fold(text)
    assert (found.lookalikes, found.broken, found.gappy) == (0, 0, [])
    assert found.text == fold(found.text).text


def test_what_was_undone_is_counted_and_shown() -> None:
    found = fold("Вuy Viаgrа, it is gr\u200beat, \U0001d41b\U0001d42e\U0001d432 it")
    assert (found.lookalikes, found.broken, found.styled) == (2, 1, 1)
    assert found.lookalike_examples == ["вuy (buy)", "viаgrа (viagra)"]


DISGUISED = [
    ("get v i a g r a now", "viagra"),
    ("v.i.a.g.r.a", "viagra"),
    ("v-i-a-g-r-a!", "viagra"),
    ("ch3ap m0ney", "money"),
    ("c1alis", "cialis"),
    ("pi11s", "pills"),
    ("p@yment", "payment"),
]


@pytest.mark.parametrize(("text", "word"), DISGUISED)
def test_words_in_disguise_are_told_as_meant(text: str, word: str) -> None:
    assert word in fold(text).disguised


@pytest.mark.parametrize(
    "text", ["a b c d e f", "1 2 3 4 5 6", "x x x x x x", "ab12cd34ef56ab78cd90ab12cd34ef56", "I am a b"]
)
def test_lists_and_codes_are_no_words(text: str) -> None:
    assert fold(text).disguised == []


HOSTILE = {
    "gappy": "v i a g r a " * 20_000,
    "digits": "a0" * 130_000,
    "pairs": "a1b " * 65_000,
    "mixed": "Viаgrа " * 37_000,
    "invisible": "a\u200b" * 131_000,
    "one word": "аx" * 131_000,
    "marks": "a" + "\u0301" * 262_000,
    "ligatures": "\ufdfa" * 60_000,
    "blank lines": " \n" * 131_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_costs_what_its_length_costs(name: str, cpu_seconds) -> None:
    with cpu_seconds(2):
        fold(HOSTILE[name])
