"""What the master compiles before a configuration is put in force: faults are found before anything changes."""

import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from tests.support.certificates import shared_authority

from gatepost.config.load import load_text
from gatepost.config.schema import Config
from gatepost.config.transport import TlsLevel
from gatepost.master.settings import compile_texts, settle_automatic
from gatepost.relay.outgoing_tls import OutgoingTls, Proof
from gatepost.relay.tls import TlsSetupError
from gatepost.relay.tls_policy import TlsDemand
from gatepost.smtp.client import TlsUse


def config_of(text: str) -> Config:
    config = load_text(f'[network]\nhostname = "gw.example.org"\n{text}', "x.toml").config
    assert config is not None
    return config


@pytest.mark.parametrize(
    "text",
    [
        '[tls]\nca_file = "{bad}"',
        '[tls]\nclient_cert = "{bad}"\nclient_key = "{bad}"',
        '[[tls_policy]]\ndestinations = ["a.example"]\nclient_cert = "{bad}"\nclient_key = "{bad}"',
    ],
)
def test_files_of_outgoing_sessions_that_cannot_be_used_are_found(tmp_path, text):
    bad = tmp_path / "bad.pem"
    bad.write_text("no certificate")
    with pytest.raises(TlsSetupError, match=r"outgoing sessions: .*bad\.pem"):
        compile_texts(config_of(text.format(bad=bad)))


def test_a_locked_key_is_an_error_and_asks_nobody(tmp_path):
    pair = shared_authority().issue("gw.example.org")
    key = serialization.load_pem_private_key(Path(pair.key).read_bytes(), None)
    locked = tmp_path / "locked.pem"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(TlsSetupError, match="locked"):
        compile_texts(config_of(f'[tls]\nclient_cert = "{pair.chain}"\nclient_key = "{locked}"'))


def test_a_certificate_damaged_later_fails_no_session(tmp_path):
    pair = shared_authority().issue("gw.example.org")
    shown = tmp_path / "shown.pem"
    shown.write_bytes(Path(pair.chain).read_bytes() + Path(pair.key).read_bytes())
    tls = OutgoingTls(
        config_of(
            f'[tls]\nclient_cert = "{shown}"\nclient_key = "{shown}"\n'
            '[[tls_policy]]\ndestinations = ["a.example"]\nlevel = "verify"\n'
        )
    )
    shown.write_text("half written")
    demand = TlsDemand(TlsLevel.VERIFY, (), str(shown), str(shown))
    plan = tls.plan(demand, "mx.a.example", TlsUse.ENCRYPT, Proof.AUTHORITY)
    assert plan.context is not None
    assert plan.context.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    ("relays", "most", "sessions", "filters"), [(1, 64, 10, 10), (3, 64, 10, 10), (3, 4, 10, 4), (12, 4, 20, 12)]
)
def test_there_are_never_more_filters_than_objects_may_be_scanned_at_once(relays, most, sessions, filters):
    config = config_of(
        f"[relay]\nrelays = {relays}\n[filter]\nserver_max_filters = {most}\n[limits]\nantiviral_sessions = {sessions}"
    )
    assert settle_automatic(config).filter.server_max_filters == filters


def test_relays_that_would_have_no_filter_are_an_error():
    loaded = load_text('[network]\nhostname = "gw.example.org"\n[relay]\nrelays = 11', "x.toml")
    assert any(problem.name == "antiviral_sessions" for problem in loaded.problems)
