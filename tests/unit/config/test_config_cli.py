"""`gatepost config …`: what it prints and with which code it ends; the dump and the conversion load to the same."""

import json
import re
import subprocess
import sys

import pytest
from documented_ini import ini_text

from gatepost.cli.config import run
from gatepost.config.load import load, load_text
from gatepost.config.schema import FIELDS

DEFAULTS = """
locale.date_format = "%d/%m/%y"
locale.time_format = "%H:%M:%S"
access.connect_rule = []
access.helo_rule = []
access.mailfrom_rule = []
access.dns_black_list = []
ave.cure = false
ave.scan_archives = true
ave.scan_mail_bases = true
ave.scan_packed = true
ave.scan_timeout = "0 s"
ave.max_archive_depth = 16
ave.max_unpacked_size = "512 MiB"
ave.use_clean_cache = true
limits.antiviral_sessions = 10
limits.incoming_sessions = 100
limits.outgoing_sessions = 20
limits.maximal_incoming_hops = 20
limits.maximal_incoming_message_size = "10 MiB"
limits.maximal_incoming_messages_per_session = 100
limits.maximal_incoming_rcpts_per_message = 100
limits.maximal_incoming_session_size = "10 MiB"
limits.maximal_incoming_sessions_per_ip = 4
limits.maximal_outgoing_sessions_per_host = 4
limits.minimal_queue_free_space_size = "0 B"
network.incoming_bcc = []
network.tls_cert = ""
network.tls_key = ""
options.log_filename = ""
options.log_level = 4
options.log_facility = "mail"
options.stat_filename = "/var/lib/gatepost/stat/mailgw.stat"
options.clean_cache_db_filename = "/var/lib/gatepost/cache/clean.db"
options.prepend_received = true
options.dsn_entire_message = false
options.dsn_on_relaying = false
options.av_statistics = ""
options.drop_mailformed_mail = false
path.as_bases_path = "/var/lib/gatepost/as-bases"
path.incoming_archive_path = ""
path.outgoing_archive_path = ""
timeouts.maximal_backoff_time = "6 h"
timeouts.minimal_backoff_time = "30 min"
timeouts.maximal_queue_lifetime = "5 days"
timeouts.read_timeout = "2 min"
timeouts.write_timeout = "2 min"
timeouts.receiving_command_timeout = "5 min"
timeouts.receiving_data_initiation_timeout = "10 min"
timeouts.receiving_data_termination_timeout = "5 min"
timeouts.sending_initial_timeout = "5 min"
timeouts.sending_hello_timeout = "5 min"
timeouts.sending_mail_timeout = "5 min"
timeouts.sending_rcpt_timeout = "5 min"
timeouts.sending_data_initiation_timeout = "10 min"
timeouts.sending_data_termination_timeout = "5 min"
timeouts.sending_quit_timeout = "5 min"
timeouts.mx_cache_refresh_period = "20 min"
timeouts.unreachable_cache_refresh_period = "20 min"
timeouts.unresolved_cache_refresh_period = "20 min"
resolve.internal_recursion_enabled = false
resolve.internal_recursions_limit = 32
resolve.io_network_timeout = "30 s"
resolve.ip_cache_refresh_period = "12 h"
resolve.mx_cache_refresh_period = "12 h"
resolve.unreachable_cache_refresh_period = "12 h"
resolve.unresolved_cache_refresh_period = "12 h"
resolve.unresolved_ttl = "10 min"
resolve.unreachable_ttl = "10 min"
resolve.name_servers = []
policy.include_by_name = ["*"]
policy.exclude_by_name = []
policy.include_by_mime = ["*"]
policy.exclude_by_mime = []
policy.block_message = []
policy.notify_admin = []
policy.notify_recipient = []
policy.notify_sender = []
policy.save_in_qb = []
policy.save_in_quarantine = []
policy.attach_original_to_admin = false
policy.add_x_headers = false
policy.add_disclaimer = false
policy.check_spam = true
policy.spam_level = "standard"
policy.assign_probable_spam = true
policy.eastern_thai = "allowed"
policy.mark_obscene = false
policy.white_list = []
policy.action_spam = ["mark"]
policy.subject_spam = "[!! SPAM]"
policy.subject_probable_spam = "[?? Probable Spam]"
policy.subject_formal = "[--Formal Message--]"
policy.subject_blacklisted = "[!! Blacklisted]"
policy.subject_obscene = "[--Obscene--]"
policy.spam_quarantine_path = "/var/lib/gatepost/quarantine-as"
antispam.spam_detection = "standard"
antispam.dnsbl.service = []
uds.server = []
uds.rtt_interval = "1 h"
snmp.snmp_services = []
snmp.snmp_traps = []
snmp.alert_threshold = 0
agentx.socket = "/var/agentx/master"
agentx.timeout = "5 s"
agentx.retries = 5
agentx.ping_interval = "15 s"
updater.options.connect_timeout = "20 s"
updater.options.use_proxy = true
updater.options.passive_ftp = false
updater.report.report_level = 4
updater.report.append = true
"""


def flat(text):
    """Lines of a dump as `section.name = value`."""
    found, section = {}, ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif " = " in line:
            name, _, value = line.removeprefix("# ").partition(" = ")
            found[f"{section}.{name}"] = value
    return found


@pytest.mark.feature("F-CONF-04")
def test_show_of_empty_optional_sections_gives_the_tabled_defaults(write_ini, capsys):
    assert run(["show", "-c", str(write_ini())]) == 0
    shown = flat(capsys.readouterr().out)
    expected = dict(line.split(" = ", 1) for line in DEFAULTS.strip().splitlines())
    assert {name: shown.get(name) for name in expected} == expected
    assert shown["listener.address"] == '"0.0.0.0:25"'


@pytest.mark.feature("F-CONF-08")
def test_check_of_a_good_file(write_ini, tmp_path):
    path = write_ini()
    command = [sys.executable, "-m", "gatepost.cli.config", "check", "-c", str(path)]
    missing = subprocess.run(command, capture_output=True, text=True, check=False)
    assert missing.returncode == 66  # a start would be refused as well: the text of reports is not there
    assert "/srv/gw/dsn.tmpl:1:1: cannot be read" in missing.stdout
    for name in set(re.findall(r"/srv/gw/(\w+\.tmpl)", path.read_text())):
        (tmp_path / name).write_text("%SUBJECT%\n")
    path.write_text(re.sub(r"/srv/gw/(\w+\.tmpl)", rf"{tmp_path}/\1", path.read_text()))
    result = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "Config OK !"


@pytest.mark.feature("F-CONF-08", "F-CONF-10")
def test_check_of_a_broken_file_names_file_and_line(write_ini, capsys):
    path = write_ini(extra="[mailgw.limits]\nIncomingSessions=0\n")
    line = len(path.read_text().splitlines())
    assert run(["check", "-c", str(path)]) == 66
    assert (
        f"{path}:{line}: error: [limits] IncomingSessions: 0 is out of range (allowed: 1…1024). "
        "Set a value inside the range\n" in capsys.readouterr().out
    )


def test_check_of_what_cannot_be_loaded(tmp_path, capsys):
    assert run(["check", "-c", str(tmp_path / "none.toml")]) == 65
    broken = tmp_path / "broken.toml"
    broken.write_text("[network\n")
    assert run(["check", "-c", str(broken)]) == 65
    assert f"{broken}:1: error: not TOML" in capsys.readouterr().out


def test_check_as_json(write_ini, capsys):
    path = write_ini({"mailgw.ave.Cure": "maybe"})
    assert run(["check", "-c", str(path), "--json"]) == 66
    answer = json.loads(capsys.readouterr().out)
    assert (answer["ok"], answer["exit_code"]) == (False, 66)
    assert [p["name"] for p in answer["problems"] if p["severity"] == "error"] == ["Cure"]


def test_overrides_by_option(write_ini, capsys):
    path = str(write_ini())
    assert run(["check", "-c", path, "--set", "Limits.IncomingSessions=0"]) == 66
    assert "--set:1: error: [limits] IncomingSessions" in capsys.readouterr().out
    assert run(["show", "-c", path, "--set", "Limits.IncomingSessions=7", "--origin"]) == 0
    assert "incoming_sessions = 7  # --set:1" in capsys.readouterr().out


RICH = """
[mailgw.access]
RelayRule=allow from 10.0.0.0/8 to corp.example
DenyUnresolvedMailfrom=yes
[mailgw.network]
ListenOn=127.0.0.1:2525
ListenOn=[::1]:2525
[mailgw.forward]
ForwardRoute=*@a.example [10.0.0.1:26]
ForwardRoute=*@b.example [10.0.0.1:26]
ForwardRoute=* [[2001:db8::1]:25]
ForwardRoute=*@c.example relay.example
[mailgw.timeouts]
MaximalQueueLifetime=7
ReadTimeout=90
[mailgw.limits]
MaximalIncomingMessageSize=12345
[mailgw.policy]
IncludeByName=*
SubjectSpam=a "quoted" \\ label \u263a
WhiteList=*@x.example 10.0.0.0/8;y@z
[mailgw.group:first one]
Senders=*@x.example
ActionInfected=pass
BlockMessage=all
[mailgw.group:second]
Recipients=any
Check=no
[mailgw.antispam.dnsbl]
Service=bl.example 60
[updater.options]
ConnectTimeout=30
[mailgw.unknown]
Foo=bar
"""


@pytest.mark.parametrize("changes", [{}, {"mailgw.network.Postmaster": "root@corp.example"}])
@pytest.mark.parametrize("extra", ["", RICH])
def test_conversion_loads_to_an_equal_configuration(write_ini, tmp_path, changes, extra, capsys):
    old, new = write_ini(changes, extra), tmp_path / "new" / "gatepost.toml"
    new.parent.mkdir()
    assert run(["convert", str(old), "-o", str(new)]) == 0
    converted = load(new)
    assert not converted.errors
    assert converted.config == load(old).config
    assert run(["convert", str(old)]) == 0
    assert capsys.readouterr().out == new.read_text()


@pytest.mark.parametrize("extra", ["", RICH])
def test_the_dump_loads_to_an_equal_configuration(write_ini, extra, capsys):
    path = write_ini(extra=extra)
    assert run(["show", "-c", str(path), "--origin"]) == 0
    text = capsys.readouterr().out
    assert load_text(text, "/elsewhere/x.toml").config == load(path).config
    assert f'hostname = "mx.corp.example"  # {path}:' in text
    assert "dsn_on_relaying = false  # default" in text


def test_conversion_says_what_was_not_carried_over(write_ini, tmp_path, capsys):
    listed = tmp_path / "listed"
    listed.write_text("a@b\n")
    path = write_ini(extra=f"[mailgw.group:g]\nSenders=file:{listed}\n[mailgw.unknown]\nFoo=bar\n")
    assert run(["convert", str(path)]) == 0
    text = capsys.readouterr().out
    assert "[unknown]: unknown section, ignored" in text
    assert f"#   {listed}" in text
    assert 'senders = ["a@b"]' in text


def test_conversion_of_a_file_with_errors(write_ini, capsys):
    assert run(["convert", str(write_ini({"mailgw.ave.Cure": "maybe"}))]) == 66
    assert "Cure" in capsys.readouterr().err


def test_conversion_does_not_overwrite(write_ini, tmp_path, capsys):
    target = tmp_path / "kept.toml"
    target.write_text("kept")
    assert run(["convert", str(write_ini()), "-o", str(target)]) == 1
    assert target.read_text() == "kept"
    assert str(target) in capsys.readouterr().err


@pytest.mark.parametrize("name", ["maximal_backoff_time", "MaximalBackoffTime", "timeouts.maximal_backoff_time"])
def test_explain(name, capsys):
    assert run(["explain", name]) == 0
    text = capsys.readouterr().out
    for part in (
        "[timeouts] maximal_backoff_time",
        "longest pause",
        "duration",
        "60…64800 s",
        "6 h",
        "MaximalBackoffTime",
    ):
        assert part in text


def test_a_parameter_in_a_section_of_others_is_sent_home(tmp_path, capsys):
    file = tmp_path / "gatepost.toml"
    file.write_text('[network]\nhostname = "mx.example.org"\nstate_path = "/x"\nconnections = 5\n')
    assert run(["check", "-c", str(file)]) == 0
    said = "".join(capsys.readouterr())
    assert "[network] state_path: unknown parameter, ignored. It belongs to [relay]" in said
    assert "connections: unknown parameter, ignored. It belongs" not in said


def test_explain_older_spellings_and_strangers(capsys):
    assert run(["explain", "UseIChecker"]) == 0
    assert "use_clean_cache" in capsys.readouterr().out
    assert run(["explain", "maximal_backof_time"]) == 1
    assert "Did you mean maximal_backoff_time" in capsys.readouterr().err


def test_every_parameter_can_be_explained(capsys):
    for section, fields in FIELDS.items():
        for field in fields:
            assert run(["explain", f"{section}.{field.name}"]) == 0
            assert f"[{section}] {field.name}" in capsys.readouterr().out


def test_init_writes_a_file_that_passes_the_check(tmp_path, capsys):
    target = tmp_path / "gatepost.toml"
    arguments = ["init", "-o", str(target), "--hostname", "mx.corp.example", "--next-hop", "[127.0.0.1:1025]"]
    assert run(arguments) == 0
    assert run(["check", "-c", str(target)]) == 0
    assert capsys.readouterr().out == "Config OK !\n"
    assert run(arguments) == 1
    assert run([*arguments, "--force"]) == 0


def test_show_as_json(write_ini, capsys):
    assert run(["show", "-c", str(write_ini()), "--json", "--origin"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["config"]["limits"]["maximal_incoming_message_size"] == 10485760
    assert answer["config"]["groups"][-1]["name"] == "policy"
    assert answer["origins"]["network.hostname"].endswith(
        f":{ini_text().splitlines().index('Hostname=mx.corp.example') + 1}"
    )
