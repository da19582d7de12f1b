"""The parts of reception that decide nothing about mail: the wheel of times, load shedding, mending of lines."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.relay.mending import LINE_LIMIT, LineMender
from gatepost.relay.shedding import FLOOR, LAG_S, MEMORY_LIMIT, Strain, plan_address_limit
from gatepost.relay.wheel import TICK_S, Wheel

# --- the wheel


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.one_of(st.none(), st.floats(0, 400))),
        max_size=60,
    ),
    st.lists(st.floats(0.01, 100), min_size=1, max_size=20),
)
def test_the_wheel_gives_everything_once_in_time_and_nothing_that_was_dropped(acts, steps):
    wheel = Wheel[int]()
    now = 1000.0
    wheel.turn(now)
    wanted: dict[int, float] = {}
    for item, delay in acts:
        if delay is None:
            wheel.drop(item)
            wanted.pop(item, None)
        else:
            wheel.put(item, now + delay)
            wanted[item] = now + delay
    assert len(wheel) == len(wanted)
    for step in steps:
        now += step
        for item in wheel.turn(now):
            assert wanted.pop(item) <= now
        assert all(at > now - 2 * TICK_S for at in wanted.values())
    assert len(wheel) == len(wanted)


def test_an_item_put_again_comes_at_its_last_time_only():
    wheel = Wheel[str]()
    wheel.turn(10.0)
    wheel.put("a", 11.0)
    wheel.put("a", 13.0)
    wheel.put("b", 5.0)
    assert wheel.turn(12.0) == ["b"]
    assert wheel.turn(13.0 + 2 * TICK_S) == ["a"]
    assert wheel.turn(99.0) == []


# --- shedding

RULES = {"total_limit": 100, "address_limit": 50, "shed_at_percent": 90, "strained": False}


@pytest.mark.parametrize(
    ("open_sessions", "limit"), [(0, 50), (89, 50), (90, 50), (91, 45), (95, 27), (99, 8), (100, FLOOR), (200, FLOOR)]
)
def test_the_limit_of_an_address_sinks_evenly_to_the_floor(open_sessions, limit):
    assert plan_address_limit(open_sessions, **RULES) == limit


def test_small_limits_are_never_shed_and_none_is_when_it_is_off():
    assert plan_address_limit(100, **RULES | {"address_limit": FLOOR}) == FLOOR
    assert plan_address_limit(100, **RULES | {"address_limit": 1, "strained": True}) == 1
    assert plan_address_limit(100, **RULES | {"shed_at_percent": 0}) == 50
    assert plan_address_limit(100, **RULES | {"shed_at_percent": 100}) == 50
    assert plan_address_limit(0, **RULES | {"shed_at_percent": 0, "strained": True}) == FLOOR


@given(st.integers(0, 2000), st.integers(1, 1000), st.integers(1, 1000), st.integers(0, 100))
def test_shedding_never_allows_more_than_is_configured_nor_grows_with_load(now, total, address, share):
    rules = {"total_limit": total, "address_limit": address, "shed_at_percent": share, "strained": False}
    limit = plan_address_limit(now, **rules)
    assert min(address, FLOOR) <= limit <= address
    assert plan_address_limit(now + 1, **rules) <= limit


def test_strain_begins_and_ends_with_a_margin():
    strain = Strain()
    strain.measure(LAG_S + 1, 0)
    assert not strain.any, "one hiccup"
    strain.measure(LAG_S + 1, 0)
    assert strain.slow
    strain.measure(LAG_S - 1, MEMORY_LIMIT + 1)
    assert strain.slow
    assert strain.short
    strain.measure(0.0, MEMORY_LIMIT - 1)
    assert not strain.slow
    assert strain.short
    strain.measure(0.0, 0)
    assert not strain.any


# --- mending


def mended(content: bytes, cuts: list[int]) -> tuple[bytes, bool]:
    mender = LineMender()
    places = [0, *sorted(cut % (len(content) + 1) for cut in cuts), len(content)]
    out = b"".join(mender.feed(content[a:b]) for a, b in itertools.pairwise(places))
    return out + mender.flush(), mender.mended


LENGTHS = st.sampled_from([0, 1, 3, 997, 998, 999, 1000, 1599, 1996, 1997, 2500, 6000])
LINES = st.builds(
    lambda piece, length: (piece * length)[:length],
    st.sampled_from([b"x", b"ab ", b"\xc3\xa4", b" ", b"long word\t"]),
    LENGTHS,
)


@given(st.lists(LINES, min_size=1, max_size=6), st.booleans(), st.lists(st.integers(0, 20_000), max_size=6))
def test_every_line_gets_a_lawful_length_however_the_content_is_cut(lines, ended, cuts):
    content = b"\r\n".join(lines) + (b"\r\n" if ended else b"")
    whole, changed = mended(content, [])
    assert max(map(len, whole.split(b"\r\n"))) <= LINE_LIMIT
    assert mended(content, cuts) == (whole, changed)
    assert changed is (whole != content) is any(len(line) > LINE_LIMIT for line in lines)


@given(st.lists(LINES, min_size=1, max_size=4))
def test_a_body_loses_and_gains_nothing_but_line_ends(lines):
    body = b"\r\n".join(lines)
    whole, _ = mended(b"Subject: x\r\n\r\n" + body, [])
    assert whole.replace(b"\r\n", b"") == b"Subject: x" + body.replace(b"\r\n", b"")


def test_header_fields_are_folded_before_white_space_and_bodies_broken_behind_it():
    words = b"word " * 300
    header, _, body = mended(b"Subject: " + words + b"\r\n\r\n" + words + b"\r\n", [])[0].partition(b"\r\n\r\n")
    lines = header.split(b"\r\n")
    assert len(lines) == 2
    assert lines[1].startswith(b" word")
    assert header.replace(b"\r\n", b"") == b"Subject: " + words
    assert body.split(b"\r\n")[0].endswith(b"word ")


def test_without_white_space_a_field_gets_some_and_no_character_is_torn():
    name = b"X-Long: " + b"\xe2\x82\xac" * 1000
    header = mended(name + b"\r\n\r\n", [])[0]
    for line in header.split(b"\r\n")[1:]:
        assert not line or line.startswith(b" ")
    for line in header.split(b"\r\n"):
        line.decode()
    body = mended(b"\r\n" + b"\xe2\x82\xac" * 1000 + b"\r\n", [])[0]
    for line in body.split(b"\r\n"):
        line.decode()
