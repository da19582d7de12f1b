"""What does not fit together in access is told when the configuration is checked."""

import pytest

from gatepost.config.load import load_text
from gatepost.config.problem import Severity

BASE = '[network]\nhostname = "gw.example.org"\nprotected_domains = ["example.org"]\n'
RULES = 'relay_rule = ["allow from any to @protected", "deny from any to *"]\n'


@pytest.mark.parametrize(
    ("text", "name", "severity"),
    [
        ("recipient_verification = 'list'", "recipient_verification", Severity.ERROR),
        ("recipient_verification = 'list'\nknown_recipients = ['a@b']", "", None),
        ("recipient_verification = 'list'\nknown_recipients_file = '/x'", "", None),
        ("recipient_verification = 'call_ahead'", "", None),
        ("connect_rule = ['deny from in_dnsbl to *']", "connect_rule", Severity.WARNING),
        ("connect_rule = ['deny from in_dnsbl to *']\ndns_black_list = ['bl.example']", "", None),
        ("connect_rule = ['deny from no_name to *']", "", None),
    ],
)
def test_access_that_does_not_fit(text: str, name: str, severity: Severity | None) -> None:
    loaded = load_text(f"{BASE}[access]\n{RULES}{text}\n", "x.toml")
    told = [(p.name, p.severity) for p in loaded.problems if p.section == "access"]
    assert told == ([(name, severity)] if severity is not None else [])
