"""What set-up writes is what the manual shows."""

import sys
from pathlib import Path

import pytest

from gatepost.client.setup import exim, postfix
from gatepost.client.setup.service import plan_unit
from gatepost.client.setup.values import Wanted

MANUAL = Path(__file__).resolve().parents[3] / "docs/manual"
CLIENT = "/usr/lib/gatepost/bin/python -I -m gatepost.client pipe -c /etc/gatepost-client/client.toml"


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


def test_the_manual_shows_the_unit_of_the_milter() -> None:
    wanted = Wanted(config=Path("/etc/postfix"), units=Path("/etc/systemd/system"))
    (change,) = plan_unit(wanted, "milter", "milter client", "postfix.service", postfix.MILTER)
    assert change.after is not None
    unit = change.after.content.decode().replace(sys.executable, "/usr/lib/gatepost/bin/python")
    assert f"# {change.path}\n{unit}" in (MANUAL / "milter.md").read_text()
