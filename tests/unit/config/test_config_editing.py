"""Edits of the configuration file: every parameter, in both forms; what stays, what is refused, hostile values."""

import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from documented_ini import ini_text
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.config.default import build_default_config
from gatepost.config.editing import Change, EditError, Verb, edit, find_places
from gatepost.config.guarding import OWN_FILES, find_refusal
from gatepost.config.load import load_text
from gatepost.config.parameter import Field, Guard, Item, Kind
from gatepost.config.schema import FIELDS, SECTION_BY_NAME, find_field
from gatepost.control.bypass_order import BYPASS_FILE
from gatepost.master.paths import Paths
from gatepost.migration.carrying import COPIES
from gatepost.migration.stamp import FILE as STAMP_FILE
from gatepost.migration.takeover import SECRETS
from gatepost.notices import own_texts
from gatepost.policy.listings import LISTS_FILE
from gatepost.relay import greylisting
from gatepost.service.doors import DELIVERED
from gatepost.service.told_senders import TOLD

SHIPPED = build_default_config(hostname="shipped.corp.example", next_hop="[127.0.0.1:1025]")
SHIPPED_TABLES = tomllib.loads(SHIPPED)
BLOCKS = [
    (block.strip("[").partition("]")[0], block) for block in re.split(r"^(?=\[)", SHIPPED, flags=re.MULTILINE)[1:]
]
"""The shipped file, table by table."""
FILE = "gatepost.toml"
ELEMENTS = {
    Item.TEXT: ["one", "two words"],
    Item.ADDRESS: ["a@corp.example", "b@corp.example"],
    Item.DOMAIN_MASK: ["corp.example", "*.corp.example"],
    Item.ADDRESS_MASK: ["*@corp.example", "x@corp.example"],
    Item.NAME_MASK: ["*.exe", "a b.scr"],
    Item.MIME_MASK: ["video/*", "text/html"],
    Item.NETWORK: ["192.0.2.0/24", "2001:db8::/32"],
    Item.SENDER: ["@corp.example  # until 2031-12-31 a note", "192.0.2.1"],
    Item.ENDPOINT: ["127.0.0.1:2525", "[::1]:2525"],
    Item.NAME_SERVER: ["127.0.0.1:53", "[::1]:53"],
    Item.ROUTE: ["*@corp.example [10.0.0.1:25]", "* corp.example"],
    Item.NEXT_HOP: ["[10.0.0.1:25]", "corp.example"],
    Item.HOSTNAME: ["mx.corp.example", "mx2.corp.example"],
    Item.RELAY_RULE: ["allow from 192.0.2.0/24 to *", "deny from any to *"],
    Item.CONNECT_RULE: ["allow from has_name to *", "deny from no_name to *"],
    Item.HELO_RULE: ["allow from has_ip to *", "deny from no_ip to *"],
    Item.MAILFROM_RULE: ["allow from has_mx to *", "deny from no_ip to *"],
    Item.SPAM_ACTION: ["mark", "quarantine"],
    Item.SERVICE: ["list.example.net 60", "other.example.net 30"],
    Item.HEADER_PREFIX: ["X-Spam", "X-Other"],
    Item.STEP_LIST: ["list.example.net", "other.example.net"],
    Item.LINK_SERVICE: ["list.example.net 60", "other.example.net 30"],
    Item.PERSON: ["Jane Doe <jane@corp.example>", "Joe Doe <joe@corp.example>"],
}
ALL_FIELDS = [field for fields in FIELDS.values() for field in fields]


def shipped(field: Field) -> object:
    """Return what the shipped file, or the default, says of a parameter."""
    table: Any = SHIPPED_TABLES
    for part in field.section.split("."):
        table = table.get(part, {})
    return (table[0] if isinstance(table, list) else table).get(field.name, field.default)


def sample(field: Field) -> bool | int | str | list[str]:
    """Return a value of the right form that is not the default."""
    parameter = field.parameter
    match parameter.kind:
        case Kind.FLAG:
            return not shipped(field)
        case Kind.COUNT:
            low, high = int(parameter.low or 0), int(parameter.high or 9)
            return low if field.default != low else min(high, low + 1)
        case Kind.SIZE | Kind.TIME:
            low, _ = parameter.bounds(wide=False)
            return int((low or 0) / parameter.unit.scale) + 1
        case Kind.CHOICE:
            return next(word for word in parameter.choices if word != field.default)
        case Kind.STATUSES:
            return list(parameter.choices[:2])
        case Kind.LIST:
            return ELEMENTS[parameter.item]
        case Kind.PATH:
            return "/var/lib/gatepost/some/thing"
        case _:
            return ELEMENTS[parameter.item][0]


def base(field: Field) -> str:
    """Return a file in which the parameter's section, and those around it, say something: as shipped, but not all of it."""
    own = [at for at, (name, _) in enumerate(BLOCKS) if name == field.section]
    around = range(max(0, own[0] - 1), own[-1] + 2) if own else range(2)
    text = "".join(block for _, block in BLOCKS[around.start : around.stop])
    if SECTION_BY_NAME[field.section].array and f"[[{field.section}]]" not in text.replace("# [[", "#"):
        text += f"\n# about it\n[[{field.section}]]\n# nothing yet\n"
    return text


def changed_lines(before: str, after: str) -> tuple[list[str], list[str]]:
    old, new = Counter(before.splitlines()), Counter(after.splitlines())
    return list((old - new).elements()), list((new - old).elements())


@pytest.mark.feature("F-WEB-01")
@pytest.mark.parametrize("field", ALL_FIELDS, ids=lambda field: f"{field.section}.{field.name}")
def test_every_parameter_can_be_edited_and_nothing_else_changes(field: Field) -> None:
    before = base(field)
    value = sample(field)
    after = edit(before, FILE, [Change(field.section, field.name, value=value)])
    table: object = tomllib.loads(after)
    for part in field.section.split("."):
        table = table[part]  # type: ignore[index]
    if isinstance(table, list):
        table = table[0]
    assert table[field.name] == value  # type: ignore[index]
    gone, come = changed_lines(before, after)
    assert not any(line.lstrip().startswith("#") for line in gone), gone
    assert [line for line in come if line.strip() and not line.startswith("[")], come
    # And the other way: without it the file says what it said, but for what was set before.
    unset = edit(after, FILE, [Change(field.section, field.name, Verb.UNSET)])
    assert [line for line in unset.splitlines() if "#" in line] == [line for line in before.splitlines() if "#" in line]
    gone, come = changed_lines(before, unset)
    assert not [line for line in come if line.strip() and line != f"[{field.section}]"]
    assert all(field.name in line for line in gone) or isinstance(value, list)


@pytest.mark.parametrize(
    "field",
    [field for field in ALL_FIELDS if field.parameter.documented and not SECTION_BY_NAME[field.section].array],
    ids=lambda field: f"{field.section}.{field.name}",
)
def test_every_documented_parameter_can_be_edited_in_the_older_form(field: Field) -> None:
    before = "# head\n" + ini_text({}, "")
    value = sample(field)
    after = edit(before, "mailgw.conf", [Change(field.section, field.name, value=value)])
    loaded = load_text(after, "mailgw.conf")
    assert not [p for p in loaded.problems if p.name == field.documented and "unknown" in p.what]
    found = find_field(field.section, field.documented)
    assert found is not None
    assert f"{field.section}.{field.name}" in loaded.origins
    place = find_places(after, "mailgw.conf")(loaded.origins[f"{field.section}.{field.name}"].line)
    assert place is not None
    assert (place.section, place.name) == (field.section, field.name)
    assert [line for line in after.splitlines() if line.startswith("#")] == [
        line for line in before.splitlines() if line.startswith("#")
    ]


LISTED = """\
[antispam]  # what we do
white_list = [
    # partners
    "a@x.example",  # asked in May
    "b@x.example", "c@x.example",
    "d@x.example"  # the last
]
black_list = ["z@x.example"]
"""


def test_elements_of_a_list_keep_their_comments() -> None:
    wanted = ["d@x.example", "a@x.example", "c@x.example", "new@x.example"]
    after = edit(LISTED, FILE, [Change("antispam", "white_list", value=wanted)])
    assert tomllib.loads(after)["antispam"]["white_list"] == wanted
    assert '"a@x.example",  # asked in May' in after
    assert '"d@x.example",  # the last' in after
    assert "# partners" in after
    assert '\n    "new@x.example",' in after


TABLES = """\
# top
[network]
hostname = "mx.corp.example"

# first
[[group]]
name = "one"    # uno
recipients = ["*@one.example"]
# trailing thoughts

# second
[[group]]
name = "two"
recipients = ["*@two.example"]

[limits]
log = 1
"""


def names(text: str) -> list[str]:
    return [group["name"] for group in tomllib.loads(text)["group"]]


def test_tables_are_added_moved_and_removed_with_their_comments() -> None:
    moved = edit(TABLES, FILE, [Change("group", verb=Verb.MOVE, item=1, to=0)])
    assert names(moved) == ["two", "one"]
    assert moved.index("# second") < moved.index('"two"') < moved.index("# first") < moved.index('"one"')
    back = edit(moved, FILE, [Change("group", verb=Verb.MOVE, item=0, to=1)])
    assert names(back) == ["one", "two"]
    added = edit(
        TABLES,
        FILE,
        [
            Change("group", verb=Verb.ADD, item=-1, value="three"),
            Change("group", "recipients", item=2, value=["*@three.example"]),
            Change("group", verb=Verb.ADD, item=0, value="zero"),
        ],
    )
    assert names(added) == ["zero", "one", "two", "three"]
    assert tomllib.loads(added)["group"][3]["recipients"] == ["*@three.example"]
    assert added.index("three") < added.index("[limits]")
    removed = edit(TABLES, FILE, [Change("group", verb=Verb.REMOVE, item=0)])
    assert names(removed) == ["two"]
    assert "# first" not in removed
    assert "# second" in removed
    assert edit(removed, FILE, [Change("group", verb=Verb.REMOVE, item=0)]).count("[[group]]") == 0


def test_groups_of_the_older_form() -> None:
    text = "[smtpgw.network]\nHostname=h\n# one\n[smtpgw.group:one]\nSenders=*@one.example\nCheck=no\n\n[smtpgw.group:two]\nSenders=*@two.example\n"
    moved = edit(text, "m.conf", [Change("group", verb=Verb.MOVE, item=1, to=0)])
    assert moved.index("group:two") < moved.index("# one") < moved.index("group:one")
    renamed = edit(text, "m.conf", [Change("group", "name", item=1, value="zwei")])
    assert "[smtpgw.group:zwei]" in renamed
    added = edit(
        text,
        "m.conf",
        [Change("group", verb=Verb.ADD, item=-1, value="three"), Change("group", "check", item=2, value=False)],
    )
    assert added.endswith("[smtpgw.group:three]\nCheck=no\n")
    assert edit(added, "m.conf", [Change("group", verb=Verb.REMOVE, item=2)]).strip() == text.strip()


@pytest.mark.feature("F-WEB-01")
@pytest.mark.parametrize(
    ("file", "text", "change"),
    [
        (
            FILE,
            '[antispam]\nwhite_list = ["file:/etc/white", "a@x.example"]\n',
            Change("antispam", "white_list", value=["b@x.example"]),
        ),
        (FILE, '[antispam]\nwhite_list = ["file:/etc/white"]\n', Change("antispam", "white_list", Verb.UNSET)),
        (
            FILE,
            '[access]\nrelay_rule = ["deny from file:/etc/nets to *"]\n',
            Change("access", "relay_rule", value=["deny from any to *"]),
        ),
        ("m.conf", "[antispam]\nwhite_list=file:/etc/white\n", Change("antispam", "white_list", value=["b@x.example"])),
    ],
)
def test_what_is_held_in_external_files_is_refused(file: str, text: str, change: Change) -> None:
    with pytest.raises(EditError, match="external file"):
        edit(text, file, [change])


@pytest.mark.feature("F-WEB-01")
def test_what_an_included_file_says_is_refused(tmp_path: Path) -> None:
    included = tmp_path / "limits.conf"
    included.write_text("[mailgw.limits]\nIncomingSessions=7\n[mailgw.group:x]\nCheck=no\n")
    text = f"[mailgw.network]\nHostname=h\n!include {included}\n"
    with pytest.raises(EditError, match=r"external file.*limits\.conf"):
        edit(text, "m.conf", [Change("limits", "incoming_sessions", value=9)])
    with pytest.raises(EditError, match="external file"):
        edit(text, "m.conf", [Change("group", verb=Verb.REMOVE, item=0)])


@pytest.mark.parametrize(
    "text",
    [
        "limits = { incoming_sessions = 5 }\n",
        "limits.incoming_hops = 5\n",
        'listener = [{ address = "127.0.0.1:25" }]\n',
    ],
)
def test_what_is_written_in_unusual_ways_is_refused_and_not_spoilt(text: str) -> None:
    with pytest.raises(EditError):
        edit(text, FILE, [Change("limits", "outgoing_sessions", value=9), Change("listener", "name", value="x")])


def test_other_spellings_and_older_places_are_edited_where_they_stand() -> None:
    text = '[Mailgw.Limits]\nIncomingSessions = 5 # five\n[forward]\nProtectedDomains = ["a.example"]\n'
    after = edit(
        text,
        FILE,
        [Change("limits", "incoming_sessions", value=6), Change("network", "protected_domains", value=["b.example"])],
    )
    assert after == text.replace("= 5", "= 6").replace("a.example", "b.example")


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_line_ends_stay(newline: str) -> None:
    text = newline.join(["[limits]", "incoming_sessions = 5", "", "[options]", ""])
    after = edit(text, FILE, [Change("limits", "outgoing_sessions", value=7), Change("options", "log_level", value=5)])
    assert after == newline.join(
        ["[limits]", "incoming_sessions = 5", "outgoing_sessions = 7", "", "[options]", "log_level = 5", ""]
    )


texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=60)


@settings(max_examples=50, deadline=None)
@given(st.lists(texts, max_size=6), texts)
def test_no_text_breaks_out_of_its_value(elements: list[str], word: str) -> None:
    """Whatever a value holds, quotes, brackets, line ends, it is the value and nothing else; or it is refused."""
    changes = [
        Change("ave", "archive_passwords", value=elements),
        Change("policy", "subject_spam", value=word),
    ]
    after = edit(SHIPPED, FILE, changes)
    data = tomllib.loads(after)
    assert data["ave"]["archive_passwords"] == [each.strip() for each in elements if each.strip()]
    assert data["policy"]["subject_spam"] == word
    del data["ave"]["archive_passwords"]
    del data["policy"]["subject_spam"]
    assert data == tomllib.loads(SHIPPED)
    ini = "[mailgw.policy]\nCheck=yes\n[mailgw.options]\nLogLevel=4\n"
    try:
        edited = edit(ini, "m.conf", [Change("policy", "subject_spam", value=word)])
    except EditError:
        return
    assert edited.count("[") - word.count("[") == 2
    assert f"SubjectSpam={word}\n" in edited


HOSTILE = ["x\n!include /etc/passwd", "x\r\n[mailgw.path]", '"\nrelays = 9\n#', "a\0b", "x" * 20_000, "a\u2028b"]


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_values_are_refused_before_they_are_edited(value: str) -> None:
    field = find_field("policy", "subject_spam")
    assert field is not None
    assert find_refusal(field, value, "/var/lib/gatepost")


@pytest.mark.parametrize(
    ("section", "name", "value", "refused"),
    [
        ("engine", "command", ["/bin/sh"], True),
        ("engine", "address", "/run/docker.sock", True),
        ("engine", "address", "127.0.0.1:3310", False),
        ("engine", "address", "icap://host:1344/av", False),
        ("relay", "state_path", "/var/lib/gatepost/x", True),
        ("policy", "notify_admin_template", "/etc/passwd", True),
        ("policy", "notify_admin_template", "/var/lib/gatepost/../../../etc/passwd", True),
        ("policy", "notify_admin_template", "../x", True),
        ("policy", "notify_admin_template", "/var/lib/gatepost/templates/x", False),
        ("policy", "notify_admin_template", "", False),
        ("options", "log_filename", "syslog", False),
        ("options", "log_filename", "/etc/cron.d/x", True),
        ("options", "log_filename", "x.log", True),
        ("options", "log_filename", "/var/lib/gatepost/accounts.json", True),
        ("options", "log_filename", "/var/lib/gatepost/log/accounts.json", False),
        ("options", "stat_filename", "/var/lib/gatepost/stat/../audit/audit-000001.jsonl", True),
        ("options", "dsn_template", "/var/lib/gatepost/accounts.json", True),
        ("policy", "quarantine_path", "/var/lib/gatepost/tracking", True),
        ("policy", "quarantine_path", "/var/lib/gatepost", True),
        ("updater.options", "post_update_cmd", "reboot", True),
        ("antispam", "white_list", ["a@x.example", " file:/etc/shadow"], True),
        ("access", "relay_rule", ["deny from file:/etc/shadow to *"], True),
        ("policy", "reject_text", "see file: 7", False),
    ],
)
def test_commands_and_outside_paths_are_for_the_file_only(
    section: str, name: str, value: object, refused: bool
) -> None:
    field = find_field(section, name)
    assert field is not None
    assert bool(find_refusal(field, value, "/var/lib/gatepost")) is refused


def test_every_path_and_command_of_the_schema_is_guarded() -> None:
    for field in ALL_FIELDS:
        if field.parameter.kind is Kind.PATH:
            assert field.parameter.guard is not Guard.NONE, field
        if field.parameter.kind is not Kind.TIME and any(word in field.name for word in ("command", "cmd")):
            assert field.parameter.guard is Guard.FILE, field


def test_links_below_the_state_directory_do_not_lead_out(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "out").symlink_to(tmp_path)
    field = find_field("policy", "notify_admin_template")
    assert field is not None
    assert find_refusal(field, str(tmp_path / "state" / "out" / "x"), str(tmp_path / "state"))
    assert not find_refusal(field, str(tmp_path / "state" / "in"), str(tmp_path / "state"))
    (tmp_path / "state" / "in").symlink_to(tmp_path / "state" / "accounts.json")
    assert find_refusal(field, str(tmp_path / "state" / "in"), str(tmp_path / "state"))


def test_what_the_gateway_keeps_itself_is_known_to_the_guard() -> None:
    kept = [path for path in vars(Paths("/state")).values() if isinstance(path, Path)]
    names = {path.relative_to("/state").parts[0] for path in kept} | {LISTS_FILE, BYPASS_FILE, greylisting.FILE}
    names |= {"rules-history", "rules.before-import", own_texts.DIRECTORY, DELIVERED, TOLD}
    assert names | {"configuration", STAMP_FILE, COPIES, SECRETS} == OWN_FILES
