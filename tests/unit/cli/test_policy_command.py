"""`gatepost policy explain` and `show`: what is said of a message, and of a group."""

import json
from pathlib import Path

import pytest
from tests.support.gateway import run_here
from tests.support.mails import EICAR, plain, with_attachment, zipped

from gatepost.config.default import build_default_config

GROUPS = """
[[group]]
name = "sales"
recipients = ["*@sales.example.org", "boss@*"]
block_message = []
notify_recipient = ["infected"]
add_x_headers = true
save_in_qb = ["infected"]

[[group]]
name = "unchecked"
recipients = ["*@unchecked.example.org"]
check = false
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    text = build_default_config(
        state_path=str(tmp_path / "state"),
        hostname="gw.example.org",
        next_hop="[127.0.0.1:9]",
        protected_domains=("example.org", "*.example.org"),
    )
    file = tmp_path / "gatepost.toml"
    # What anti-spam says is `test_spam_verdicts`' matter: a trial loads it for a second.
    file.write_text(text.replace("[policy]\n", "[policy]\ncheck_spam = false\n", 1) + GROUPS)
    return file


def test_a_message_to_several_groups_is_explained_without_a_gateway(config: Path, tmp_path: Path) -> None:
    mail = tmp_path / "mail.eml"
    mail.write_bytes(with_attachment(zipped(EICAR, "inner.com"), "bill.zip").replace(b"\r\n", b"\n"))
    to = ["--to", "a@sales.example.org", "--to", "b@unchecked.example.org", "--to", "<c@example.org>"]
    arguments = ["policy", "explain", str(mail), "--from", "s@example.net", *to, "-c", str(config)]
    machine = run_here(*arguments, "--json")
    assert machine.returncode == 0, machine.stderr
    answer = json.loads(machine.stdout)
    assert answer["direction"] == "inbound"
    member = next(each for each in answer["objects"] if each["name"] == "inner.com")
    assert (member["depth"], member["status"], member["threat"]) == (1, "infected", "EICAR-Test-File")
    assert [engine["name"] for engine in answer["engines"]] == ["builtin"]
    sales, unchecked, policy = answer["groups"]
    assert (sales["name"], sales["recipients"]) == ("sales", ["a@sales.example.org"])
    assert sales["why"] == "sender matches *@*, recipient matches *@sales.example.org"
    assert sales["disposition"] == "delivered with changes"
    assert "bill.zip: infected, placeholder" in sales["actions"]
    assert sales["notifications"] == {"admin": ["postmaster@example.org"], "recipient": ["a@sales.example.org"]}
    assert sales["additions"] == ["scan field"]
    assert any(store.startswith("quarantine ") for store in sales["stores"])
    assert (unchecked["statuses"], unchecked["disposition"]) == (["not_checked"], "delivered as received")
    assert policy["disposition"].startswith("blocked")
    assert not (tmp_path / "state").exists()


def test_the_words_of_an_explanation(config: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    mail = tmp_path / "mail.eml"
    mail.write_bytes(plain())
    told = run_here(
        *("policy", "explain", str(mail), "--from", "<>", "--to", "b@unchecked.example.org", "--client", "127.0.0.1"),
        *("-c", str(config)),
    )
    assert told.returncode == 0, told.stderr
    assert capfd.readouterr().err == ""  # nor do processes of the command say anything
    assert told.stdout.splitlines()[:3] == ["Direction: internal", "Sender: <>", "Objects: nothing was looked at"]
    assert "Group unchecked: <b@unchecked.example.org>" in told.stdout
    assert told.stdout.endswith("  Disposition: delivered as received\n")


@pytest.mark.parametrize(
    ("file", "options", "code", "told"),
    [
        ("none.eml", (), 2, "No such file"),
        ("gatepost.toml", ("--client", "nobody"), 1, "no IP address"),
    ],
)
def test_what_cannot_be_explained(
    config: Path, tmp_path: Path, file: str, options: tuple[str, ...], code: int, told: str
) -> None:
    arguments = ("policy", "explain", str(tmp_path / file), "--from", "s@example.net", "--to", "a@example.org")
    ended = run_here(*arguments, *options, "-c", str(config))
    assert ended.returncode == code
    assert told in ended.stderr


def test_values_of_a_group_and_where_they_come_from(config: Path) -> None:
    shown = run_here("policy", "show", "sales", "-c", str(config))
    rows = {line.split()[0]: line for line in shown.stdout.splitlines()}
    assert "infected" in rows["notify_recipient"]
    assert str(config) in rows["notify_recipient"]
    assert "policy:" in rows["action_infected"]
    assert rows["edit_signed"].endswith("(default)")
    answer = json.loads(run_here("policy", "show", "--json", "-c", str(config)).stdout)
    assert answer["group"]["name"] == "policy"
    unknown = run_here("policy", "show", "nobody", "-c", str(config))
    assert unknown.returncode == 1
    assert "there are: sales, unchecked, policy" in unknown.stderr


def test_a_message_that_an_engine_could_not_see_has_no_verdict(config: Path, tmp_path: Path) -> None:
    mail = tmp_path / "mail.eml"
    mail.write_bytes(plain("any").replace(b"\r\n", b"\n"))
    engine = f'[[engine]]\nname = "away"\nkind = "clamd"\naddress = "{tmp_path}/nobody"\n'
    config.write_text(config.read_text() + engine)
    arguments = ["policy", "explain", str(mail), "--from", "s@example.net", "--to", "c@example.org", "-c", str(config)]
    machine = run_here(*arguments, "--json")
    assert machine.returncode == 0, machine.stderr
    answer = json.loads(machine.stdout)
    assert answer["waits"].startswith("away: ")
    (policy,) = answer["groups"]
    assert (policy["statuses"], policy["disposition"]) == ([], "waits in the queue for its inspection")
    told = run_here(*arguments).stdout
    assert "Verdict: none" in told
    assert "delivered" not in told
