"""Links in mails: nobody can make or change one, each has one spelling and one end; keys turn."""

import base64

import pytest

from gatepost.control.mail_links import (
    TEXT_LIMIT,
    BadLink,
    EndedLink,
    LinkKey,
    Verb,
    form_fits,
    form_token,
    new_link,
    open_link,
    seal_link,
    turn_keys,
)

NOW = 1_800_000_000.0
DAY = 86400.0
KEY = LinkKey(3, b"k" * 32, NOW)
OTHER = LinkKey(2, b"o" * 32, NOW)
LINK = new_link(Verb.RELEASE, "ann@example.org", NOW + 100, "0ABCDEFGHJKMN-0A1B2C")
TEXT = seal_link(LINK, KEY)


def test_a_link_says_what_was_sealed_with_any_key_that_is_left() -> None:
    assert open_link(TEXT, (KEY, OTHER), NOW) == LINK
    assert open_link(seal_link(LINK, OTHER), (KEY, OTHER), NOW) == LINK
    assert TEXT.isascii()
    assert TEXT.replace("-", "").replace("_", "").isalnum(), "nothing that a mail program could end a link at"


def test_no_byte_of_a_link_can_be_changed() -> None:
    raw = base64.urlsafe_b64decode(TEXT + "=" * (-len(TEXT) % 4))
    for place in range(len(raw)):
        for change in (1, 128):
            changed = bytes(byte ^ change if index == place else byte for index, byte in enumerate(raw))
            with pytest.raises(BadLink):
                open_link(base64.urlsafe_b64encode(changed).decode().rstrip("="), (KEY, OTHER), NOW)


def test_no_letter_of_a_link_can_be_changed_and_none_added_or_left_out() -> None:
    for place in range(len(TEXT)):
        for letter in "Aa9-_":
            changed = TEXT[:place] + letter + TEXT[place + 1 :]
            if changed != TEXT:
                with pytest.raises(BadLink):
                    open_link(changed, (KEY,), NOW)
        with pytest.raises(BadLink):
            open_link(TEXT[:place] + TEXT[place + 1 :], (KEY,), NOW)


@pytest.mark.parametrize("text", ["", "=", TEXT + "=", TEXT + "==", TEXT + "A", " " + TEXT, TEXT + "\n", "ä", "A" * TEXT_LIMIT, "A" * (TEXT_LIMIT + 1)])  # fmt: skip
def test_what_is_no_link(text: str) -> None:
    with pytest.raises(BadLink):
        open_link(text, (KEY,), NOW)


def test_a_key_that_is_gone_takes_its_links_along() -> None:
    with pytest.raises(BadLink):
        open_link(TEXT, (OTHER,), NOW)
    with pytest.raises(BadLink):
        open_link(TEXT, (), NOW)
    with pytest.raises(BadLink, match="names"):
        open_link(TEXT, (LinkKey(9, KEY.key, NOW),), NOW)


def test_a_link_ends_at_its_moment() -> None:
    assert open_link(TEXT, (KEY,), NOW + 99.9) == LINK
    with pytest.raises(EndedLink) as ended:
        open_link(TEXT, (KEY,), NOW + 100)
    assert ended.value.link == LINK


def test_two_links_for_the_same_are_two() -> None:
    again = new_link(LINK.verb, LINK.recipient, LINK.until, LINK.item)
    assert again.id != LINK.id
    assert len(again.id) == 16
    assert seal_link(again, KEY) != TEXT


def test_a_form_is_of_one_link_and_no_link() -> None:
    token = form_token(LINK, KEY)
    assert form_fits(LINK, token, (OTHER, KEY))
    assert not form_fits(new_link(LINK.verb, LINK.recipient, LINK.until, LINK.item), token, (KEY,))
    assert not form_fits(LINK, token, (OTHER,))
    for wrong in ("", "ü", token[:-1], token.upper() + "0", "\ud800"):
        assert not form_fits(LINK, wrong, (KEY,))


def test_keys_turn_and_go_when_no_link_of_theirs_can_be_left() -> None:
    first = turn_keys((), NOW, turn_s=30 * DAY, kept_s=14 * DAY)
    assert [key.number for key in first] == [1]
    assert len(first[0].key) == 32
    assert turn_keys(first, NOW + 29 * DAY, turn_s=30 * DAY, kept_s=14 * DAY) == first
    second = turn_keys(first, NOW + 30 * DAY, turn_s=30 * DAY, kept_s=14 * DAY)
    assert [key.number for key in second] == [2, 1]
    assert turn_keys(second, NOW + 43 * DAY, turn_s=30 * DAY, kept_s=14 * DAY) == second
    third = turn_keys(second, NOW + 44 * DAY, turn_s=30 * DAY, kept_s=14 * DAY)
    assert third == second[:1]
    assert turn_keys(second, NOW - 99 * DAY, turn_s=30 * DAY, kept_s=14 * DAY) == second, "a clock set back"
