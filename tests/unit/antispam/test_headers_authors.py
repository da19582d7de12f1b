"""Authors: which addresses the readers of a message may show."""

import base64
import json
import os
import tarfile
from pathlib import Path

import pytest
from tests.support.spam_knowledge import shipped_knowledge

from gatepost.antispam.check import Notes
from gatepost.antispam.headers.addresses import MAILBOXES_LIMIT, parse_mailboxes
from gatepost.antispam.headers.authors import read_authors
from gatepost.antispam.headers.check import build_header_check
from gatepost.antispam.view import build_view
from gatepost.mime.structure import parse
from gatepost.model.spam import SpamOptions

SHARED = Path(os.environ.get("GATEPOST_SHARED", Path(__file__).parents[4] / "shared"))
CASES = SHARED / "corpora/proto/proto-tests.tar.gz"

SHOWN = [
    (b"A <a@b.example>", [("A", "a@b.example")]),
    (b"a@b.example", [("", "a@b.example")]),
    (b"a@b.example (A B)", [("", "a@b.example")]),
    (b"Doe, John <j@b.example>", [("Doe, John", "j@b.example")]),
    (b'"Doe, \\"J\\"" <J@B.Example.>', [('Doe, "J"', "j@b.example")]),
    (b'"john doe"@b.example', [("", '"john doe"@b.example')]),
    (b"=?utf-8?q?J=C3=B6?= <j@b.example>", [("Jö", "j@b.example")]),
    (b"<@x.example,@y.example:a@b.example>", [("", "a@b.example")]),
    (
        b"Team: a@b.example, C <c@d.example>;, e@f.example",
        [("", "a@b.example"), ("C", "c@d.example"), ("", "e@f.example")],
    ),
    (b"undisclosed-recipients:;", []),
    (b"a @ b.example", [("", "a@b.example")]),
    (b"a@b.example c@d.example", [("", "a@b.example"), ("", "c@d.example")]),
    (b"A <a@b.example> <c@d.example>", [("A", "a@b.example"), ("A", "c@d.example")]),
    (b'"a@b.example" c@d.example', [("a@b.example", "c@d.example")]),
    (b"<mailto:a@b.example>", [("", "a@b.example")]),
    (b"<<a@b.example>>", [("", "a@b.example")]),
    (b"A <a@b.example", [("A", "a@b.example")]),
    ("A <a@bücher.example>".encode(), [("A", "a@xn--bcher-kva.example")]),
    (b"A (b (c) <x@y.example>) <a@b.example>", [("A", "a@b.example")]),
    (b"A (b <a@b.example>", [("A (b", "a@b.example")]),
    (b"", []),
    (b"A", [("A", "")]),
]


@pytest.mark.parametrize(("raw", "boxes"), SHOWN)
def test_mailboxes_of_a_field(raw, boxes):
    assert [(box.display, box.address) for box in parse_mailboxes(raw)] == boxes


@pytest.mark.parametrize("raw", [b"a@b.example", b"a@[192.0.2.1]", b'"a b"@c.example', b"a+b=c@d-e.example"])
def test_sound_addresses(raw):
    assert parse_mailboxes(raw)[0].is_valid


@pytest.mark.parametrize(
    "raw", [b"<a@b>", b"<a b@c.example>", b"<@c.example>", b"<a@b_.>", b"A", b"<a@-.example>", b"<a@b..example>"]
)
def test_unsound_addresses(raw):
    assert not parse_mailboxes(raw)[0].is_valid


@pytest.mark.parametrize("unit", [b'"', b"<", b"(", b'<"', b"a@b.example,", b"=?", b":", b"\\", b'"\\', b"()", b"@"])
def test_hostile_fields_are_read_in_bounded_steps(unit):
    assert len(parse_mailboxes(unit * (2_000_000 // len(unit)))) <= MAILBOXES_LIMIT


def cases():
    if not CASES.exists():
        return [pytest.param(None, marks=pytest.mark.skip(reason=f"no test material at {CASES}"))]
    with tarfile.open(CASES) as archive:
        [name] = [name for name in archive.getnames() if name.endswith("from-spoof-cases.json")]
        return [pytest.param(case, id=case["id"]) for case in json.load(archive.extractfile(name))["cases"]]


@pytest.mark.parametrize("case", cases())
def test_the_author_domain_of_a_spoofed_from(case):
    content = base64.b64decode(case["header_b64"]) + b"\r\nx"
    domains = {
        address.rpartition("@")[2] for address in read_authors(build_view(parse(content), SpamOptions())).addresses
    }
    domains = {domain for domain in domains if not domain.startswith("[")}
    [author] = domains if len(domains) == 1 else [None]
    assert author == case["expected_author_domain"]


@pytest.fixture(scope="module")
def check():
    return build_header_check(shipped_knowledge())


@pytest.mark.parametrize("case", cases())
def test_a_spoofed_from_has_a_sign_and_an_honest_one_has_none(check, case):
    content = base64.b64decode(case["header_b64"]) + b"To: a@b.example\r\nSubject: x\r\n\r\nx"
    notes = Notes()
    check.inspect(build_view(parse(content), SpamOptions(own_domains=("victim.example",))), notes)
    about_author = [sign for sign in notes.signs if sign.detail == "Headers: Suspicious From" and sign.weight > 0.5]
    assert bool(about_author) == case["suspicious"]
