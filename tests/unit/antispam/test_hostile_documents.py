"""PDF files of some kilobytes that would cost a filter minutes or all its memory: bounded, and still read."""

import time
import zlib
from collections.abc import Sequence

import pytest

from gatepost.antispam.extract.pdf import read_pdf

CPU_S = 3.0
"""Of one file; without bounds each of these takes several times that."""
TABLE = b"<0000> <fff0> <0041> endbfrange beginbfchar " + b"<01> <0041>\n" * 20_000 + b"endbfchar"


def _stream(data: bytes) -> bytes:
    packed = zlib.compress(data, 9)
    return b"<</Length %d/Filter/FlateDecode>>\nstream\n%s\nendstream" % (len(packed), packed)


def build(pages: Sequence[bytes], fonts: bytes = b"", objects: Sequence[bytes] = ()) -> bytes:
    """Return a PDF file of pages with these operators; `objects` get the numbers from 10 on (5 pages at most)."""
    kids = b" ".join(b"%d 0 R" % (3 + 2 * number) for number in range(len(pages)))
    found = {
        1: b"<</Type/Catalog/Pages 2 0 R>>",
        2: b"<</Type/Pages/Count %d/Kids[%s]/Resources<</Font<<%s>>>>>>" % (len(pages), kids, fonts),
    }
    for number, operators in enumerate(pages):
        found[3 + 2 * number] = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents %d 0 R>>" % (4 + 2 * number)
        found[4 + 2 * number] = _stream(operators)
    found |= dict(enumerate(objects, 13))
    body = b"".join(b"%d 0 obj\n%s\nendobj\n" % each for each in found.items())
    return b"%%PDF-1.4\n%strailer\n<</Root 1 0 R/Size 9999>>\n%%%%EOF" % body


@pytest.mark.parametrize(
    "data",
    [
        build([b"BT (first) Tj " + b"(a)Tj " * 1_200_000]),
        build([b"BT (first) Tj " + b"q " * 3_900_000]),
        build([b"BT (first) Tj [" + b"(a)" * 2_000_000 + b"] TJ"]),
        build([b"BT (first) Tj " + b"(a)Tj " * 100_000] * 5),
        build(
            [b"BT (first) Tj " + b"/F1 1 Tf (a) Tj " * 20_000],
            b"/F1<</Type/Font/Subtype/Type1/ToUnicode 13 0 R>>",
            [_stream(b"beginbfrange " + TABLE)],
        ),
        build(
            [b"BT (first) Tj " + b"".join(b"/F%d 1 Tf (a) Tj " % number for number in range(500))],
            b"".join(b"/F%d %d 0 R" % (number, 14 + number) for number in range(500)),
            [
                _stream(b"beginbfrange " + TABLE),
                *[b"<</Type/Font/Subtype/Type1/ToUnicode 13 0 R>>"] * 500,
            ],
        ),
    ],
    ids=["letters", "states", "array", "pages", "one-font-in-place", "fonts"],
)
def test_a_small_file_costs_little_and_its_first_words_are_read(data: bytes) -> None:
    assert len(data) < 200_000
    started = time.process_time()
    assert read_pdf(data).visible.startswith("first")
    assert time.process_time() - started < CPU_S


def test_what_stands_behind_a_page_without_text_is_read() -> None:
    assert read_pdf(build([b"q Q " * 100, b"BT (second) Tj ET"])).visible == "second"
