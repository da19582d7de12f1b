"""The documented INI form: lists, includes, external files, prefixes, older spellings, and what is reported where."""

import pytest
from documented_ini import SECTIONS, ini_text
from hypothesis import given
from hypothesis import strategies as st

from gatepost.config.ini import read_ini
from gatepost.config.load import load, load_text
from gatepost.config.masks import MaskSet, RelayTable
from gatepost.config.problem import Form, Severity


def warnings(loaded):
    return [p for p in loaded.problems if p.severity is Severity.WARNING]


def test_repeated_names_form_lists(load_ini):
    loaded = load_ini(extra="[mailgw.network]\nListenOn=127.0.0.1:2525\nListenOn=[::1]:2526\n")
    assert [(listener.host, listener.port) for listener in loaded.config.listeners] == [
        ("127.0.0.1", 2525),
        ("::1", 2526),
    ]


def test_a_scalar_given_twice_is_named_and_the_last_counts(load_ini):
    loaded = load_ini(extra="[mailgw.options]\nLogLevel=2\nLogLevel=7\n")
    assert loaded.config.options.log_level == 7
    assert any(p.name == "LogLevel" and "given 2 times" in p.what for p in warnings(loaded))


def test_comments_blank_lines_case_and_line_ends():
    text = "\ufeff" + ini_text(extra="# one\n; two\n\n  [MAILGW.Limits]  \r\n incomingsessions = 77 \r\n")
    assert load_text(text.removeprefix("\ufeff"), "x.conf").config.limits.incoming_sessions == 77


@pytest.mark.feature("F-CONF-03")
@pytest.mark.parametrize(
    ("section", "name"), [(s, n) for s, values in SECTIONS.items() for n in values if n != "RelayRule"]
)
def test_every_required_parameter_is_demanded(section, name):
    loaded = load_text(ini_text({f"{section}.{name}": None}).replace("mailgw.", "smtpgw."), "mailgw.conf")
    (error,) = loaded.errors
    assert (error.name, error.what) == (name, "required parameter is missing")
    assert error.line > 0
    assert loaded.exit_code == 66


@pytest.mark.parametrize("name", ["BackupPath", "NotifyAdminTemplate", "NotifySenderTemplate", "PlaceholderTemplate"])
def test_what_only_older_generations_demand_is_a_warning_in_a_newer_file(load_ini, name):
    loaded = load_ini({f"mailgw.policy.{name}": None})
    assert loaded.config is not None
    (warning,) = [p for p in warnings(loaded) if p.name == name]
    assert "older generations demand it" in warning.what


def test_an_empty_required_parameter_is_no_value(load_ini):
    (error,) = load_ini({"mailgw.options.DSNTemplate": ""}).errors
    assert (error.name, error.what) == ("DSNTemplate", "required parameter is empty")


@pytest.mark.feature("F-CONF-12")
@pytest.mark.parametrize("prefix", ["mailgw.", "smtpgw.", "MailGW.", ""])
def test_section_prefixes(prefix):
    text = ini_text({"mailgw.limits.IncomingSessions": "55"}, extra="[mailgw.group:x]\nSenders=a@b\nCheck=no\n")
    config = load_text(text.replace("mailgw.", prefix), "mailgw.conf").config
    assert config.limits.incoming_sessions == 55
    assert config.network.hostname == "mx.corp.example"
    assert config.groups[0].name == "x"
    assert config.groups[0].check is False


def test_older_spellings(load_ini):
    loaded = load_ini(
        {
            "mailgw.access.RelayRule": None,
            "mailgw.access.Rule": "allow from 10.0.0.0/255.0.0.0 to any",
            "mailgw.ave.UseIChecker": "no",
            "mailgw.options.ICheckerDBFilename": "/srv/gw/i.db",
            "mailgw.policy.NotifyRecepient": "infected",
            "mailgw.policy.IncludeByType": "image/*",
        }
    )
    config = loaded.config
    assert config.access.relay_rule == ("allow from 10.0.0.0/8 to *",)
    assert config.ave.use_clean_cache is False
    assert config.options.clean_cache_db_filename == "/srv/gw/i.db"
    assert config.policy.notify_recipient == ("infected",)
    assert config.policy.include_by_mime == ("image/*",)


def test_protected_domains_are_also_read_in_forward(load_ini):
    loaded = load_ini(
        {"mailgw.network.ProtectedDomains": None, "mailgw.forward.ProtectedDomains": "a.example,b.example"}
    )
    assert loaded.config.network.protected_domains == ("a.example", "b.example")


def test_rule_of_generation_5_0_takes_domain_masks(load_ini):
    loaded = load_ini(
        {"mailgw.access.RelayRule": None},
        "[mailgw.access]\nRule=allow from any to corp.example\nRule=allow from 192.0.2.0/24 to any\nRule=deny from any to any\n",
    )
    table = RelayTable(loaded.config.relay_rules)
    assert table.decide("203.0.113.1", "joe@corp.example") is True
    assert table.decide("203.0.113.1", "joe@xcorp.example") is False
    assert table.decide("192.0.2.9", "joe@elsewhere.example") is True


def test_deny_unresolved_is_read_as_rules(load_ini):
    loaded = load_ini({"mailgw.access.DenyUnresolvedConnect": "yes", "mailgw.access.DenyUnresolvedMailfrom": "1"})
    assert loaded.config.access.connect_rule == ("deny from no_name to *",)
    assert loaded.config.access.mailfrom_rule == ("allow from has_mx to *", "deny from no_ip to *")
    assert loaded.config.access.deny_unresolved_connect is False
    assert sum("older parameter" in p.what for p in warnings(loaded)) == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RelayRule", "allow 10.0.0.1 to *"),
        ("RelayRule", "permit from any to *"),
        ("RelayRule", "allow from 10.0.0.300 to *"),
        ("RelayRule", "allow from @nowhere to *"),
        ("RelayRule", "allow from has_name to *"),
        ("ConnectRule", "deny from has_mx to *"),
        ("HeloRule", "deny from in_dnsbl to *"),
        ("MailfromRule", "deny from same_ip to *"),
        ("MailfromRule", "deny from no_mx"),
    ],
)
def test_bad_rules(load_ini, name, value):
    (error,) = load_ini({f"mailgw.access.{name}": value}).errors
    assert error.name == name
    assert error.line > 0


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("*@corp.example [10.0.0.1:1025]", ("*@corp.example", "10.0.0.1", 1025, None)),
        ("corp.example   [mail]", ("*@corp.example", "mail", 25, None)),
        ("any relay.example", ("*", None, 0, "relay.example")),
        ("joe@* [[::1]:26]", ("joe@*", "::1", 26, None)),
    ],
)
def test_forward_route(load_ini, value, expected):
    (route,) = load_ini({"mailgw.forward.ForwardRoute": value}).config.routes
    hop = route.hops[0]
    assert (route.mask, hop.host, hop.port, hop.domain) == expected


@pytest.mark.feature("F-CONF-05")
def test_include_anywhere(tmp_path, write_ini):
    group = tmp_path / "sales.group"
    group.write_text("[mailgw.group:sales]\nRecipients=*@sales.corp.example\nActionInfected=pass\n")
    level = tmp_path / "level.part"
    level.write_text("LogLevel=9\n")
    path = write_ini(extra=f"[mailgw.options]\n!include {level}\n!include {group}\n")
    config = load(path).config
    assert config.options.log_level == 9
    assert [g.name for g in config.groups] == ["sales", "policy"]
    assert config.groups[0].action_infected == "pass"


def test_include_problems(tmp_path, write_ini):
    circle = tmp_path / "circle.part"
    circle.write_text(f"!include {circle}\n")
    missing = tmp_path / "missing.part"
    bad = tmp_path / "bad.part"
    bad.write_text("# fine\n[mailgw.limits]\nIncomingSessions=0\n")
    path = write_ini(extra=f"!include {circle}\n!include relative.part\n!include {missing}\n!include {bad}\n!include\n")
    places = [(e.file, e.line, e.what) for e in load(path).errors]
    assert (str(bad), 3, "0 is out of range") in places
    assert any(file == str(circle) and "too many includes" in what for file, _, what in places)
    assert any("not an absolute path" in what and "relative.part" in what for _, _, what in places)
    assert any("cannot be read: no such file" in what for _, _, what in places)
    assert len(places) == 5


@pytest.mark.feature("F-CONF-06")
def test_hundred_line_file_in_rules_and_lists(tmp_path, write_ini):
    networks = tmp_path / "networks"
    networks.write_text("".join(f"10.0.{n}.0/24\n" for n in range(100)))
    addresses = tmp_path / "addresses"
    addresses.write_text("".join(f"user{n}@corp.example\n" for n in range(100)))
    path = write_ini(
        {"mailgw.access.RelayRule": None},
        f"[mailgw.access]\nRelayRule=deny from file:{networks} to *\nRelayRule=allow from 10.0.0.0/8 to file:{addresses}\n"
        f"[mailgw.group:listed]\nRecipients=file:{addresses}\n",
    )
    loaded = load(path)
    assert not loaded.errors
    table = RelayTable(loaded.config.relay_rules)
    assert table.decide("10.0.99.5", "user1@corp.example") is False
    assert table.decide("10.0.100.5", "user99@corp.example") is True
    assert table.decide("10.0.100.5", "user100@corp.example") is False
    recipients = MaskSet(loaded.config.groups[0].recipients)
    assert recipients.matches("USER99@corp.example")
    assert not recipients.matches("user100@corp.example")
    assert loaded.origins["group[0].recipients"].file == str(addresses)


def test_blank_and_bad_lines_of_an_external_file_are_reported_at_their_place(tmp_path, write_ini):
    listed = tmp_path / "listed"
    listed.write_text("a@b.example\n\nnot an address\n")
    path = write_ini(extra=f"[mailgw.network]\nIncomingBCC=file:{listed}\nListenOn=file:nowhere\n")
    assert [(e.file, e.line) for e in load(path).errors if e.file == str(listed)] == [
        (str(listed), 2),
        (str(listed), 3),
    ]
    assert any("not an absolute path" in e.what for e in load(path).errors)


@pytest.mark.feature("F-CONF-07")
@pytest.mark.parametrize(
    ("section", "name"),
    [
        ("path", "BasesPath"),
        ("mailgw.path", "QueuePath"),
        ("locale", "DateFormat"),
        ("updater.path", "PidFile"),
        ("updater.options", "UpdateServerUrl"),
        ("updater.report", "ReportFileName"),
    ],
)
def test_external_files_are_refused(tmp_path, load_ini, section, name):
    value = tmp_path / "value"
    value.write_text("/srv\n")
    included = tmp_path / "included"
    included.write_text(f"{name}=/srv\n")
    for loaded in (
        load_ini({f"{section}.{name}": f"file:{value}"}),
        load_ini({f"{section}.{name}": None} if section.endswith("path") and name != "PidFile" else {},
                 f"[{section}]\n!include {included}\n"),
    ):  # fmt: skip
        assert any(e.name == name and "may not come from an external file" in e.what for e in loaded.errors)
        assert loaded.exit_code == 66
        assert len([e for e in loaded.errors if e.name == name]) == 1, "what is refused is not missing as well"
    assert (str(included), 1) in {(e.file, e.line) for e in loaded.errors}


def test_unknown_names_are_warnings_with_a_suggestion(load_ini):
    loaded = load_ini({"mailgw.limits.IncommingSessions": "5", "mailgw.limts.Foo": "1"})
    assert loaded.config is not None
    found = {(p.section, p.name): p.mend for p in warnings(loaded)}
    assert found["limits", "IncommingSessions"] == "Did you mean IncomingSessions?"
    assert found["limts", ""] == "Did you mean [limits]?"


def test_what_is_not_built_is_named(load_ini):
    loaded = load_ini(
        {"mailgw.policy.MarkObscene": "yes", "mailgw.ave.ScanPacked": "no", "mailgw.ave.UseCleanCache": "yes"}
    )
    named = [(p.section, p.name) for p in warnings(loaded) if p.what == "accepted; not built yet"]
    assert ("policy", "MarkObscene") not in named
    assert ("ave", "ScanPacked") in named
    # Set to what it would be anyway: nothing to tell.
    assert ("ave", "UseCleanCache") not in named


def test_everything_of_the_services_is_accepted(load_ini):
    extra = """
[mailgw.antispam]
SpamDetection=hard
FilterDNSTimeout=20
FilterMaxMessages=500
[mailgw.antispam.dnsbl]
Service=bl.example 60
Service=other.example 40
[mailgw.uds]
Server=uds.example:7060
RttInterval=600
[mailgw.snmp]
SNMPServices=config,statistics
SNMPTraps=all
[mailgw.agentx]
Socket=127.0.0.1:705
Retries=10
[updater.path]
BackUpPath=/srv/gw/backup
[updater.options]
UpdateServerUrl=http://updates.example/
UseProxy=no
[updater.report]
ReportFilename=/srv/gw/update.log
ReportLevel=4
"""
    loaded = load_ini(extra=extra)
    assert not loaded.errors
    assert not [p for p in warnings(loaded) if "unknown" in p.what]
    config = loaded.config
    assert config.antispam.dnsbl.service == ("bl.example 60", "other.example 40")
    assert config.filter.filter_max_messages == 500
    assert config.snmp.snmp_traps == ("config", "admin", "update")
    assert config.updater.options.use_proxy is False
    assert config.updater.report.report_file_name == "/srv/gw/update.log"


def test_ten_errors_are_ten_problems(load_ini):
    loaded = load_ini(
        {
            "mailgw.network.Hostname": None,
            "mailgw.limits.IncomingSessions": "0",
            "mailgw.limits.MaximalIncomingHops": "many",
            "mailgw.ave.Cure": "maybe",
            "mailgw.access.RelayRule": "allow from nowhere",
            "mailgw.forward.ForwardRoute": "*@a [host:99999]",
            "mailgw.policy.ActionInfected": "destroy",
            "mailgw.policy.BlockMessage": "ill",
            "mailgw.timeouts.MinimalBackoffTime": "30000",
        },
        "[mailgw.group:empty]\nCheck=no\n",
    )
    assert len(loaded.errors) == 10
    assert {e.name for e in loaded.errors} == {
        "Hostname",
        "IncomingSessions",
        "MaximalIncomingHops",
        "Cure",
        "RelayRule",
        "ForwardRoute",
        "ActionInfected",
        "BlockMessage",
        "MaximalBackoffTime",
        "",
    }
    assert all(e.line > 0 and e.file == "mailgw.conf" for e in loaded.errors)
    assert loaded.config is None


def test_lines_that_are_nothing(load_ini):
    loaded = load_text("Early=1\n[\n[]\nwhat is this\n=x\n" + ini_text(), "mailgw.conf")
    assert [e.line for e in loaded.errors] == [1, 2, 3, 4, 5]


def test_overrides_win(write_ini):
    listen = {"mailgw.network.ListenOn": "127.0.0.1:25", "mailgw.limits.IncomingSessions": "0"}
    path = write_ini(listen, "[mailgw.group:g]\nSenders=a@b\n")
    overrides = ["Limits.IncomingSessions=9", "mailgw.network.ListenOn=127.0.0.1:9", "group:g.Check=no"]
    config = load(path, overrides).config
    assert config.limits.incoming_sessions == 9
    assert [listener.port for listener in config.listeners] == [9]
    assert config.groups[0].check is False
    assert load(path, ["nonsense"]).exit_code == 66
    assert load(path, ["group:other.Check=no"]).exit_code == 66


def test_files_that_cannot_be_loaded(tmp_path):
    assert load(tmp_path / "none.conf").exit_code == 65
    assert load(tmp_path).exit_code == 65
    assert load("with\0nul").exit_code == 65


def test_old_encodings_are_read(write_ini):
    path = write_ini()
    path.write_bytes(path.read_bytes() + "# Привет\n".encode("koi8-r") + b"[mailgw.options]\nLogLevel=2\n")
    assert load(path).config.options.log_level == 2


@given(st.text(max_size=200))
def test_arbitrary_text_never_raises(text):
    load_text(text, "x.conf", Form.INI)
    load_text(ini_text(extra=text), "x.conf", Form.INI)


FRAGMENTS = st.lists(
    st.sampled_from(
        ["[mailgw.limits]", "[group:", "[mailgw.group:]", "[mailgw.group:a]", "IncomingSessions=", "Senders=", "=", "!include ",
         "RelayRule=allow from file: to", "ListenOn=", "ForwardRoute=", "\n", " ", "file:/", "[", "]", "1", "@", "*", "Rule=", "name="]
    ),
    max_size=30,
).map("".join)  # fmt: skip


@given(FRAGMENTS)
def test_arbitrary_fragments_never_raise(text):
    load_text(text, "x.conf", Form.INI)
    read_ini(text, "x.conf")
