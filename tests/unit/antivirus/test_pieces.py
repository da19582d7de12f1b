"""Base64 in pieces, backwards or among other characters: what `find_pieces` looks at, at its limits."""

import base64
import math

import pytest

from gatepost.antivirus.budget import Budget
from gatepost.antivirus.openers.scripts import find_blobs, find_pieces
from gatepost.model.finding import ScanOptions

PROGRAM = b"MZ\x90\x00\x03\x00\x00\x00\x04\x00\x00\x00\xff\xff\x00\x00" + bytes(range(200))
TEXT = base64.b64encode(PROGRAM).rstrip(b"=")
BACKWARDS = TEXT[::-1]


@pytest.mark.parametrize("quote", [b'"', b"'", b"`"])
def test_long_text_in_quotes_is_read_backwards(quote: bytes) -> None:
    page = b"var a = 'b', x = " + quote + BACKWARDS + quote + b";\n"
    assert any(each.startswith(PROGRAM) for each in find_pieces(page))


def test_quotes_need_not_be_alike_and_a_text_without_end_hides_none_behind_it() -> None:
    page = b'it"s\r\n' + b"'" + b"x" * 300 + b"\r\n" + b'y"' + BACKWARDS + b"`"
    assert any(each.startswith(PROGRAM) for each in find_pieces(page))


def test_an_end_of_a_line_or_a_missing_quote_ends_the_text() -> None:
    assert not list(find_pieces(b'"' + BACKWARDS[:150] + b"\n" + BACKWARDS[150:] + b'"'))
    assert not list(find_pieces(b'"' + BACKWARDS))
    assert not list(find_pieces(BACKWARDS + b'"'))


@pytest.mark.parametrize(("length", "found"), [(199, False), (200, True)])
def test_texts_from_two_hundred_characters_are_looked_at(length: int, *, found: bool) -> None:
    assert bool(list(find_pieces(b'"' + BACKWARDS[-length:] + b'"'))) is found


def test_of_two_texts_that_share_a_quote_the_second_is_no_text() -> None:
    # As an expression finds them: the quote that ends the first one begins none.
    twice = list(find_pieces(b'"' + b"#" * 200 + b'"' + BACKWARDS + b'"'))
    assert twice == []
    assert list(find_pieces(b'"' + b"#" * 200 + b'""' + BACKWARDS + b'"'))


@pytest.mark.parametrize(("first", "last"), [(b'"', b'"'), (b">", b"<"), (b"'", b"`"), (b'"', b"<")])
def test_pieces_are_joined_whatever_is_around_them(first: bytes, last: bytes) -> None:
    size = 40
    pieces = [TEXT[at : at + size] for at in range(0, len(TEXT), size)]
    page = b"\n".join(first + each + last for each in pieces)
    assert any(each.startswith(PROGRAM[:100]) for each in find_pieces(page))


@pytest.mark.parametrize(("count", "found"), [(2, False), (3, True)])
def test_fewer_than_three_pieces_are_none(count: int, *, found: bool) -> None:
    text = base64.b64encode(PROGRAM[:120])
    size = -(-len(text) // count)
    assert len(text) / count >= 8
    page = b"".join(b'<a b="' + text[at : at + size][:60] + b'">\n' for at in range(0, len(text), size))
    assert bool(list(find_pieces(page))) is found


def test_pieces_that_are_filled_up_are_decoded_one_by_one() -> None:
    pieces = [base64.b64encode(PROGRAM[at : at + 31]) for at in range(0, len(PROGRAM), 31)]
    assert all(each.endswith(b"=") for each in pieces[:-1])
    page = b"\n".join(b"<x>" + each + b"</x>" for each in pieces)
    assert any(each == PROGRAM for each in find_pieces(page))


def test_numbers_are_read_with_signs_and_with_zeros_in_front() -> None:
    numbers = b",".join([b"-07", b"007", b"0x4D", b" 0X5a "] * 16)
    blobs = find_blobs(b"x=[" + numbers + b"]", Budget(ScanOptions(), math.inf))
    assert bytes([0xF9, 7, 0x4D, 0x5A]) * 16 in list(blobs)
