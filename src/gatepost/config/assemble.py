"""From checked values to the `Config`: defaults, objects (listeners, routes, zones, groups, relay rules), consistency.

Called by `gatepost.config.load`. Always ends with a list of problems; the `Config` is given only when none of them is
an error.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from gatepost.config.collect import Collected, Given
from gatepost.config.doors import parse_door_address
from gatepost.config.grouping import NAME_FILTERS, POLICY_GROUP, TYPE_FILTERS
from gatepost.config.items import (
    PROTECTED,
    is_everyone,
    parse_endpoint,
    parse_next_hop,
    parse_recipient_mask,
    parse_rule,
)
from gatepost.config.parameter import Field, Kind
from gatepost.config.presets import apply_preset
from gatepost.config.problem import Severity
from gatepost.config.profiles_files import read_rule_set
from gatepost.config.schema import FIELDS, SECTIONS, Config, is_built
from gatepost.config.shadow_groups import resolve_shadows

Values = dict[str, object]

_NO_NAME_RULE = "deny from no_name to *"
OLDER_CACHE_TIMES = {
    "unresolved_cache_refresh_period": "unresolved_ttl",
    "unreachable_cache_refresh_period": "unreachable_ttl",
    "mx_cache_refresh_period": "mx_cache_threshold",
}
"""Parameters of `timeouts` (generation 5.0), and those of `resolve` that say the same."""
_UNRESOLVED_SENDER_RULES = ("allow from has_mx to *", "deny from no_ip to *")


def assemble(collected: Collected) -> Config:
    """Build the configuration; problems go to `collected`. What was wrong has its default in it."""
    context = _context(collected)
    _warn_unbuilt(collected, context)
    data: dict[str, object] = {}
    for section in SECTIONS:
        if not section.array:
            _insert(
                data, section.name, _fill(FIELDS[section.name], collected.tables.get((section.name, 0), {}), context)
            )
    zones = [
        _fill(FIELDS["network.zone"], collected.tables.get(("network.zone", i), {}), context)
        for i in collected.items_of("network.zone")
    ]
    listeners = _listeners(collected, context)
    routes = _routes(collected)
    _migrate_access(collected, _section(data, "access"))
    _adopt_cache_times(collected, _section(data, "resolve"))
    apply_preset(collected, {name: _section(data, name) for name in ("antispam", "ave", "policy")})
    groups = _groups(collected, _section(data, "policy"))
    data |= {
        "zones": zones,
        "tls_policies": [
            _fill(FIELDS["tls_policy"], collected.tables.get(("tls_policy", i), {}), context)
            for i in collected.items_of("tls_policy")
        ],
        "engines": [
            _fill(FIELDS["engine"], collected.tables.get(("engine", i), {}), context)
            for i in collected.items_of("engine")
        ],
        "listeners": listeners,
        "routes": routes,
        "relay_rules": _relay_rules(collected, data, zones),
        "groups": groups,
        "shadows": resolve_shadows(collected, groups),
        "doors": _doors(collected, context),
        "update_servers": [
            _fill(FIELDS["update_server"], collected.tables.get(("update_server", i), {}), context)
            for i in collected.items_of("update_server")
        ],
    }
    _section(data, "network")["listen_on"] = [listener["address"] for listener in listeners]
    _section(data, "forward")["forward_route"] = []  # `routes` says it, with room for more
    return _with_rules(msgspec.convert(data, Config), collected)


def _with_rules(config: Config, collected: Collected) -> Config:
    """Read the rule set, which has files of its own, when one is to be in force."""
    if not config.profiles.enabled:
        return config
    rules, problems = read_rule_set(Path(config.profiles.path))
    collected.problems += problems
    return msgspec.structs.replace(config, rule_set=rules)


def _context(collected: Collected) -> dict[str, str]:
    """Return what derived defaults are made of."""

    def given(section: str, name: str, default: str) -> str:
        found = collected.tables.get((section, 0), {}).get(name)
        return str(found.value) if found is not None and found.value else default

    state = next(str(field.default) for field in FIELDS["relay"] if field.name == "state_path")
    hostname = given("network", "hostname", "localhost")
    return {
        "state": given("relay", "state_path", state),
        "hostname": hostname,
        "postmaster": given("network", "postmaster", f"postmaster@{hostname}"),
    }


def _default(field: Field, context: Mapping[str, str]) -> object:
    if not field.parameter.derived:
        return field.default
    text = field.parameter.derived.format_map(context)
    return (text,) if field.parameter.kind is Kind.LIST else text


def _warn_unbuilt(collected: Collected, context: Mapping[str, str]) -> None:
    """Name each parameter that was set to something, once, when nothing acts on it yet."""
    told: set[str] = set()
    for (section, item), table in collected.tables.items():
        for field in FIELDS[section]:
            given = table.get(field.name)
            if given is None or is_built(field) or given.value == _default(field, context):
                continue
            # A policy parameter set in ten groups is still one parameter.
            key = field.name if section in ("policy", "group") else f"{section}.{field.name}"
            if key not in told:
                told.add(key)
                what = "accepted; not built yet"
                collected.note(Severity.WARNING, section, field.name, what, origin=given.origin, item=item)


def _fill(fields: tuple[Field, ...], given: Mapping[str, Given], context: Mapping[str, str]) -> Values:
    return {
        field.name: given[field.name].value if field.name in given else _default(field, context) for field in fields
    }


def _insert(data: dict[str, object], section: str, values: Values) -> None:
    first, _, last = section.partition(".")
    if last:
        _section(data, first)[last] = values
    else:
        data[section] = values


def _section(data: dict[str, object], name: str) -> Values:
    found = data.setdefault(name, {})
    assert isinstance(found, dict)
    return found


def _listeners(collected: Collected, context: Mapping[str, str]) -> list[Values]:
    listeners: list[Values] = []
    seen: set[str] = set()
    rows = [
        (collected.tables.get(("listener", item), {}), "listener", item, "address")
        for item in collected.items_of("listener")
    ]
    lines = collected.tables.get(("network", 0), {}).get("listen_on")
    if lines is not None and isinstance(lines.value, tuple):
        rows += [({"address": Given(address, lines.origin)}, "network", 0, "listen_on") for address in lines.value]
    elif not rows:
        default = next(field.default for field in FIELDS["network"] if field.name == "listen_on")
        assert isinstance(default, tuple)
        origin = collected.origin_of("network", 0, "listen_on")
        rows = [({"address": Given(address, origin)}, "network", 0, "listen_on") for address in default]
    for given, section, item, name in rows:
        listener = _fill(FIELDS["listener"], given, context)
        address = str(listener["address"])
        if not address:
            continue
        if address in seen:
            mend = "Remove one of them"
            origin = given["address"].origin
            collected.note(
                Severity.ERROR, section, name, f"{address} is given twice", origin=origin, mend=mend, item=item
            )
            continue
        seen.add(address)
        listener["host"], listener["port"] = parse_endpoint(address)
        listener["name"] = listener["name"] or address
        listeners.append(listener)
    if not rows and not collected.items_of("door"):
        mend = "Add one, ip:port, or a [[door]] for a filtering server without a relay"
        collected.note(Severity.ERROR, "network", "listen_on", "no endpoint to receive mail on", mend=mend)
    return listeners


def _doors(collected: Collected, context: Mapping[str, str]) -> list[Values]:
    doors = []
    for item in collected.items_of("door"):
        door = _fill(FIELDS["door"], collected.tables.get(("door", item), {}), context)
        try:
            door["host"], door["port"], door["socket"] = parse_door_address(str(door["address"]))
        except ValueError as error:
            collected.note(Severity.ERROR, "door", "address", str(error), item=item)
        door["name"] = door["name"] or f"{door['kind']} {door['address']}"
        doors.append(door)
    return doors


def _routes(collected: Collected) -> list[Values]:
    routes: list[Values] = []
    for item in collected.items_of("route"):
        given = collected.tables.get(("route", item), {})
        if "recipients" in given and "next_hop" in given:
            masks, targets = given["recipients"].value, given["next_hop"].value
            assert isinstance(masks, tuple)
            assert isinstance(targets, tuple)
            rest = {name: given[name].value for name in ("order", "transport") if name in given}
            routes += [_route(mask, targets) | rest for mask in masks]
    lines = collected.tables.get(("forward", 0), {}).get("forward_route")
    if lines is not None and isinstance(lines.value, tuple):
        routes += [_route(mask, (target,)) for mask, _, target in (line.partition(" ") for line in lines.value)]
    return routes


def _route(mask: str, targets: tuple[str, ...]) -> Values:
    hops = [parse_next_hop(target) for target in targets]
    return {
        "mask": parse_recipient_mask(mask),
        "hops": [{"host": hop.host, "port": hop.port, "domain": hop.domain} for hop in hops],
    }


def _migrate_access(collected: Collected, access: Values) -> None:
    """Read the two switches of generation 5.0 as the rules that replaced them, and clear them."""
    rows: tuple[tuple[str, str, tuple[str, ...]], ...] = (
        ("deny_unresolved_connect", "connect_rule", (_NO_NAME_RULE,)),
        ("deny_unresolved_mailfrom", "mailfrom_rule", _UNRESOLVED_SENDER_RULES),
    )
    for switch, rule, rules in rows:
        if not access[switch]:
            continue
        present = access[rule]
        assert isinstance(present, tuple)
        access[switch] = False
        access[rule] = (*present, *rules)
        what = f"older parameter, read as {rule} {', '.join(repr(text) for text in rules)}"
        collected.note(Severity.WARNING, "access", switch, what)


def _adopt_cache_times(collected: Collected, resolve: Values) -> None:
    """Let the cache times of generation 5.0 count where the ones that replaced them were not given."""
    older, newer = (collected.tables.get((section, 0), {}) for section in ("timeouts", "resolve"))
    for name, replacement in OLDER_CACHE_TIMES.items():
        if name in older and replacement not in newer:
            resolve[replacement] = older[name].value


def _relay_rules(collected: Collected, data: dict[str, object], zones: list[Values]) -> list[Values]:
    by_name: dict[str, object] = {}
    for item, zone in zip(collected.items_of("network.zone"), zones, strict=True):
        name = str(zone["name"]).lower()
        if name in by_name:
            collected.note(Severity.ERROR, "network.zone", "name", f"{name!r} is given twice", item=item)
        by_name[name] = zone["addresses"]
    domains = _section(data, "network")["protected_domains"]
    assert isinstance(domains, tuple)
    protected = ["*" if is_everyone(domain) else f"*@{domain}" for domain in domains]
    lines = _section(data, "access")["relay_rule"]
    assert isinstance(lines, tuple)
    rules: list[Values] = []
    for line in lines:
        rule = parse_rule(line)
        clients: object = (rule.source,)
        if rule.source.startswith("@"):
            clients = by_name.get(rule.source[1:])
            if clients is None:
                what = f"unknown network {rule.source} in {line!r}"
                mend = f'Add a [[network.zone]] with name = "{rule.source[1:]}"'
                collected.note(Severity.ERROR, "access", "relay_rule", what, mend=mend)
                continue
        recipients = protected if rule.recipient == PROTECTED else [rule.recipient]
        rules.append({"allow": rule.allow, "clients": clients, "recipients": recipients})
    return rules


def _groups(collected: Collected, policy: Values) -> list[Values]:
    policy_given = collected.tables.get(("policy", 0), {})
    groups: list[Values] = []
    names: set[str] = set()
    for item in collected.items_of("group"):
        given = collected.tables.get(("group", item), {})
        name = str(given["name"].value) if "name" in given else ""
        _check_group(collected, item, name, names, given)
        names.add(name)
        own = {key: found.value for key, found in given.items()}
        defaults = {field.name: field.default for field in FIELDS["group"] if field.name in ("senders", "recipients")}
        values = policy | defaults | {key: value for key, value in own.items() if key not in defaults or value}
        groups.append(values | {"name": name} | _filters(given, policy_given))
    groups.append(policy | {"name": POLICY_GROUP} | _filters(policy_given))
    return groups


def _filters(*tables: Mapping[str, Given]) -> dict[str, bool]:
    """Return which filters somebody asked for; an empty value asks for nothing."""

    def asked(names: tuple[str, ...]) -> bool:
        return any(name in table and bool(table[name].value) for table in tables for name in names)

    return {"filters_names": asked(NAME_FILTERS), "filters_types": asked(TYPE_FILTERS)}


def _check_group(collected: Collected, item: int, name: str, names: set[str], given: Mapping[str, Given]) -> None:
    if not name:
        collected.note(Severity.ERROR, "group", "name", "a group needs a name", item=item)
    elif name in names or name.lower() == POLICY_GROUP:
        mend = "Rename or merge them; the policy itself has the name 'policy'"
        collected.note(Severity.ERROR, "group", "name", f"group {name!r} is given twice", item=item, mend=mend)
    if not any(side in given and given[side].value for side in ("senders", "recipients", "directions")):
        what = f"group {name!r} has neither senders nor recipients"
        mend = "Add at least one mask; what is for everyone belongs into the policy"
        collected.note(Severity.ERROR, "group", "", what, item=item, mend=mend)
