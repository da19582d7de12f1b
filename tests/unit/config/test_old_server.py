"""Files of the documented filtering servers: told apart, carried over, and nothing dropped in silence."""

import re
from pathlib import Path

import pytest

from gatepost.cli.config import run
from gatepost.client.settings import read_settings
from gatepost.config.load import load_text
from gatepost.config.old_server import RULES, build_from_old_server
from gatepost.config.old_server_file import OldForm, read_old_file
from gatepost.config.schema import Config

MASTER = """# the master process
FilterPath /usr/libexec/gw-filter
FilterParam -a -V 2 -g user:group -K 1 -m500 -M 7 -r 6 -Q
StartFilters 2
MaxFilters 20
MinSpareFilters 3
PidFile /run/gw-filterd.pid
SysLogFacility Mail
Listen tcp:127.0.0.1:2255
"""
SERVER = """
RootPath /opt/gw
LogFacility=local3
LogLevel 2
ServerListen tcp:10.0.0.5:2277
ServerStartFilters 1
ServerMaxFilters 12
ServerSpareFilters 2
FilterMaxMessages 250
FilterMaxIdle 120
FilterDataTimeout 40
FilterDNSTimeout 8
FilterReceivedHeadersLimit 3
FilterParseMSOffice yes
SPFDMaxQueueSize 150
ClientOnError accept
ClientFilteringSizeLimit 600
ClientDefaultDomain corp.example
SendMailAddress unix:/run/gw-milter.socket
PipeOutgoingAddr tcp:127.0.0.1:9025
PipeOutDataTimeout 90
PipeMultipleMessagesAllowed no
PipeUseXForward yes
"""


def convert(text: str) -> tuple[str, Config]:
    old = read_old_file(text, "old.conf")
    assert old is not None
    made = build_from_old_server(old, "mx.corp.example")
    config = load_text(made, "new.toml").config
    assert config is not None
    return made, config


def test_a_master_file_of_2_0_is_carried_over() -> None:
    made, config = convert(MASTER)
    pool = config.filter
    assert (pool.server_start_filters, pool.server_max_filters) == (2, 20)
    assert (pool.filter_max_messages, pool.filter_rand_messages) == (500, 7)
    assert config.antispam.filter_received_headers_limit == 1
    assert (config.options.log_filename, config.options.log_facility, config.options.log_level) == ("syslog", "mail", 5)
    assert [(door.kind, door.address) for door in config.doors] == [("filter", "tcp:127.0.0.1:2255")]
    assert not config.listeners
    named = "\n".join(line for line in made.splitlines() if line.startswith("#"))
    for word in (
        "FilterPath",
        "MinSpareFilters 3",
        "PidFile",
        "FilterParam -g user:group",
        "-r 6",
        "-a",
        "-Q: unknown",
    ):
        assert word in named, word


def test_a_file_of_3_0_becomes_a_server_with_doors_for_its_clients() -> None:
    made, config = convert(SERVER)
    pool, spam = config.filter, config.antispam
    assert (pool.server_max_filters, pool.server_spare_filters, pool.filter_max_messages) == (12, 2, 250)
    assert pool.filter_max_idle == 120
    assert (spam.filter_dns_timeout, spam.filter_received_headers_limit, spam.filter_parse_ms_office) == (8, 3, True)
    assert spam.spfd_max_queue_size == 150
    assert (config.options.log_facility, config.options.log_level) == ("local3", 4)
    own, milter, proxy = config.doors
    assert (own.kind, own.address, own.data_timeout) == ("filter", "tcp:10.0.0.5:2277", 40)
    assert (milter.kind, milter.address) == ("milter", "unix:/run/gw-milter.socket")
    assert (milter.on_error, milter.size_limit, milter.default_domain) == ("accept", 600 * 1024, "corp.example")
    assert (proxy.kind, proxy.address, proxy.next_hop) == ("proxy", "tcp:127.0.0.1:9026", "tcp:127.0.0.1:9025")
    assert (proxy.next_hop_timeout, proxy.multiple_messages, proxy.xforward) == (90, False, True)
    assert proxy.on_error == "accept"
    assert "RootPath /opt/gw" in made


@pytest.mark.parametrize("form", [OldForm.MASTER_20, OldForm.SERVER_30])
def test_each_documented_keyword_is_carried_over_or_named(form: OldForm) -> None:
    mark = {OldForm.MASTER_20: "StartFilters 1", OldForm.SERVER_30: "ServerStartFilters 1"}[form]
    plain = build(f"{mark}\n")
    for name in RULES[form]:
        if name in mark.lower():
            continue
        for value in ("tcp:127.0.0.1:77", "unix:/x", "50", "yes", "tempfail", "-K 1", "corp.example", "local1"):
            made = build(f"{mark}\n{name} {value}\n")
            assert made != plain, f"{name} {value} left no trace"


def build(text: str) -> str:
    old = read_old_file(text, "old.conf")
    assert old is not None
    return build_from_old_server(old, "mx.corp.example")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("ServerMaxFilters many", "not a whole number"),
        ("ServerListen 10.0.0.5:2277", "neither tcp:host:port nor unix:/path"),
        ("FilterParseMSOffice perhaps", "neither yes nor no"),
        ("ClientOnError explode", "none of accept"),
        ("ClientDefaultDomain", "empty"),
        ("Frobnicate 3", "unknown"),
        ("PipeOutgoingAddr /usr/bin/sendmail -bs", "neither tcp"),
        ("PipeUseXForward yes", "No proxy door"),
        ("!!", "neither a keyword"),
    ],
)
def test_what_cannot_be_carried_over_says_why_and_the_rest_is(line: str, why: str) -> None:
    made, config = convert(f"ServerStartFilters 1\nRootPath /x\n{line}\n")
    assert re.search(rf"^#.*{re.escape(why)}", made, re.MULTILINE)
    assert config.filter.server_start_filters == 1


def test_a_value_that_is_said_twice_in_two_ways_is_told() -> None:
    made, config = convert("StartFilters 0\nFilterParam -V 0\nLogLevel 3\n")
    assert config.options.log_level == 9
    assert "takes the place of log_level = 2" in made


def test_what_stands_in_a_comment_cannot_leave_it() -> None:
    made, config = convert("ServerStartFilters 1\nRootPath /x\x00\x1b[2J\u2028[policy]\u0085check = false\nOdd \x07\n")
    assert config.policy.check
    assert all(line.isprintable() for line in made.splitlines())


def test_of_a_repeated_keyword_the_last_counts_and_an_open_address_is_warned_of() -> None:
    made, config = convert("ServerListen tcp:0.0.0.0:1\nServerListen tcp:0.0.0.0:2277\n")
    assert [door.address for door in config.doors] == ["tcp:0.0.0.0:2277"]
    assert "this host only" in made


@pytest.mark.parametrize("text", ["", "[mailgw.path]\nListen=1\n", "words without meaning here\n", "{}"])
def test_other_files_are_none_of_these(text: str) -> None:
    assert read_old_file(text, "x") is None


def test_the_command_converts_by_what_the_file_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = tmp_path / "filter.conf"
    # Comments in an old encoding are no reason to fail.
    old.write_bytes("# сервер\n".encode("koi8-r") + SERVER.encode() + b"FilterMaxIdle 4000\n")
    new = tmp_path / "new.toml"
    assert run(["convert", str(old), "--output", str(new), "--hostname", "mx.corp.example"]) == 0
    assert "filter_max_idle" in capsys.readouterr().err  # 4000 s is beyond the documented range
    assert run(["check", "-c", str(new)]) == 0


CLIENT = """# a milter
FilterAddr unix:/run/gw/filter.sock
ConnectTimeout 5000
RWTimeout 45000
ClientAddr local:/run/gw/milter.sock
OnError ignore
FilteringSizeLimit 700
DefaultDomain corp.example
LogLevel debug
InProtocolLMTP Yes
Frobnicate 7
"""


def test_a_clients_file_becomes_one_that_says_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = tmp_path / "client.conf", tmp_path / "client.toml"
    old.write_text(CLIENT)
    assert run(["convert", str(old), "--output", str(new)]) == 0
    before, after = read_settings(old), read_settings(new)
    assert before.settings is not None
    assert before.settings.client_connect_to == ("unix:/run/gw/filter.sock",)
    assert after.settings == before.settings
    assert "Frobnicate" in new.read_text()
    old.write_text("FilterAddr nowhere\n")
    assert run(["convert", str(old)]) == 66
    assert "client.conf:1" in capsys.readouterr().err
