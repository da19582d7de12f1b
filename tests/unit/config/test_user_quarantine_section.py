"""The section [user_quarantine] and what groups say of it: links do not cross a network in clear, times are times."""

from pathlib import Path

import pytest

from gatepost.config.load import load
from gatepost.config.user_pages import link_base

BASE = """
[network]
hostname = "gw.example.org"
protected_domains = ["example.org"]
[access]
relay_rule = ["allow from any to @protected", "deny from any to *"]
[[route]]
recipients = ["*"]
next_hop = ["[127.0.0.1:2526]"]
"""
ON = "[user_quarantine]\nenabled = true\n"


@pytest.mark.parametrize(
    ("lines", "trouble"),
    [
        (ON, ""),
        (ON + 'listen = ["0.0.0.0:8026"]', "in clear"),
        (ON + 'listen = ["192.0.2.7:8026"]\ntls_cert = "/etc/c.pem"', ""),
        (ON + 'listen = ["192.0.2.7:8026"]\nproxies = ["192.0.2.1"]', ""),
        (ON + "listen = []", "listen nowhere"),
        (ON + 'tls_key = "/etc/k.pem"', "a key without a certificate"),
        ('[user_quarantine]\nlisten = ["0.0.0.0:8026"]', ""),
        (ON + 'url = "https://spam.example.org"', ""),
        (ON + 'url = "https://spam.example.org:8443/"', ""),
        (ON + 'url = "spam.example.org"', "no beginning of a link"),
        (ON + 'url = "javascript://spam.example.org"', "no beginning of a link"),
        (ON + 'url = "https://spam.example.org/path"', "no beginning of a link"),
        (ON + 'url = "https://user@spam.example.org"', "no beginning of a link"),
        (ON + "url = 'https://a\"b'", "no beginning of a link"),
        (ON + 'url = "https://a:99999"', "no beginning of a link"),
        ('[policy]\ndigest_times = ["25:00"]', "hour must be in"),
        ('[policy]\ndigest_times = ["8"]', "no time of day"),
        ('[[group]]\nname = "g"\ndigest_times = ["8:0"]', "no time of day"),
        ('[policy]\ndigest_days = ["monday"]', "monday"),
        ('[policy]\ndigest_times = ["0:00", "23:59"]\ndigest_days = ["mon", "sun"]', ""),
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


def test_a_group_without_pages_is_told(tmp_path: Path) -> None:
    file = tmp_path / "gatepost.toml"
    file.write_text(BASE + "[policy]\nuser_quarantine = true\n")
    assert any("nobody hears of it" in str(problem) for problem in load(file).problems)


@pytest.mark.parametrize(
    ("lines", "base"),
    [
        ("", "http://gw.example.org:8026"),
        ('tls_cert = "/etc/c.pem"\nlisten = ["[::]:443"]', "https://gw.example.org:443"),
        ('url = "https://spam.example.org/"', "https://spam.example.org"),
    ],
)
def test_how_links_begin(tmp_path: Path, lines: str, base: str) -> None:
    file = tmp_path / "gatepost.toml"
    file.write_text(BASE + ON + lines)
    config = load(file).config
    assert config is not None
    assert link_base(config) == base
    assert not config.groups[-1].user_quarantine, "off unless a group says so"
