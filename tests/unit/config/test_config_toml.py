"""The TOML form: places of problems, objects, named networks, and the shipped file."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.config.default import build_default_config
from gatepost.config.load import load, load_text
from gatepost.config.masks import RelayTable
from gatepost.config.problem import Severity
from gatepost.config.toml import read_toml

TEXT = '''
[network]   # a comment = with equals
hostname = "mx.corp.example"
protected_domains = [
  "corp.example",   # [limits]
  "other.example",
]

[options]
log_filename = """
[limits]
log_level = 3
"""
log_level = 99

[[group]]
name = "one"
recipients = ["a@b"]
check = 7

[ group . more ]
x = 1

[[group]]
name = "two"
recipients = ["c@d"]
action_infected = "explode"
limits.x = 1
'''


def test_problems_stand_at_their_lines():
    loaded = load_text(TEXT, "gatepost.toml")
    found = {(p.section, p.name): p.line for p in loaded.errors}
    assert found == {("options", "log_level"): 14, ("group", "check"): 19, ("group", "action_infected"): 27}
    assert loaded.origins["network.protected_domains"].line == 4


def test_lines_inside_a_list_are_no_sections():
    text = '[network]\nhostname = "h"\n[options]\nlog_filename = [\n  ["x"],\n]\nlog_level = 99\n'
    assert [(e.name, e.line) for e in load_text(text, "x.toml").errors] == [("log_filename", 4), ("log_level", 7)]


@pytest.mark.parametrize("text", ["a", "[x", "a = ", "a = 1\na = 2", "[network]\nhostname = mx", "\0", "a = [1,\n2"])
def test_not_toml(text):
    loaded = load_text(text, "gatepost.toml")
    assert loaded.exit_code == 65
    (problem,) = loaded.problems
    assert problem.what.startswith("not TOML: ")


def test_syntax_errors_have_a_line():
    (problem,) = load_text("[network]\nhostname = mx\n", "gatepost.toml").problems
    assert problem.line == 2


def test_only_the_hostname_is_required():
    assert not load_text('[network]\nhostname = "mx.corp.example"', "x.toml").errors
    (error,) = load_text("", "x.toml").errors
    assert error.name == "hostname"


def test_paths_come_from_the_state_path_and_relative_ones_from_the_file():
    text = '[network]\nhostname = "h.example"\n[relay]\nstate_path = "state"\n[options]\ndsn_template = "t/dsn.tmpl"\n'
    config = load_text(text, "/srv/etc/x.toml").config
    assert config.relay.state_path == "/srv/etc/state"
    assert config.path.queue_path == "/srv/etc/state/queue"
    assert config.options.dsn_template == "/srv/etc/t/dsn.tmpl"


def test_objects(load_toml):
    loaded = load_toml(
        """
[[network.zone]]
name = "Office"
addresses = ["192.0.2.0/24", "2001:db8::/32"]
trusted = true
[[listener]]
address = "127.0.0.1:2525"
bare_line_feed = "fix"
name = "inside"
[[listener]]
address = "[::1]:2526"
[[route]]
recipients = ["sales.example", "joe@corp.example"]
next_hop = "[10.0.0.1]"
[[route]]
recipients = "*"
next_hop = "relay.example"
"""
    )
    config = loaded.config
    assert [(x.name, x.host, x.port, x.bare_line_feed) for x in config.listeners] == [
        ("inside", "127.0.0.1", 2525, "fix"),
        ("[::1]:2526", "::1", 2526, "reject"),
    ]
    assert [(r.mask, h.host, h.port, h.domain) for r in config.routes for h in r.hops] == [
        ("*@sales.example", "10.0.0.1", 25, None),
        ("joe@corp.example", "10.0.0.1", 25, None),
        ("*", None, 0, "relay.example"),
    ]
    assert [z.name for z in config.zones] == ["Office"]


@pytest.mark.parametrize(
    ("text", "section", "name"),
    [
        ('[[listener]]\nname = "x"\n', "listener", "address"),
        ('[[listener]]\naddress = "nowhere"\n', "listener", "address"),
        ('[[listener]]\naddress = "1.1.1.1:25"\n[[listener]]\naddress = "1.1.1.1:25"\n', "listener", "address"),
        ('[[listener]]\naddress = "1.1.1.1:25"\nbare_line_feed = "allow"\n', "listener", "bare_line_feed"),
        ('[[route]]\nrecipients = ["*"]\n', "route", "next_hop"),
        ('[[route]]\nnext_hop = "a.example"\n', "route", "recipients"),
        ('[[network.zone]]\nname = "a"\naddresses = ["x"]\n', "network.zone", "addresses"),
        ('[[network.zone]]\naddresses = ["10.0.0.1"]\n', "network.zone", "name"),
        ('[limits]\nincoming_sessions = "many"\n', "limits", "incoming_sessions"),
        ("[limits]\nincoming_sessions = 1.5\n", "limits", "incoming_sessions"),
        ("[limits]\nincoming_sessions = true\n", "limits", "incoming_sessions"),
        ("[options]\nlog_filename = 5\n", "options", "log_filename"),
        ("[policy]\nblock_message = [1]\n", "policy", "block_message"),
        ("[policy]\nblock_message = ['x']\n", "policy", "block_message"),
        ("[filter]\nserver_max_filters = 2\nserver_start_filters = 3\n", "filter", "server_start_filters"),
        ('[timeouts]\nmaximal_backoff_time = "10 min"\n', "timeouts", "maximal_backoff_time"),
    ],
)
def test_bad_values(load_toml, text, section, name):
    loaded = load_toml(text)
    assert [(e.section, e.name) for e in loaded.errors] == [(section, name)]
    assert loaded.exit_code == 66


def test_every_bad_table_of_an_array_is_named(load_toml):
    loaded = load_toml('[[listener]]\naddress = "x"\n[[listener]]\nname = "y"\n[[listener]]\naddress = "z"\n')
    assert [(e.name, e.line) for e in loaded.errors] == [("address", 7), ("address", 8), ("address", 11)]


@pytest.mark.parametrize(
    "text", ['hostname = "mx.corp.example"\n', "[[limits]]\nlog_level = 1\n[[limits]]\nincoming_sessions = 5\n"]
)
def test_values_that_would_be_lost_are_errors(text):
    loaded = load_text(text + '[network]\nhostname = "mx.corp.example"\n', "x.toml")
    assert len(loaded.errors) == 1
    assert loaded.exit_code == 66


def test_a_key_without_its_pair(load_toml):
    loaded = load_text('[network]\nhostname = "h"\ntls_cert = "/c"\n', "x.toml")
    assert [e.name for e in loaded.errors] == ["tls_key"]


@pytest.mark.parametrize(
    ("rules", "warned"),
    [
        ("[]", True),
        ('["allow from any to *"]', True),
        ('["allow from any to corp.example", "allow from any to any"]', True),
        ('["deny from any to *", "allow from any to *"]', False),
        ('["allow from 10.0.0.0/8 to *"]', False),
    ],
)
def test_an_open_relay_is_named(rules, warned):
    loaded = load_text(f'[network]\nhostname = "h"\n[access]\nrelay_rule = {rules}\n', "x.toml")
    assert any(p.name == "relay_rule" and p.severity is Severity.WARNING for p in loaded.problems) is warned


def test_retries_that_would_hit_the_cache_are_named(load_toml):
    loaded = load_toml('[timeouts]\nminimal_backoff_time = "10 min"\n')
    assert any((p.section, p.name) == ("resolve", "unreachable_ttl") for p in loaded.problems)
    loaded = load_toml('[timeouts]\nminimal_backoff_time = "601 s"\n')
    assert not any(p.name == "unreachable_ttl" for p in loaded.problems)


def test_file_values_work_in_lists(tmp_path, load_toml):
    listed = tmp_path / "listed"
    listed.write_text("a@b\nc@d\n")
    config = load_toml(f'[[group]]\nname = "g"\nsenders = ["x@y", "file:{listed}"]\n').config
    assert config.groups[0].senders == ("x@y", "a@b", "c@d")


@pytest.mark.parametrize("next_hop", ["", "[127.0.0.1:2626]", "relay.example"])
def test_the_shipped_file_has_nothing_to_complain_about(tmp_path, next_hop):
    path = tmp_path / "gatepost.toml"
    text = build_default_config(
        state_path=f'{tmp_path}/a "quoted" \\ state',
        hostname="mx.corp.example",
        listen="127.0.0.1:2525",
        next_hop=next_hop,
        protected_domains=["corp.example", "*.corp.example"],
    )
    assert "{{" not in text
    path.write_text(text)
    loaded = load(path)
    assert loaded.problems == ()
    config = loaded.config
    assert config.relay.state_path == f'{tmp_path}/a "quoted" \\ state'
    assert config.limits.maximal_incoming_hops == 50
    assert config.limits.maximal_incoming_message_size == 50 * 1024**2
    assert config.limits.maximal_incoming_sessions_per_ip == 50
    assert len(config.routes) == bool(next_hop)
    assert config.network.postmaster == "postmaster@corp.example"


def test_the_shipped_file_is_no_open_relay():
    config = load_text(build_default_config(hostname="mx.corp.example"), "x.toml").config
    table = RelayTable(config.relay_rules)
    assert table.decide("127.0.0.1", "x@elsewhere.example") is True
    assert table.decide("::1", "x@elsewhere.example") is True
    assert table.decide("203.0.113.1", "x@corp.example") is True
    assert table.decide("203.0.113.1", "x@elsewhere.example") is False
    assert table.decide("2001:db8::1", "x@elsewhere.example") is False


def test_the_shipped_policy_scans_and_delivers_only_clean_mail():
    (policy,) = load_text(build_default_config(), "x.toml").config.groups
    assert policy.check is True
    assert set(policy.block_message) == {"infected", "suspicious", "protected", "error", "filtered"}
    assert policy.action_disinfected == "cure"


@given(st.text(max_size=200))
def test_arbitrary_text_never_raises(text):
    load_text(text, "x.toml")
    load_text('[network]\nhostname = "h"\n' + text, "x.toml")


JSONISH = st.recursive(
    st.sampled_from(
        ["1", "-5", "true", '"x"', '""', "1.5", "nan", '"5 min"', "1979-05-27", "[]", "{}", "1e400", str(2**62)]
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda v: "[" + ", ".join(v) + "]"),
        inner.map(lambda v: "{ a = " + v + " }"),
    ),
    max_leaves=4,
)
KEYS = st.sampled_from(
    ["limits", "group", "network", "limits.incoming_sessions", "network.zone", "group.name", "listener", "route", "policy.check",
     "network.hostname", "access.relay_rule", "options.log_level", "relay.state_path", "policy.block_message", "mailgw", "antispam.dnsbl",
     "timeouts.read_timeout", "limits.maximal_incoming_message_size", "policy.admin_notify_address", "network.listen_on"]
)  # fmt: skip


@given(st.dictionaries(KEYS, JSONISH, max_size=5))
def test_arbitrary_values_never_raise(values):
    load_text("\n".join(f"{key} = {value}" for key, value in values.items()), "x.toml")


@pytest.mark.parametrize("text", ["a = " + "[" * 100_000, "[" + ".".join("a" * 5000) + "]\nb = 1\n"])
def test_deep_nesting_is_an_error(text):
    document = read_toml(text, "x.toml")
    assert document.readable is False
    assert "nested too deeply" in document.problems[0].what


@pytest.mark.parametrize(
    ("body", "warned"),
    [
        ("[[group]]\nname = 'a'\nsenders = ['partner.example']", True),
        ("[[group]]\nname = 'a'\nsenders = ['*@partner.example', '*.partner.example']", False),
        ("[[group]]\nname = 'a'\nrecipients = ['postmaster', 'a@b.example']", False),
        ("[[route]]\nrecipients = ['example.org']\nnext_hop = '[192.0.2.1]'", False),
    ],
)
def test_a_domain_where_addresses_are_meant_matches_nobody(body, warned):
    loaded = load_text(body, "g.toml")
    told = [p for p in loaded.problems if p.severity is Severity.WARNING and "matches no address" in p.what]
    assert bool(told) is warned
    assert all(p.mend == "Write *@partner.example" for p in told)
