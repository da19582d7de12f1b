"""What a filter reads of a message for its authentication."""

import base64
import hashlib
import time

from authn_corpus import with_crlf

from gatepost.antispam.authn_material import RESULT_LIMIT, RESULTS_LIMIT, read_material
from gatepost.antispam.view import build_view
from gatepost.filter.spam_bounds import check_spam
from gatepost.mime.structure import parse
from gatepost.model.authn import SETS_LIMIT, AuthnMaterial
from gatepost.model.spam import SpamFacts, SpamOptions

SIGNATURE = b"v=1; a=rsa-sha256; c=relaxed/simple; d=A.example; s=S1; h=From:Subject; t=5; x=9; bh=%s; b=YQ =="


def read(content: bytes, *, authn: bool = True) -> AuthnMaterial:
    material = read_material(build_view(parse(content), SpamOptions(authn=authn)))
    check_spam(SpamFacts(authn=material), len(content))
    return material


def test_reads_all_but_the_key():
    body = b"one\r\n"
    sum_ = base64.b64encode(hashlib.sha256(body).digest())
    content = b"DKIM-Signature: " + SIGNATURE % sum_ + b"\r\nSubject: x  y\r\nFrom: Ann <Ann@A.example>\r\n\r\n" + body
    (found,) = read(content).signatures
    assert (found.domain, found.selector, found.algorithm, found.identity) == (
        "a.example",
        "s1",
        "rsa-sha256",
        "@a.example",
    )
    assert (found.signature, found.fields, found.timestamp, found.expires) == (b"a", ("from", "subject"), 5, 9)
    assert found.body_matches
    (changed,) = read(content + b"two\r\n").signatures
    assert not changed.body_matches
    assert changed.digest == found.digest
    own = b"dkim-signature:" + SIGNATURE % sum_
    signed = b"from:Ann <Ann@A.example>\r\nsubject:x y\r\n" + own.replace(b" b=YQ ==", b" b=")
    assert found.digest == hashlib.sha256(signed).digest()


def test_line_ends_make_no_difference():
    content = b"DKIM-Signature: " + SIGNATURE % b"YQ==" + b"\nSubject: x\n\ty\nFrom: ann@a.example\n\none\ntwo\n\n"
    assert read(content).signatures == read(with_crlf(content)).signatures


def test_without_a_wish_there_are_authors_only():
    content = b"DKIM-Signature: v=1\r\nFrom: ann@a.example\r\nAuthentication-Results: x; spf=pass\r\n\r\n"
    assert read(content, authn=False) == AuthnMaterial(("ann@a.example",))
    assert len(read(content).signatures) == 1


def test_results_of_others_in_order_and_bounded():
    fields = b"".join(b"Authentication-Results: h%d;\r\n\tspf=pass\r\n" % number for number in range(100))
    material = read(fields + b"From: ann@a.example\r\n\r\n")
    assert material.results[0] == "h0;\r\n\tspf=pass"
    assert len(material.results) == RESULTS_LIMIT
    (long,) = read(b"Authentication-Results: " + b"x" * 100_000 + b"\r\n\r\n").results
    assert RESULT_LIMIT - 1 <= len(long) <= RESULT_LIMIT


def test_chains_are_whole_or_broken():
    def chain(
        *numbers: int, what: tuple[bytes, ...] = (b"Seal", b"Message-Signature", b"Authentication-Results")
    ) -> bytes:
        tags = b"i=%d; cv=%s; a=rsa-sha256; d=a.example; s=s; b=YQ=="
        lines = []
        for number in numbers:
            values = {b"Seal": tags % (number, b"none" if number == 1 else b"pass")}
            values[b"Message-Signature"] = values[b"Seal"] + b"; h=from; bh=YQ=="
            values[b"Authentication-Results"] = b"i=%d; a.example; dmarc=pass" % number
            lines += [b"ARC-" + name + b": " + values[name] + b"\r\n" for name in what]
        return b"".join(lines) + b"From: ann@a.example\r\n\r\n"

    whole = read(chain(2, 1))
    assert [each.instance for each in whole.arc] == [1, 2]
    assert (whole.arc_error, whole.arc[0].results) == ("", "a.example; dmarc=pass")
    assert len({each.seal.digest for each in whole.arc}) == 2
    assert read(chain(3, 1)).arc_error
    assert read(chain(1, 1)).arc_error
    assert read(chain(1, what=(b"Seal",))).arc_error
    assert read(chain(*range(1, SETS_LIMIT + 1))).arc_error == ""
    assert read(chain(*range(1, SETS_LIMIT + 2))).arc_error


def test_hostile_mail_costs_linear_time():
    names = b":".join([b"x-a"] * 400)
    field = b"DKIM-Signature: " + SIGNATURE.replace(b"From:Subject", b"From:" + names) % b"YQ==" + b"\r\n"
    lengths = b"".join(field.replace(b"t=5", b"l=%d; t=5" % number) for number in range(10))
    content = lengths + b"X-A: " + b" a" * 200_000 + b"\r\nFrom: ann@a.example\r\n\r\n" + b" \t\r\n" * 1_000_000
    started = time.process_time()
    assert len(read(content).signatures) == 10
    assert time.process_time() - started < 4


def test_an_endless_author_stays_within_bounds_and_keeps_the_domain():
    (author,) = read(b"From: <" + b"a" * 600 + b"@a.example>\r\n\r\n").authors
    assert author.endswith("a@a.example")
