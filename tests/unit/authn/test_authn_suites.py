"""The published suites of SPF, ARC, DMARC and the public suffix list, whole; the spoofed From fields."""

import base64
import ipaddress
import json
import re
from typing import Any

import pytest
from authn_corpus import arc_result, corpus_file, corpus_yaml, with_crlf
from tests.support.zone import Zone

from gatepost.antispam.authn_material import read_material
from gatepost.antispam.view import build_view
from gatepost.authn.dmarc import Proved, check_dmarc, is_author_domain
from gatepost.authn.psl import registrable_domain
from gatepost.authn.spf import SpfQuery, check_spf
from gatepost.mime.structure import parse
from gatepost.model.spam import SpamOptions

SPF_CASES = {"rfc7208-tests": 203, "rfc7208-tests-unreleased": 200, "rfc4408-tests": 191}


@pytest.mark.parametrize(("suite", "count"), SPF_CASES.items())
def test_spf_suite(suite: str, count: int):
    wrong, seen = [], 0
    for scenario in corpus_yaml(f"spf/{suite}.yml"):
        zone = Zone.from_suite(scenario["zonedata"])
        for name, case in scenario["tests"].items():
            seen += 1
            query = SpfQuery(ipaddress.ip_address(case["host"]), case["mailfrom"], case["helo"], "receiver.example.com")
            found = zone.run(check_spf(query))
            wanted = case["result"] if isinstance(case["result"], list) else [case["result"]]
            explained = found.result != "fail" or (found.explanation or "DEFAULT") == case.get(
                "explanation", found.explanation or "DEFAULT"
            )
            if found.result not in wanted or not explained:
                wrong.append((scenario["description"], name, found, wanted))
    assert not wrong
    assert seen == count


def test_arc_suite():
    wrong, seen = [], 0
    for scenario in corpus_yaml("arc/arc-draft-validation-tests.yml"):
        zone = Zone()
        for name, text in scenario["txt-records"].items():
            zone.add(name, "TXT", text.encode())
        for name, case in scenario["tests"].items():
            seen += 1
            found = arc_result(with_crlf(case["message"].encode()), zone)
            # No result stands where a seal says itself that the chain has failed: RFC 8617 §5.2 calls that a fail.
            if found.result != (case["cv"] or "Fail").lower():
                wrong.append((name, found, case["cv"]))
    assert not wrong
    assert seen == 171


def _dmarc_zone(records: dict[str, dict[str, list[Any]]]) -> Zone:
    zone = Zone()
    for name, kinds in records.items():
        for kind, values in kinds.items():
            for value in values:
                if kind == "TXT":
                    zone.add(name, kind, "".join(value).encode())
                else:
                    zone.add(name, kind, (value["priority"], value["exchange"]) if kind == "MX" else value)
    return zone


_READ = {"status.result": lambda found: found.result, "policy": lambda found: found.policy}
_NOT_OURS = re.compile(r"alignment\.|status\.comment|p\Z|pct\Z")
"""Names that only the library has which the cases come from."""


def test_dmarc_cases():
    cases = json.loads(corpus_file("dmarc/dmarc-cases.json"))["cases"]
    compared = 0
    for case in cases:
        results, zones = [], []
        for call in case["calls"]:
            zone = _dmarc_zone(call["zone"])
            author = call["headerFrom"] if isinstance(call["headerFrom"], str) else call["headerFrom"][0]
            spf, dkim = (
                [each if isinstance(each, str) else each["domain"] for each in call[key]]
                for key in ("spfDomains", "dkimDomains")
            )
            proved = Proved(spf[0] if spf else "", tuple(dkim))
            results.append(zone.run(check_dmarc(author.partition("@")[2], proved)))
            zones.append(zone)
        for expected in case["expect"]:
            path = expected["path"]
            if path.startswith("calls"):
                assert [each.name for each in zones[0].asked] == expected["value"], case["title"]
            elif path == "r0.domain":
                assert f"policy of {expected['value']}" in results[0].reason or expected["value"] == results[0].domain
            elif not _NOT_OURS.match(path.partition(".")[2]):
                number, _, field = path.partition(".")
                assert _READ[field](results[int(number[1:])]) == expected["value"], case["title"]
            elif path == "r0.p":
                assert results[0].policy == expected["value"]
            compared += 1
    assert len(cases) == 26
    assert compared >= 26


def test_public_suffix_vectors():
    wrong, seen = [], 0
    pairs = [line.split() for line in corpus_file("psl/tests.txt").decode().splitlines() if line[:2] not in ("", "//")]
    pattern = re.compile(r"^checkPublicSuffix\((\S+), (\S+)\);", re.MULTILINE)
    pairs += [[each.strip("'") for each in pair] for pair in pattern.findall(corpus_file("psl/test_psl.txt").decode())]
    for name, wanted in pairs:
        seen += 1
        if registrable_domain("" if name == "null" else name) != ("" if wanted == "null" else wanted):
            wrong.append((name, wanted))
    assert not wrong
    assert seen == 156


def test_author_domains_of_spoofed_fields():
    cases = json.loads(corpus_file("spoof/from-spoof-cases.json"))["cases"]
    wrong = []
    for case in cases:
        content = base64.b64decode(case["header_b64"]) + b"To: a@b.example\r\n\r\ntext\r\n"
        authors = read_material(build_view(parse(content), SpamOptions(authn=True))).authors
        domains = {each.rpartition("@")[2] for each in authors}
        found = next(iter(domains)) if len(domains) == 1 else None
        if found is not None and not is_author_domain(found):
            found = None
        if found != case["expected_author_domain"]:
            wrong.append((case["id"], authors, case["expected_author_domain"]))
    assert not wrong
    assert len(cases) == 17
