"""The section [console]: passwords do not cross a network in clear."""

from pathlib import Path

import pytest

from gatepost.config.load import load

BASE = """
[network]
hostname = "gw.example.org"
protected_domains = ["example.org"]
[access]
relay_rule = ["allow from any to @protected", "deny from any to *"]
[[route]]
recipients = ["*"]
next_hop = ["[127.0.0.1:2526]"]
[console]
"""


@pytest.mark.parametrize(
    ("lines", "trouble"),
    [
        ("", ""),
        ('listen = ["127.0.0.1:1", "127.9.9.9:2", "[::1]:3"]', ""),
        ('listen = ["0.0.0.0:8025"]', "in clear"),
        ('listen = ["[::]:8025"]', "in clear"),
        ('listen = ["127.0.0.1:8025", "192.0.2.7:8025"]', "in clear"),
        ('listen = ["192.0.2.7:8025"]\nproxies = ["192.0.2.1"]', ""),
        ('listen = ["192.0.2.7:8025"]\ntls_cert = "/etc/c.pem"', ""),
        ('listen = ["192.0.2.7:8025"]\nenabled = false', ""),
        ('tls_key = "/etc/k.pem"', "a key without a certificate"),
        ('listen = ["localhost"]', "listen"),
        ('proxies = ["nobody"]', "proxies"),
    ],
)
def test_what_is_refused(tmp_path: Path, lines: str, trouble: str) -> None:
    file = tmp_path / "gatepost.toml"
    file.write_text(BASE + lines)
    errors = "\n".join(str(problem) for problem in load(file).errors)
    if trouble:
        assert trouble in errors
    else:
        assert not errors


def test_defaults_are_this_machine_only(tmp_path: Path) -> None:
    file = tmp_path / "gatepost.toml"
    file.write_text(BASE)
    config = load(file).config
    assert config is not None
    assert config.console.enabled
    assert config.console.listen == ("127.0.0.1:8025",)
    assert config.console.idle_time < config.console.session_time
