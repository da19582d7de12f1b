"""Files of anti-spam databases, and the texts they are compared with: terms, samples, compiled samples and images."""

from typing import Final

from gatepost.antispam.images.base import ImageBase, compile_images, parse_images
from gatepost.antispam.knowledge import Knowledge
from gatepost.antispam.samples.base import Sample, SampleBase, compile_samples, parse_samples
from gatepost.antispam.samples.shingles import build_shingles
from gatepost.antispam.samples.source import parse_sample
from gatepost.antispam.terms.matcher import TermMatcher
from gatepost.antispam.terms.term import find_parts, parse_terms
from gatepost.antispam.terms.wording import build_wording

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 2_000
WORDS: Final = (b"= spam/x | words | cap=3\n", b"1.5 ", b" ... ", b"*", b"subject: ", b"\xd1\x91", b"\xe2\x80\x99")
_TEXT: Final = " ".join(f"word{chr(97 + number % 26)}{chr(97 + number // 5)}" for number in range(40))


def execute(data: bytes) -> None:
    """Take the first byte as the kind of file, the rest as the file; only ValueError may come of it."""
    if not data:
        return
    kind, raw = data[0] % 5, data[1:]
    try:
        match kind:
            case 0:
                _terms(raw)
            case 1:
                sample = parse_sample("a.sample", raw)
                compile_samples([sample])
            case 2:
                SampleBase(parse_samples("a.samples", raw)).find(build_shingles(_TEXT), 0.0)
            case 3:
                images = parse_images("a.pictures", raw)
                assert parse_images("again", compile_images(images))[:1] or not images
                ImageBase(images)
            case _:
                _text(raw.decode("utf-8", "replace"))
    except ValueError:
        return


def _terms(raw: bytes) -> None:
    base = parse_terms([("a.terms", raw)])
    assert len(find_parts(base.terms)) == len(base.terms)
    expressions = list(dict.fromkeys(term.expression for term in base.terms))[:50]
    matcher = TermMatcher(expressions, Knowledge())
    for number, expression in enumerate(expressions):
        if b"{" not in expression:
            assert number in matcher.find(expression + b" "), "a term does not match itself"


def _text(text: str) -> None:
    wording = build_wording(text.casefold())
    assert wording.startswith(b" ")
    assert wording.endswith(b" ")
    assert b"  " not in wording
    shingles = build_shingles(text.casefold())
    assert len(shingles) <= max(0, wording.count(b" "))
    base = SampleBase(parse_samples("x", compile_samples([Sample("x", "spam", text.casefold())])))
    (likeness,) = base.find(shingles, 0.5)
    assert likeness.share == 1.0, "a text is not like itself"


def seeds() -> list[bytes]:
    """Return one sound file of each kind, and a text."""
    return [
        b"\x00= spam/x | words | cap=3\n1.5 blue roses\n0.5 tulip*\n1 a1 ... b2\n1 subject: sale\n",
        b"\x01= spam/x\n" + _TEXT.encode(),
        b"\x02" + compile_samples([Sample("x", "spam", _TEXT)]),
        b"\x03" + compile_images([]),
        b"\x04" + _TEXT.encode() + " «ёж» naïve \u2019s 123".encode(),
    ]
