"""Single values: booleans, numbers with units, ranges, status lists, addresses, next hops."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.config.items import parse_endpoint, parse_next_hop
from gatepost.config.schema import FIELDS
from gatepost.config.units import Unit, format_size, format_time, parse_size, parse_time


@pytest.mark.feature("F-CONF-02")
@pytest.mark.parametrize(
    ("word", "expected"),
    [
        (w, e)
        for words, e in ((("true", "yes", "y", "1", "on"), True), (("false", "no", "n", "0", "off"), False))
        for w in words
    ],
)
def test_booleans(load_ini, word, expected):
    for spelling in (word, word.upper(), word.title()):
        loaded = load_ini({"mailgw.options.PrependReceived": spelling, "mailgw.ave.Cure": spelling})
        assert loaded.config.options.prepend_received is expected
        assert loaded.config.ave.cure is expected


def test_no_boolean(load_ini):
    (error,) = load_ini({"mailgw.ave.Cure": "maybe"}).errors
    assert (error.section, error.name, error.allowed) == ("ave", "Cure", "true or false")


@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [
        ("10240", Unit.KB, 10240 * 1024),
        ("10 MiB", Unit.KB, 10 * 1024**2),
        ("10MB", Unit.KB, 10 * 1024**2),
        ("1.5 KiB", Unit.MB, 1536),
        ("7", Unit.MB, 7 * 1024**2),
        ("5 B", Unit.MB, 5),
    ],
)
def test_sizes(text, unit, expected):
    assert parse_size(text, unit) == expected


@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [
        ("120", Unit.SECONDS, 120.0),
        ("5 min", Unit.SECONDS, 300.0),
        ("2 days", Unit.SECONDS, 172800.0),
        ("5", Unit.DAYS, 432000.0),
        ("12h", Unit.DAYS, 43200.0),
        ("250 ms", Unit.SECONDS, 0.25),
    ],
)
def test_times(text, unit, expected):
    assert parse_time(text, unit) == expected


@pytest.mark.parametrize("text", ["", "ten", "-1", "10 parsecs", "1e5", "1 2", "0x10", "١٢", "9" * 400])
def test_no_quantity(text):
    for parse in (parse_size, parse_time):
        with pytest.raises(ValueError):
            parse(text, Unit.NONE)


@given(st.integers(0, 2**50))
def test_sizes_survive_writing(value):
    assert parse_size(format_size(value), Unit.KB) == value


@given(st.integers(0, 10**10).map(lambda ms: ms / 1000))
def test_times_survive_writing(value):
    assert parse_time(format_time(value), Unit.DAYS) == value


@pytest.mark.feature("F-CONF-03")
@pytest.mark.parametrize(
    ("key", "low", "high"),
    [
        ("mailgw.limits.AntiviralSessions", 10, 1024),
        ("mailgw.limits.IncomingSessions", 1, 1024),
        ("mailgw.limits.OutgoingSessions", 1, 1024),
        ("mailgw.limits.MaximalIncomingHops", 1, 100),
        ("mailgw.limits.MaximalIncomingMessageSize", 64, 204800),
        ("mailgw.limits.MaximalIncomingMessagesPerSession", 1, 1024),
        ("mailgw.limits.MaximalIncomingRcptsPerMessage", 1, 1024),
        ("mailgw.limits.MaximalIncomingSessionSize", 64, 2048000),
        ("mailgw.limits.MaximalIncomingSessionsPerIP", 1, 1024),
        ("mailgw.limits.MaximalOutgoingSessionsPerHost", 1, 1024),
        ("mailgw.limits.MinimalQueueFreeSpaceSize", 0, 1000000),
        ("mailgw.ave.ScanTimeout", 0, 3600),
        ("mailgw.ave.MaxArchiveDepth", 1, 64),
        ("mailgw.ave.MaxUnpackedSize", 1, 4096),
        ("mailgw.options.LogLevel", 1, 9),
        ("mailgw.timeouts.MaximalBackoffTime", 64, 64800),
        ("mailgw.timeouts.MinimalBackoffTime", 64, 64800),
        ("mailgw.timeouts.MaximalQueueLifetime", 1, 14),
        ("mailgw.timeouts.ReadTimeout", 1, 1200),
        ("mailgw.timeouts.ReceivingDataInitiationTimeout", 1, 2400),
        ("mailgw.timeouts.SendingDataTerminationTimeout", 1, 7200),
        ("mailgw.resolve.InternalRecursionsLimit", 1, 100),
        ("mailgw.resolve.MXCacheRefreshPeriod", 60, 259200),
        ("mailgw.resolve.UnreachableTTL", 0, 3600),
    ],
)
def test_documented_ranges_bind_the_ini_form(load_ini, key, low, high):
    others = {"mailgw.timeouts.MaximalBackoffTime": "64800", "mailgw.timeouts.MinimalBackoffTime": "64"}
    for value in (low, high):
        assert not load_ini(others | {key: str(value)}).errors
    section, _, name = key.removeprefix("mailgw.").rpartition(".")
    for value in (low - 1, high + 1, high * 1000):
        loaded = load_ini(others | {key: str(value)})
        assert any((e.section, e.name) == (section, name) for e in loaded.errors), (key, value)
        assert loaded.exit_code == 66


@pytest.mark.parametrize(
    ("text", "ok", "warned"),
    [
        ("[limits]\nincoming_sessions = 100000\n", True, True),
        ("[limits]\nincoming_sessions = 100001\n", False, False),
        ("[limits]\nincoming_sessions = 1024\n", True, False),
        ("[limits]\nincoming_sessions = 0\n", False, False),
        ("[limits]\nmaximal_incoming_rcpts_per_message = 100000\n", True, True),
        ('[timeouts]\nminimal_backoff_time = "11 min"\n', True, False),
        (
            "[timeouts]\nminimal_backoff_time = 1\nmaximal_backoff_time = 1\n[resolve]\nunreachable_ttl = 0\n",
            True,
            True,
        ),
        ('[timeouts]\nmaximal_queue_lifetime = "12 h"\n', True, True),
        ("[timeouts]\nread_timeout = 0\n", False, False),
        ('[timeouts]\nread_timeout = "3 days"\n', True, True),
    ],
)
def test_toml_ranges_are_wider_and_warn(load_toml, text, ok, warned):
    loaded = load_toml(text)
    assert (loaded.config is not None) is ok
    assert any("outside the documented range" in p.what for p in loaded.problems) is warned


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", ()),
        ("none", ()),
        ("infected", ("infected",)),
        ("filtered, infected", ("infected", "filtered")),
        ("ALL", ("disinfected", "infected", "suspicious", "protected", "error", "filtered")),
    ],
)
def test_status_lists(load_ini, value, expected):
    assert load_ini({"mailgw.policy.BlockMessage": value}).config.policy.block_message == expected


@pytest.mark.parametrize("value", ["bogus", "infected,none", "infected;error"])
def test_bad_status_lists(load_ini, value):
    (error,) = load_ini({"mailgw.policy.BlockMessage": value}).errors
    assert error.name == "BlockMessage"


@pytest.mark.parametrize(
    ("text", "host", "port", "domain"),
    [
        ("[10.0.0.1]", "10.0.0.1", 25, None),
        ("[10.0.0.1:2525]", "10.0.0.1", 2525, None),
        ("[mail.example:26]", "mail.example", 26, None),
        ("[mail.example]:26", "mail.example", 26, None),
        ("[2001:db8::1]", "2001:db8::1", 25, None),
        ("[[2001:db8::1]:26]", "2001:db8::1", 26, None),
        ("[2001:db8::1]:26", "2001:db8::1", 26, None),
        ("Example.ORG", None, 0, "example.org"),
    ],
)
def test_next_hop(text, host, port, domain):
    hop = parse_next_hop(text)
    assert (hop.host, hop.port, hop.domain) == (host, port, domain)
    assert parse_next_hop(str(hop)) == hop


@pytest.mark.parametrize(
    "text", ["", "[", "[]", "[a:0]", "[a:99999]", "a b", "[a b]", "[1:2:3:x]", "[[::1]26]", "a:25"]
)
def test_bad_next_hop(text):
    with pytest.raises(ValueError):
        parse_next_hop(text)


@pytest.mark.parametrize(
    ("text", "expected"), [("0.0.0.0:25", ("0.0.0.0", 25)), ("[::]:25", ("::", 25)), ("[::1]:2525", ("::1", 2525))]
)
def test_endpoint(text, expected):
    assert parse_endpoint(text) == expected


@pytest.mark.parametrize("text", ["", "25", "0.0.0.0", "::1:25", "[::1]25", "10.0.0.0/8:25", "host:25", "0.0.0.0:x"])
def test_bad_endpoint(text):
    with pytest.raises(ValueError):
        parse_endpoint(text)


def test_every_parameter_says_what_it_means():
    for section, fields in FIELDS.items():
        names = [field.name for field in fields]
        assert len(names) == len(set(names))
        for field in fields:
            assert field.parameter.meaning, (section, field.name)
