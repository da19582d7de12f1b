"""What set-up writes is what the manual shows."""

from pathlib import Path

import pytest

from gatepost.client.setup import exim, postfix

MANUAL = Path(__file__).resolve().parents[3] / "docs/manual"
CLIENT = "/usr/lib/gatepost/bin/python -I -m gatepost.client pipe -c /etc/gatepost/client.toml"


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("exim.md", exim.MALWARE + exim.SPAM),
        ("exim.md", exim.ROUTER),
        ("exim.md", exim.TRANSPORT.replace("COMMAND", CLIENT).replace("USER", "Debian-exim")),
        ("exim.md", exim.GIVEN_BACK),
        ("pipe.md", f"{postfix.TRANSPORT} unix {postfix.FORWARD}"),
        ("pipe.md", postfix.BACK_OPTIONS.format(override=postfix.OVERRIDE["content_filter"])),
        ("pipe.md", f"receive_override_options={postfix.OVERRIDE['smtpd_proxy_filter']}`"),
        ("milter.md", f"\nnon_smtpd_milters = {postfix.build_milter('inet:127.0.0.1:8891', 'tempfail')}\n"),
    ],
)
def test_the_manual_shows_the_recipe(page: str, text: str) -> None:
    assert text in (MANUAL / page).read_text()
