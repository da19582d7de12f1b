"""Access: who may send to whom."""

from pathlib import Path

import pytest

from gatepost.config.load import load_text
from gatepost.config.schema import Listener
from gatepost.model.envelope import Recipient
from gatepost.relay.access import ACCEPTED, RELAYING_DENIED, Access, Ruling, Services
from gatepost.relay.admission import create_table
from gatepost.relay.rates import RateTable
from gatepost.relay.visit import Visit
from gatepost.resolver.resolver import Resolver

BASE = '[network]\nhostname = "gw.example.org"\nprotected_domains = ["example.org", "*.example.net"]\n'
RULES = (
    '[access]\nrelay_rule = ["allow from 192.0.2.0/24 to *", "allow from any to @protected", "deny from any to *"]\n'
)


def access(text: str, folder: Path) -> Access:
    config = load_text(text, "x.toml").config
    assert config is not None
    table = create_table()
    return Access(config, str(folder), Services(Resolver(config), RateTable(table)))


def visit_of(rules: Access, client: str) -> Visit:
    visit = Visit(client, 1024, Listener())
    assert rules.connect(visit) == ACCEPTED
    return visit


@pytest.mark.parametrize(
    ("rules", "client", "recipient", "allowed"),
    [
        (RULES, "192.0.2.7", "a@elsewhere.example", True),
        (RULES, "198.51.100.7", "a@elsewhere.example", False),
        (RULES, "198.51.100.7", "a@example.org", True),
        ("", "198.51.100.7", "a@elsewhere.example", False),
        ("", "127.0.0.1", "a@elsewhere.example", False),
        ("", "198.51.100.7", "A@EXAMPLE.ORG", True),
        ("", "198.51.100.7", "a@sub.example.net", True),
    ],
)
def test_relaying(rules: str, client: str, recipient: str, allowed: bool, tmp_path: Path) -> None:
    rules_in_force = access(BASE + rules, tmp_path)
    ruling = rules_in_force.recipient(visit_of(rules_in_force, client), Recipient(recipient))
    assert isinstance(ruling, Ruling)
    assert ruling.reply is (None if allowed else RELAYING_DENIED)


def test_postmaster_is_always_accepted_and_mapped(tmp_path: Path) -> None:
    rules_in_force = access(BASE, tmp_path)
    ruling = rules_in_force.recipient(visit_of(rules_in_force, "198.51.100.7"), Recipient("PostMaster"))
    assert isinstance(ruling, Ruling)
    assert ruling.reply is None
    assert ruling.recipient == Recipient("postmaster@gw.example.org")
