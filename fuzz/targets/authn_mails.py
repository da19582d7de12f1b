"""Mail with signatures and seals: what a filter reads of it for authentication, and what the relay makes of that.

What the filter says must hold its own bounds, and our field about it must be one field.
"""

from collections.abc import Iterator
from typing import Final

from gatepost.antispam.authn_material import read_material
from gatepost.antispam.view import build_view
from gatepost.authn.authentication import Trust, check_authentication, foresee
from gatepost.authn.results import build_results_field
from gatepost.authn.signs import build_signs
from gatepost.filter.spam_bounds import check_spam
from gatepost.mime.structure import parse
from gatepost.model.spam import SpamFacts, SpamOptions
from targets.authn_records import run

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 1500

_TRUST: Final = Trust(frozenset({"a.example"}), frozenset({"mx.example.org"}))
_KEY: Final = b"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="


def execute(data: bytes) -> None:
    """Read the input as a message."""
    if not data:
        return
    content = data[1:]
    material = read_material(build_view(parse(content), SpamOptions(authn=True)))
    check_spam(SpamFacts(authn=material), len(content))
    assert all(len(each.digest) in {0, 32} for each in material.signatures)
    assert len(foresee(material)) <= 70
    found = run(check_authentication(material, None, 0.0, _TRUST), data[0] & 0x1C, _KEY)
    assert not any(each.result == "pass" for each in found.dkim)
    assert found.arc != "pass"
    for sign in build_signs(found, "192.0.2.7"):
        assert sign.evidence
    field = build_results_field("gw.example.org", found)
    assert field.count(b"\n") == field.count(b"\r\n\t") + bool(field)


WORDS: Final = (
    b"DKIM-Signature: ", b"ARC-Seal: ", b"ARC-Message-Signature: ", b"ARC-Authentication-Results: ", b"Authentication-Results: ",
    b"From: a@a.example\r\n", b"v=1; ", b"a=rsa-sha256; ", b"a=ed25519-sha256; ", b"d=a.example; ", b"s=s; ", b"h=from:to; ",
    b"c=relaxed/simple; ", b"c=simple/relaxed; ", b"l=3; ", b"i=1; ", b"i=2; ", b"cv=none; ", b"cv=pass; ", b"bh=YQ==; ", b"b=YQ==",
    b"\r\n", b"\r\n\t", b"\r\n\r\n", b" \t", b"\n", b"\r", b"mx.example.org; ", b"dmarc=pass ", b"header.from=a.example",
)  # fmt: skip

_SEAL: Final = b"a=rsa-sha256; d=a.example; s=s; b=YQ==; "


def seeds() -> Iterator[bytes]:
    """A signed message, a chain of two, results of others."""
    signature = b"v=1; a=ed25519-sha256; c=relaxed/simple; d=a.example; s=s; h=from:subject:from; l=2; bh=YQ==; b=YQ=="
    yield b"\0DKIM-Signature: " + signature + b"\r\nFrom: a@a.example\r\nSubject: x\r\n\r\nbody  \r\n\r\n"
    sets = b"".join(
        b"ARC-Seal: i=%d; cv=%s; " % (number, validation)
        + _SEAL
        + b"\r\nARC-Message-Signature: i=%d; h=from; bh=YQ==; " % number
        + _SEAL
        + b"\r\nARC-Authentication-Results: i=%d; a.example; dmarc=pass\r\n" % number
        for number, validation in ((2, b"pass"), (1, b"none"))
    )
    yield b"\0" + sets + b"From: a@a.example\n\nbody"
    yield b"\0Authentication-Results: mx.example.org; dmarc=pass header.from=a.example\r\nFrom: a@a.example\r\n\r\n"
