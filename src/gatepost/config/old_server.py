"""Conversion of the documented filtering servers' own files into a configuration of ours (`gatepost config convert`).

Specification configuration.md §5.1 (2.0, the master process) and §6.1 (3.0, `filter.conf`). Every keyword is carried
over or named in a comment with the reason; nothing is dropped in silence. What `config.old_server_file` read comes in,
TOML comes out; the caller loads that and shows what is wrong with it, as with any other file.
"""

import shlex
from collections.abc import Callable
from typing import Final

import msgspec

from gatepost.config.dump import toml_string
from gatepost.config.old_server_file import (
    OldEntry,
    OldFile,
    OldForm,
    comment_text,
    parse_old_address,
    parse_old_number,
    parse_old_switch,
)
from gatepost.config.units import format_size, format_time

_KB: Final = 1024


class _Out:
    """What is being written."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[str, str]] = {}
        """Section → parameter → value as TOML."""
        self.doors: dict[str, dict[str, str]] = {}
        """By kind."""
        self.every_door: dict[str, str] = {}
        """What all clients shared."""
        self.notes: list[str] = []

    def table_of(self, section: str) -> dict[str, str]:
        """Return where the values of a section of `_Rule` go."""
        if section == "doors":
            return self.every_door
        kind = section.partition(":")[2]
        return self.doors.setdefault(kind, {}) if kind else self.tables.setdefault(section, {})


class _Rule(msgspec.Struct, frozen=True):
    """What becomes of a keyword."""

    section: str = ""
    """Section of ours, `door:KIND`, `doors` (all of them); "" = it is only named."""
    name: str = ""
    read: Callable[[str], str] = toml_string
    """From the value as written to TOML. ValueError."""
    note: str = ""
    """Why it is not carried over."""


def _count(text: str) -> str:
    return str(parse_old_number(text))


def _seconds(text: str) -> str:
    return toml_string(format_time(float(parse_old_number(text))))


def _kilobytes(text: str) -> str:
    return toml_string(format_size(parse_old_number(text, _KB)))


def _switch(text: str) -> str:
    return "true" if parse_old_switch(text) else "false"


def _address(text: str) -> str:
    return toml_string(parse_old_address(text))


def _facility(text: str) -> str:
    return toml_string(text.strip().lower())


def _on_error(text: str) -> str:
    word = text.strip().lower()
    if word not in {"accept", "ignore", "tempfail", "reject"}:
        raise ValueError(f"{text[:40]!r} is none of accept, tempfail, reject")
    return toml_string("accept" if word == "ignore" else word)


def _level_of(levels: tuple[int, ...]) -> Callable[[str], str]:
    def read(text: str) -> str:
        return str(levels[min(parse_old_number(text), len(levels) - 1)])

    return read


_LEVELS_20: Final = (2, 4, 5, 9)
"""Ours for 0 (least), 1 (errors), 2 (warnings), 3 and more (all)."""
_LEVELS_30: Final = (1, 3, 4, 5, 7, 9)
"""Ours for 0…5; 2 was the default, as 4 is."""

_ELSEWHERE: Final = "belongs to the start of the program (user, directories, service manager), not to its configuration"
_OWN_FILTERS: Final = "filters are forked off a process of the gateway; there is no program to name"
_NO_DAEMON: Final = "there is no such daemon any more: the gateway does it itself"
_LICENCE: Final = "the licence of the gateway itself counts; [licence_daemon] sets up a daemon where one is wanted"
_CLIENT: Final = "for client programs: give them this file as it is (gatepost client … -c FILE)"
_IN_EXIM: Final = "stands in Exim's own configuration: see `gatepost client setup exim`"

_RULES_20: Final[dict[str, _Rule]] = {
    "filterpath": _Rule(note=_OWN_FILTERS),
    "filterparam": _Rule(note="its options are carried over one by one"),
    "startfilters": _Rule("filter", "server_start_filters", _count),
    "maxfilters": _Rule("filter", "server_max_filters", _count),
    "minsparefilters": _Rule(
        note="filters are forked in a millisecond when mail comes, so none need be kept ready; "
        "filter.server_spare_filters says how many idle ones may stay"
    ),
    "pidfile": _Rule(note=_ELSEWHERE),
    "loglevel": _Rule("options", "log_level", _level_of(_LEVELS_20)),
    "syslogfacility": _Rule("options", "log_facility", _facility),
    "listen": _Rule("door:filter", "address", _address),
}

_RULES_30: Final[dict[str, _Rule]] = {
    "rootpath": _Rule(note="nothing is looked for below an installation root; relay.state_path says where state lies"),
    "logfacility": _Rule("options", "log_facility", _facility),
    "loglevel": _Rule("options", "log_level", _level_of(_LEVELS_30)),
    "user": _Rule(note=_ELSEWHERE),
    "group": _Rule(note=_ELSEWHERE),
    "serverlisten": _Rule("door:filter", "address", _address),
    "filterpath": _Rule(note=_OWN_FILTERS),
    "serverstartfilters": _Rule("filter", "server_start_filters", _count),
    "servermaxfilters": _Rule("filter", "server_max_filters", _count),
    "serversparefilters": _Rule("filter", "server_spare_filters", _count),
    "filtermaxmessages": _Rule("filter", "filter_max_messages", _count),
    "filterrandmessages": _Rule("filter", "filter_rand_messages", _count),
    "filtermaxidle": _Rule("filter", "filter_max_idle", _seconds),
    "filterdelayedexit": _Rule("filter", "filter_delayed_exit", _seconds),
    "filterdatatimeout": _Rule("door:filter", "data_timeout", _seconds),
    "filterlicenseconnecttimeout": _Rule(note=_LICENCE),
    "filterlicensedatatimeout": _Rule(note=_LICENCE),
    "filterlicenseconnectto": _Rule(note=_LICENCE),
    "filterspfdatatimeout": _Rule("antispam", "filter_spf_data_timeout", _seconds),
    "filterspfconnectto": _Rule(note=_NO_DAEMON),
    "filterdnstimeout": _Rule("antispam", "filter_dns_timeout", _seconds),
    "filterreceivedheaderslimit": _Rule("antispam", "filter_received_headers_limit", _count),
    "filterparsemsoffice": _Rule("antispam", "filter_parse_ms_office", _switch),
    "filterstatlogfile": _Rule("antispam", "filter_stat_log_file"),
    "filteruserlogfile": _Rule("antispam", "filter_user_log_file"),
    "filterudscfgfile": _Rule("antispam", "filter_uds_cfg_file"),
    "filterudsenabled": _Rule("antispam", "filter_uds_enabled", _switch),
    "filterudstimeout": _Rule("antispam", "filter_uds_timeout", _seconds),
    "licenselisten": _Rule(note=_LICENCE),
    "licensemaxconnections": _Rule(note=_LICENCE),
    "licenseidletimeout": _Rule(note=_LICENCE),
    "licensedatatimeout": _Rule(note=_LICENCE),
    "spfdlisten": _Rule(note=_NO_DAEMON),
    "spfdpoolsize": _Rule("antispam", "spfd_pool_size", _count),
    "spfdmaxrequestsperchild": _Rule("antispam", "spfd_max_requests_per_child", _count),
    "spfdmaxqueuesize": _Rule("antispam", "spfd_max_queue_size", _count),
    "spfdcleanupinterval": _Rule("antispam", "spfd_cleanup_interval", _seconds),
    "clientconnectto": _Rule(note=_CLIENT),
    "clientconnecttimeout": _Rule(note=_CLIENT),
    "clientdatatimeout": _Rule(note=_CLIENT),
    "clientonerror": _Rule("doors", "on_error", _on_error),
    "clientdefaultdomain": _Rule("doors", "default_domain"),
    "clientfilteringsizelimit": _Rule("doors", "size_limit", _kilobytes),
    "clientmessagestoremem": _Rule(note=_CLIENT),
    "clienttempdir": _Rule(note=_CLIENT),
    "sendmailaddress": _Rule("door:milter", "address", _address),
    "pipeoutgoingaddr": _Rule("door:proxy", "next_hop", _address),
    "pipeoutdatatimeout": _Rule("door:proxy", "next_hop_timeout", _seconds),
    "pipemultiplemessagesallowed": _Rule("door:proxy", "multiple_messages", _switch),
    "pipeusexforward": _Rule("door:proxy", "xforward", _switch),
    "pipe8bithack": _Rule(note="8BITMIME is always spoken as RFC 6152 has it"),
    "pipebufferedio": _Rule(note="reading and writing is always buffered"),
    "pipelisten": _Rule("door:proxy", "address", _address),
    "qmailoriginalqueue": _Rule(note=_CLIENT),
    "connecttimeout": _Rule(note=_IN_EXIM),
    "datatimeout": _Rule(note=_IN_EXIM),
    "defaultdomain": _Rule(note=_IN_EXIM),
    "filteringsizelimit": _Rule(note=_IN_EXIM),
    "onerror": _Rule(note=_IN_EXIM),
}

RULES: Final = {OldForm.MASTER_20: _RULES_20, OldForm.SERVER_30: _RULES_30}

_FIRST_ADDRESSES: Final = {
    OldForm.MASTER_20: {"filter": "tcp:127.0.0.1:2255"},
    OldForm.SERVER_30: {"filter": "tcp:127.0.0.1:2277", "proxy": "tcp:127.0.0.1:9026"},
}
"""Where the documented programs listened unless told otherwise."""
_OPTIONS_WITH_VALUE: Final = "rKRgVLmM"


def build_from_old_server(old: OldFile, hostname: str) -> str:
    """Return a configuration that does what the old server's file said. `hostname` is that of this host: the old
    servers had none of their own, and every configuration of ours needs one.
    """
    out = _Out()
    out.notes += [f"{origin}: not read: neither a keyword with its value nor a comment" for origin in old.odd]
    rules = RULES[old.form]
    for entry in old.entries:
        _carry_over(entry, rules.get(entry.name), out)
    _complete_doors(old.form, out)
    return "\n".join(_lines(old, out, hostname)) + "\n"


def _carry_over(entry: OldEntry, rule: _Rule | None, out: _Out) -> None:
    told = f"{entry.origin}: {entry.keyword} {entry.value}".rstrip()
    if rule is None:
        out.notes.append(f"{told}: unknown, not carried over")
    elif entry.name == "filterparam":
        _carry_options(entry, out)
    elif not rule.section:
        out.notes.append(f"{told}: {rule.note}")
    elif entry.value:
        _place(told, rule, entry.value, out)
    else:
        out.notes.append(f"{told}: empty, so the default holds")


def _place(told: str, rule: _Rule, value: str, out: _Out) -> None:
    try:
        text = rule.read(value)
    except ValueError as error:
        out.notes.append(f"{told}: {error}; not carried over")
        return
    table = out.table_of(rule.section)
    former = table.get(rule.name)
    if former not in {None, text}:
        out.notes.append(f"{told}: takes the place of {rule.name} = {former}, which the file says as well")
    table[rule.name] = text


_OPTIONS_20: Final[dict[str, _Rule]] = {
    "r": _Rule(
        note="seconds for each rule that asks DNS: all questions of a message now share one time, "
        "antispam.filter_dns_timeout"
    ),
    "K": _Rule("antispam", "filter_received_headers_limit", _count),
    "R": _Rule(note="every filter is in a cage of its own; there is no directory to name"),
    "g": _Rule(note=_ELSEWHERE),
    "V": _Rule("options", "log_level", _level_of(_LEVELS_20)),
    "L": _Rule(note="lines of rules (DoSyslog) go to the gateway's log, options.log_filename"),
    "m": _Rule("filter", "filter_max_messages", _count),
    "M": _Rule("filter", "filter_rand_messages", _count),
    "a": _Rule(note=_OWN_FILTERS),
}
"""Options of the 2.0 worker (specification antispam.md §11)."""


def _carry_options(entry: OldEntry, out: _Out) -> None:
    told = f"{entry.origin}: {entry.keyword}"
    try:
        words = shlex.split(entry.value)
    except ValueError as error:
        out.notes.append(f"{told} {entry.value}: {error}; not carried over")
        return
    while words:
        word = words.pop(0)
        letter, value = word[1:2], word[2:]
        if letter and letter in _OPTIONS_WITH_VALUE and not value and words:
            value = words.pop(0)
        rule = _OPTIONS_20.get(letter) if word.startswith("-") else None
        shown = f"{told} {word[:2] if rule else word} {value}".rstrip()
        if rule is None:
            out.notes.append(f"{told} {word}: unknown, not carried over")
        elif rule.section:
            _place(shown, rule, value, out)
        else:
            out.notes.append(f"{shown}: {rule.note}")


def _complete_doors(form: OldForm, out: _Out) -> None:
    """Give doors what a door cannot be without, and leave out those that would lead nowhere."""
    out.doors.setdefault("filter", {})
    proxy = out.doors.get("proxy")
    if proxy is not None and "next_hop" not in proxy:
        told = ", ".join(f"{name} = {value}" for name, value in proxy.items())
        out.notes.append(f"No proxy door ({told}): the next hop is not told as an address")
        del out.doors["proxy"]
    for kind, door in out.doors.items():
        if "address" not in door and kind in _FIRST_ADDRESSES[form]:
            door["address"] = toml_string(_FIRST_ADDRESSES[form][kind])
        if kind != "filter":  # there the clients carry that out
            for name, value in out.every_door.items():
                door.setdefault(name, value)
        elif door.get("address", "").startswith('"tcp:0.0.0.0:'):
            out.notes.append(
                "The door for clients listens on all addresses, yet takes connections from this host only: put the "
                "mail servers that may ask into its `allow`"
            )
    if "milter" not in out.doors and "proxy" not in out.doors:
        out.notes += [
            f"{name} = {value}: goes with a door or a client program; there is no such door in this file"
            for name, value in out.every_door.items()
        ]


def _lines(old: OldFile, out: _Out, hostname: str) -> list[str]:
    lines = [
        f"# Converted from {comment_text(old.file)} ({old.form}). Check it with: gatepost config check -c FILE.toml",
        *(["#", "# Not carried over, or different from before:"] if out.notes else []),
        *(f"#   {comment_text(note)}" for note in out.notes),
        "",
        "[network]",
        f"hostname = {toml_string(hostname)}  # of this host; the old file named none",
        "listen_on = []  # it only judges for other mail systems: nothing is received, and nothing relayed",
        "",
        "[access]",
        'relay_rule = ["deny from any to *"]',
        "",
    ]
    options = out.tables.setdefault("options", {})
    options.setdefault("log_filename", '"syslog"')  # where the old servers wrote
    for section, values in out.tables.items():
        lines += [f"[{section}]", *(f"{name} = {value}" for name, value in values.items()), ""]
    for kind, door in out.doors.items():
        lines += ["[[door]]", f'kind = "{kind}"', *(f"{name} = {value}" for name, value in door.items()), ""]
    return lines[:-1]
