"""Fingerprints: the same for copies, different for others, and nothing to be read out of them."""

import functools
import random

import pytest

from gatepost.antispam.check import Notes
from gatepost.antispam.fingerprints import (
    ATTACHMENTS_LIMIT,
    SHINGLES_LEAST,
    TEXT_VALUES,
    VALUE_BYTES,
    FingerprintCheck,
    fingerprint_links,
    fingerprint_picture,
    fingerprint_text,
)
from gatepost.antispam.urgent import IMAGE_MATCHES, TEXT_MATCHES
from gatepost.antispam.view import build_view
from gatepost.mime.structure import parse
from gatepost.model.spam import FingerprintKind, Link, SpamOptions

SCAM = """
Dear friend, I am the personal attorney to a late engineer who worked with an oil company in my country. On the
twenty first of April my client, his wife and their only child were involved in a fatal car accident and all occupants
of the vehicle unfortunately lost their lives. Since then I have made several enquiries to locate any of my clients
extended relatives, and this has also proved unsuccessful. After these several unsuccessful attempts I decided to trace
his last name over the internet, to locate any member of his family, hence I contacted you. I have contacted you to
assist in repatriating the fund valued at eight million dollars left behind by my client before it gets confiscated or
declared unserviceable by the finance company where this huge amount was deposited.
"""


def shared(one: str, other: str) -> int:
    return len(set(fingerprint_text(one)) & set(fingerprint_text(other)))


@functools.cache
def vocabulary() -> list[str]:
    chooser = random.Random(1)
    return ["".join(chooser.choices("abcdefghijklmnopqrstuvwxyz", k=chooser.randint(2, 9))) for _ in range(3000)]


def words(seed: int, count: int) -> list[str]:
    return random.Random(seed).choices(vocabulary(), k=count)


def inspect(content: bytes, uds: bool = True) -> Notes:
    notes = Notes()
    FingerprintCheck().inspect(build_view(parse(content), SpamOptions(uds=uds)), notes)
    return notes


class TestText:
    def test_copies_share_all_whatever_is_personal_in_them(self) -> None:
        first = f"{SCAM} write to anna@one.example or see https://one.example/p?id=1 code 12345"
        second = f"{SCAM} write to bob.builder@two.example or see www.two.example/x code 99"
        assert shared(first, second) == TEXT_VALUES == len(fingerprint_text(first))

    @pytest.mark.parametrize("seed", range(12))
    @pytest.mark.parametrize("length", [100, 300, 2000])
    def test_a_text_in_which_one_word_of_twentyfive_was_changed_is_known(self, seed: int, length: int) -> None:
        text = words(seed, length)
        edited = [word if place % 25 else "replaced" for place, word in enumerate(text)]
        assert shared(" ".join(text), " ".join(edited)) >= TEXT_MATCHES

    @pytest.mark.parametrize("seed", range(12))
    def test_other_texts_share_nothing(self, seed: int) -> None:
        assert shared(" ".join(words(seed, 300)), " ".join(words(seed + 100, 300))) == 0

    @pytest.mark.parametrize("seed", range(12))
    def test_texts_that_share_a_footer_are_not_the_same(self, seed: int) -> None:
        footer = " ".join(words(999, 25))
        one, other = " ".join(words(seed, 75)), " ".join(words(seed + 100, 75))
        assert shared(f"{one} {footer}", f"{other} {footer}") < TEXT_MATCHES

    def test_texts_of_which_half_is_the_same_count_as_others(self) -> None:
        common = " ".join(words(999, 80))
        pairs = [(" ".join(words(seed, 80)), " ".join(words(seed + 500, 80))) for seed in range(60)]
        matches = [shared(f"{one} {common}", f"{other} {common}") for one, other in pairs]
        assert sum(match > 0 for match in matches) > 5, "single values are shared"
        assert sum(match >= TEXT_MATCHES for match in matches) <= 2

    def test_short_texts_and_repetitions_have_none(self) -> None:
        least = words(1, SHINGLES_LEAST + 2)
        assert len(fingerprint_text(" ".join(least))) == TEXT_VALUES
        assert fingerprint_text(" ".join(least[:-1])) == ()
        assert fingerprint_text("buy now " * 500) == ()
        assert fingerprint_text("") == ()

    def test_scripts_without_spaces_have_words(self) -> None:
        chinese = (
            "尊敬的客户您好我们公司长期提供各类正规发票可以先验证后付款税率优惠欢迎来电咨询业务经理联系电话地址北京市"
        )
        assert len(fingerprint_text(chinese)) == TEXT_VALUES
        assert shared(chinese, f"{chinese}再见") > TEXT_VALUES // 2

    def test_values_are_all_different_and_bounded(self) -> None:
        values = fingerprint_text(" ".join(words(3, 100_000)))
        assert len(set(values)) == TEXT_VALUES
        assert {len(value) for value in values} == {VALUE_BYTES}

    def test_a_value_depends_on_places_all_over_the_text(self) -> None:
        """Whoever has half of a text cannot confirm it: hardly a value follows from a half alone."""
        from_half = []
        for seed in range(20):
            text = words(seed, 400)
            from_half.append(shared(" ".join(text), " ".join(text[:200])))
        # By chance all 4 minima of a value lie in one half: 1 of 16 of the values.
        assert sum(from_half) / len(from_half) < TEXT_VALUES / 8

    @pytest.mark.parametrize(
        "text", ["a" * 262_144, "a@" * 131_072, "http://" * 37_000, "w" * 262_144, ":" * 262_144, "\udc80 x" * 80_000]
    )
    def test_hostile_texts_pass(self, text: str) -> None:
        assert len(fingerprint_text(text)) in {0, TEXT_VALUES}


class TestLinks:
    def links(self, *urls: str) -> tuple[Link, ...]:
        return tuple(Link(url.split("/")[2], ".".join(url.split("/")[2].split(".")[-2:]), url) for url in urls)

    def test_what_changes_from_copy_to_copy_does_not_count(self) -> None:
        first = self.links("http://a1.pills.example/buy/X8f93k2?uid=77&s=1", "http://pills.example/remove/12345")
        second = self.links("http://pills.example/remove/99", "http://b7.pills.example/buy/K2231zz?s=9&uid=1")
        assert fingerprint_links(first) == fingerprint_links(second) is not None

    def test_other_sites_or_pages_are_others(self) -> None:
        sets = [
            self.links("http://pills.example/buy", "http://pills.example/remove"),
            self.links("http://other.example/buy", "http://other.example/remove"),
            self.links("http://pills.example/sell", "http://pills.example/remove"),
        ]
        assert len({fingerprint_links(each) for each in sets}) == 3

    def test_a_name_alone_is_guessed_quickly_and_has_none(self) -> None:
        assert fingerprint_links(self.links("http://pills.example/buy")) is None
        assert fingerprint_links(self.links("http://pills.example/", "http://other.example/")) is None


class TestCheck:
    def mail(self, body: bytes) -> bytes:
        return (
            b"From: a@b.example\r\nSubject: s\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=X\r\n\r\n"
            + body
        )

    def part(self, kind: str, data: bytes) -> bytes:
        return f"--X\r\nContent-Type: {kind}\r\nContent-Disposition: attachment\r\n\r\n".encode() + data + b"\r\n"

    def test_off_it_makes_none(self) -> None:
        assert inspect(b"Subject: s\r\n\r\n" + SCAM.encode(), uds=False).fingerprints == []

    def test_text_and_attachments_but_no_logos_and_no_small_ones(self) -> None:
        body = b"--X\r\n\r\n" + SCAM.encode() + b"\r\n"
        body += self.part("application/pdf", b"%PDF" + b"p" * 600) + self.part("image/png", b"i" * 600)
        body += self.part("application/pgp-signature", b"s" * 100) + b"--X--\r\n"
        kinds = [each.kind for each in inspect(self.mail(body)).fingerprints]
        assert kinds == [FingerprintKind.TEXT] * TEXT_VALUES + [FingerprintKind.ATTACHMENT]

    def test_attachments_are_bounded(self) -> None:
        body = b"".join(self.part("application/x", bytes((65 + n,)) * 600) for n in range(ATTACHMENTS_LIMIT + 3))
        assert len(inspect(self.mail(body + b"--X--\r\n")).fingerprints) == ATTACHMENTS_LIMIT

    def test_the_same_attachment_in_two_encodings_is_the_same(self) -> None:
        import base64

        data = b"%PDF" + b"payload\n" * 100
        plain = self.part("application/pdf", data)
        coded = b"--X\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        coded += base64.encodebytes(data).replace(b"\n", b"\r\n") + b"\r\n"
        found = [inspect(self.mail(each + b"--X--\r\n")).fingerprints[-1].value for each in (plain, coded)]
        assert found[0] == found[1]


class TestPictures:
    def picture(self, seed: int, noise: int = 0, kind: str = "PNG", size: tuple[int, int] = (400, 300)) -> bytes:
        import io

        from PIL import Image

        chooser = random.Random(seed)
        small = Image.new("L", (20, 15))
        small.putdata([chooser.randrange(256) for _ in range(300)])
        image = small.resize((400, 300), Image.Resampling.BICUBIC)
        if noise:
            image = image.point([min(255, max(0, value + chooser.randint(-noise, noise))) for value in range(256)])
        stream = io.BytesIO()
        image.resize(size).save(stream, kind)
        return stream.getvalue()

    @pytest.mark.parametrize("seed", range(5))
    def test_copies_share_enough_and_others_nothing(self, seed: int) -> None:
        known = set(fingerprint_picture(self.picture(seed)))
        assert len(known) == 8
        for copy in (self.picture(seed, kind="JPEG"), self.picture(seed, size=(300, 225)), self.picture(seed, noise=2)):
            assert len(known & set(fingerprint_picture(copy))) >= IMAGE_MATCHES
        assert not known & set(fingerprint_picture(self.picture(seed + 50)))

    def test_plain_and_broken_ones_have_none(self) -> None:
        import io

        from PIL import Image

        stream = io.BytesIO()
        Image.new("RGB", (400, 300), "white").save(stream, "PNG")
        assert fingerprint_picture(stream.getvalue()) == []
        assert fingerprint_picture(b"\x89PNG\r\n\x1a\n" + b"x" * 3000) == []

    @pytest.mark.parametrize(("text", "kinds"), [("look", {FingerprintKind.IMAGE}), (SCAM, {FingerprintKind.TEXT})])
    def test_only_a_picture_that_stands_for_the_text_counts(self, text: str, kinds: set[FingerprintKind]) -> None:
        import base64

        coded = base64.encodebytes(self.picture(1)).replace(b"\n", b"\r\n")
        mail = b"Subject: s\r\nMIME-Version: 1.0\r\nContent-Type: multipart/related; boundary=X\r\n\r\n--X\r\n\r\n"
        mail += text.encode() + b"\r\n--X\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        found = {each.kind for each in inspect(mail + coded + b"--X--\r\n").fingerprints}
        assert found == kinds
