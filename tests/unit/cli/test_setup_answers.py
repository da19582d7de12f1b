"""Answers of `gatepost setup`: checked at once, completed, read and written; and the configuration they make."""

import re
from pathlib import Path

import msgspec
import pytest

from gatepost.cli.setup_answers import AnswersError, build_answers, complete, find_missing, read_answers
from gatepost.cli.setup_host import Host, find_defaults, parse_routes
from gatepost.cli.setup_plan import plan_configuration, read_configured
from gatepost.cli.setup_questions import MILTER_DOOR, QUESTIONS, Answers, Role
from gatepost.config.load import load_text

FILE = Path("/etc/gatepost/gatepost.toml")
RELAY = complete(find_defaults(Host()), {"hostname": "mx.example.org"})
SERVER = complete(find_defaults(Host(mail_system=True)), {"hostname": "mx.example.org"})


def planned(answers: Answers, before: str | None = None) -> str:
    text = plan_configuration(before, FILE, answers)
    loaded = load_text(text, str(FILE))
    assert not loaded.problems, [str(problem) for problem in loaded.problems]
    return text


def configured(text: str) -> Answers:
    return read_configured(Answers(), load_text(text, str(FILE)))


def test_every_answer_has_its_question() -> None:
    assert [question.name for question in QUESTIONS] == list(Answers.__struct_fields__)
    for question in QUESTIONS:
        assert question.words.endswith((".", "?"))


def test_the_manual_tells_of_every_answer() -> None:
    manual = Path(__file__).resolve().parents[3] / "docs" / "manual" / "installation.md"
    told = set(re.findall(r"`(\w+)`", "".join(re.findall(r"(?m)^\| `[^|]*\|", manual.read_text()))))
    assert {question.name for question in QUESTIONS} <= told


def test_what_a_host_says_gives_the_defaults() -> None:
    assert (RELAY.role, RELAY.doors, RELAY.forward_host) == (Role.RELAY, (), "[127.0.0.1:1025]")
    assert (SERVER.role, SERVER.doors, SERVER.forward_host) == (Role.SERVER, (MILTER_DOOR,), "[127.0.0.1:25]")
    assert (RELAY.protected_domains, RELAY.postmaster) == (("example.org",), "postmaster@example.org")
    short = complete(Answers(), {"hostname": "example.org"})
    assert short.protected_domains == ("example.org",), "not all of org"
    assert find_missing(find_defaults(Host()))[0].startswith("hostname: it cannot be left empty")


def test_another_role_brings_its_own_defaults_and_leaves_what_was_said() -> None:
    there = complete(RELAY, {"role": Role.SERVER})
    assert (there.doors, there.forward_host) == ((MILTER_DOOR,), "[127.0.0.1:25]")
    assert complete(there, {"role": Role.RELAY}) == RELAY
    said = complete(RELAY, {"forward_host": "[10.0.0.9:25]"})
    assert complete(said, {"role": Role.SERVER}).forward_host == "[10.0.0.9:25]"
    given = complete(RELAY, {"role": Role.SERVER, "doors": ("spamd tcp:127.0.0.1:783",)})
    assert given.doors == ("spamd tcp:127.0.0.1:783",)


def test_private_networks_of_a_host_and_no_others() -> None:
    table = """Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	0100000A	0003	0	0	0	00000000	0	0	0
eth0	0000000A	00000000	0001	0	0	0	0000FFFF	0	0	0
eth1	00010108	00000000	0001	0	0	0	00FFFFFF	0	0	0
eth2	0000A8C0	0100000A	0003	0	0	0	00FFFFFF	0	0	0
eth3	0000FEA9	00000000	0001	0	0	0	0000FFFF	0	0	0
"""
    assert parse_routes(table) == ("10.0.0.0/16",), "neither public, nor behind a router, nor link-local"
    assert parse_routes("") == ()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('hostname = ""', "hostname: it cannot be left empty"),
        ('hostname = "mx"', "hostname: 'mx' has no domain"),
        ('hostname = "a b.example"', "hostname: 'a b.example' is not a host name"),
        ('role = "both"', "role: 'both': say one of relay, server"),
        ('protected_domains = ["a@b"]', "protected_domains: 'a@b' is not a domain mask"),
        ("protected_domains = []", "protected_domains: at least one is needed"),
        ('postmaster = "me"', "postmaster: 'me' is not an address"),
        ('listen = ["host:25"]', "listen: "),
        ('listen = ["127.0.0.1"]', "lacks a port"),
        ('local_networks = ["10.0.0.0/40"]', "local_networks: "),
        ('doors = ["pop3 tcp:127.0.0.1:110"]', "doors: 'pop3' is no kind of door"),
        ('doors = ["milter 127.0.0.1:110"]', "is neither tcp:ip:port nor unix:/path"),
        ('doors = ["milter"]', "is neither tcp:ip:port nor unix:/path"),
        ('doors = ["proxy tcp:127.0.0.1:10025"]', "a proxy door, and no other"),
        ('doors = ["milter tcp:127.0.0.1:1 tcp:127.0.0.1:2"]', "a proxy door, and no other"),
        ('forward_host = "[x:y]"', "forward_host: "),
        ('proxy = "proxy:3128"', "proxy: 'proxy:3128' is not http://host:port"),
        ('licence_key = "/nowhere/key"', "licence_key: /nowhere/key: No such file"),
        ('update_source = "gopher://x"', "update_source: 'gopher://x' is no source"),
        ('uds_consent = "perhaps"', "uds_consent: 'perhaps' is neither true nor false"),
        ('uds_servers = ["uds.example.org"]', "uds_servers: 'uds.example.org' is not host:port"),
        ('console_account = "a b"', "console_account: a name has"),
        ('console_password = "short"', "console_password: a password has"),
        ("hostname = 7", "hostname: '7' is not text"),
        ("listen = 25", "listen: not a list of texts"),
        ('host_name = "mx.example.org"', "host_name: there is no such question; hostname?"),
        ("hostname =", "no TOML"),
    ],
)
def test_a_wrong_answer_is_told(line: str, told: str) -> None:
    with pytest.raises(AnswersError) as caught:
        read_answers(line, RELAY)
    assert told in str(caught.value)


def test_everything_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(AnswersError) as caught:
        read_answers('hostname = "mx"\nlisten = ["x"]\nstart = "later"', RELAY)
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == ["hostname", "listen", "start"]


def test_answers_are_written_as_they_are_read(tmp_path: Path) -> None:
    key = tmp_path / "licence.key"
    key.touch()
    full = msgspec.structs.replace(
        RELAY,
        doors=("proxy tcp:127.0.0.1:10025 unix:/run/next", "milter unix:/run/m"),
        licence_key=str(key),
        uds_consent=True,
        uds_servers=("uds.example.org:7060",),
        console_account="anna",
        console_password='quo"ted\\ password',
        update_source="http://example.org/feed",
    )
    for answers in (RELAY, SERVER, full):
        assert read_answers(build_answers(answers), Answers()) == answers
    assert max(map(len, build_answers(RELAY).splitlines())) <= 105


def test_a_password_made_of_the_name_is_refused() -> None:
    answers = complete(RELAY, {"console_account": "administrator", "console_password": "administrator"})
    assert find_missing(answers) == ["console_password: a password must not be made of the account's name"]


@pytest.mark.parametrize("answers", [RELAY, SERVER], ids=["relay", "server"])
def test_the_configuration_says_what_was_answered_and_a_second_run_nothing_new(answers: Answers) -> None:
    text = planned(answers)
    found = configured(text)
    assert found == msgspec.structs.replace(answers, licence_key="", trust_root="", start=found.start)
    assert planned(answers, text) == text
    assert planned(found, text) == text
    assert text.count("\n#") > 50, "it is the commented default, edited"


def test_answers_change_what_they_are_about_and_nothing_else() -> None:
    before = planned(RELAY).replace("log_level = 4", "log_level = 7  # my own")
    after = msgspec.structs.replace(
        RELAY,
        listen=("0.0.0.0:25", "[::]:25"),
        local_networks=("127.0.0.0/8", "10.1.0.0/16"),
        forward_host="[10.1.0.5:25]",
        update_source="/srv/feed",
        proxy="http://proxy.example.org:3128",
        doors=("milter tcp:127.0.0.1:7357",),
    )
    text = planned(after, before)
    assert configured(text) == after
    assert "log_level = 7  # my own" in text
    assert 'bare_line_feed = "reject"' in text, "the listener that stays keeps its settings"
    assert [line for line in before.splitlines() if line.startswith("#")] == [
        line for line in text.splitlines() if line.startswith("#")
    ]
    back = planned(RELAY, text)
    assert configured(back) == RELAY


def test_from_relay_to_server_and_back() -> None:
    there = planned(SERVER, planned(RELAY))
    assert configured(there) == SERVER
    back = planned(RELAY, there)
    assert (configured(back).listen, configured(back).doors) == (RELAY.listen, ())


def test_endpoints_in_other_ways_of_writing() -> None:
    lines = """
[network]
hostname = "mx.example.org"
postmaster = "postmaster@example.org"
protected_domains = ["example.org"]
listen_on = ["127.0.0.1:25", "127.0.0.2:25"]
[access]
relay_rule = ["allow from @local to *", "deny from any to *"]
[[network.zone]]
name = "office"
addresses = ["10.0.0.0/8"]
[[network.zone]]
name = "local"
addresses = ["127.0.0.0/8"]
[[route]]
recipients = ["*@example.org"]
next_hop = "[127.0.0.1:1]"
"""
    answers = configured(lines)
    assert (answers.listen, answers.local_networks, answers.forward_host) == (
        ("127.0.0.1:25", "127.0.0.2:25"),
        ("127.0.0.0/8",),
        "",
    )
    assert planned(answers, lines) == lines
    changed = msgspec.structs.replace(answers, listen=("127.0.0.2:25", "127.0.0.3:25"), forward_host="example.net")
    text = planned(changed, lines)
    found = configured(text)
    assert set(found.listen) == set(changed.listen)
    assert found.forward_host == "example.net"
    assert "[127.0.0.1:1]" in text, "the other route stays"


def test_consent_and_its_absence() -> None:
    servers = ("uds.example.org:7060",)
    no = load_text(planned(msgspec.structs.replace(RELAY, uds_servers=servers)), str(FILE)).config
    assert no is not None
    assert (no.antispam.filter_uds_enabled, no.uds.key_file) == (False, "")
    yes = load_text(planned(msgspec.structs.replace(RELAY, uds_servers=servers, uds_consent=True)), str(FILE)).config
    assert yes is not None
    assert (yes.antispam.filter_uds_enabled, yes.uds.key_file) == (True, "/etc/gatepost/uds.key")
