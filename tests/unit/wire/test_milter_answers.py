"""Packets of a milter's answers: what a text holds cannot end it early, and refusals have the form mail systems take."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.milter_peer import packet, packets

from gatepost.model.reply import reply
from gatepost.wire.milter_answers import (
    BODY_PIECE,
    build_add_recipient,
    build_append,
    build_body,
    build_change,
    build_delete,
    build_hold,
    build_insert,
    build_refusal,
)


def test_a_refusal_of_one_line():
    assert build_refusal(reply(550, "5.7.1", "No: 100% spam")) == packet("y", b"550 5.7.1 No: 100%% spam\0")


def test_a_refusal_of_several_lines():
    assert build_refusal(reply(451, "4.3.0", "one", "two")) == packet("y", b"451-4.3.0 one\r\n451 4.3.0 two\0")


@pytest.mark.parametrize(
    ("given_reply", "start"),
    [
        (reply(554, "", "x"), b"554 5.7.1 x"),
        (reply(450, "5.1.1", "x"), b"450 4.7.1 x"),
        (reply(250, "2.0.0", "x"), b"451 4.7.1 x"),
        (reply(550, "5.7.1"), b"550 5.7.1 "),
    ],
)
def test_a_refusal_refuses_whatever_it_is_made_of(given_reply, start):
    assert build_refusal(given_reply) == packet("y", start + b"\0")


@given(st.lists(st.text(max_size=1000), max_size=20))
def test_any_text_makes_a_well_formed_refusal(lines):
    ((command, data),) = packets(build_refusal(reply(550, "5.7.1", *lines)))
    assert command == "y"
    told = data[:-1].split(b"\r\n")
    assert data.endswith(b"\0")
    assert 1 <= len(told) <= 10
    for line in told[:-1]:
        assert re.fullmatch(rb"550-5\.7\.1 [ -~]*", line)
    assert re.fullmatch(rb"550 5\.7\.1 [ -~]*", told[-1])
    assert all(line[10:].count(b"%") % 2 == 0 for line in told)


def test_fields():
    assert build_insert("X-A", b"one\r\n two", exact_values=True) == packet("i", b"\0\0\0\0X-A\0 one\n two\0")
    assert build_insert("X-A", b"one", exact_values=False) == packet("i", b"\0\0\0\0X-A\0one\0")
    assert build_append("X-A", b"one", exact_values=True) == packet("h", b"X-A\0 one\0")
    assert build_change("X-A", 3, b"a\0b", exact_values=True) == packet("m", b"\0\0\0\3X-A\0 ab\0")
    assert build_delete("X-A", 2) == packet("m", b"\0\0\0\2X-A\0\0")


@pytest.mark.parametrize("size", [0, 1, BODY_PIECE, BODY_PIECE + 1])
def test_a_body_in_pieces(size):
    made = [data for _, data in packets(b"".join(build_body(b"x" * size)))]
    assert b"".join(made) == b"x" * size
    assert len(made) == max(1, -(-size // BODY_PIECE))
    assert all(len(data) <= BODY_PIECE for data in made)


def test_what_comes_from_elsewhere_cannot_end_a_packet():
    assert build_add_recipient(b"<a\0@b>") == packet("+", b"<a@b>\0")
    assert build_hold("why\nnot") == packet("q", b"why?not\0")
