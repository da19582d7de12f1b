"""The configuration that `gatepost setup` makes of answers: the shipped default, or the file there is, with edits.

Used by `cli.setup`. Pure. One way for both: what the configuration says already is compared with the answers, and only
what differs is edited, so a second run changes nothing and an administrator's own settings and comments stay.
"""

from pathlib import Path, PurePath

import msgspec

from gatepost.cli.setup_checks import Texts
from gatepost.cli.setup_questions import Answers, Role
from gatepost.config.default import build_default_config
from gatepost.config.doors import Door, DoorKind
from gatepost.config.dump import next_hop_text
from gatepost.config.editing import Change, Model, Verb, build_model, edit
from gatepost.config.load import Loaded, load_text
from gatepost.config.schema import Config
from gatepost.config.toml import read_toml

ZONE = "local"
"""Zone of our own networks in the shipped configuration, `@local` in its relay rules."""
_EVERYBODY = "*"
UDS_KEY = "uds.key"
"""Our key for UDS servers, beside the configuration."""
STATE_PATH = "/var/lib/gatepost"


def plan_configuration(before: str | None, file: Path, answers: Answers, state_path: str = STATE_PATH) -> str:
    """Return the text of the configuration: `before` with what the answers change; without one the default.

    EditError: the file is written in a way that cannot be edited. `state_path` counts for a new file.
    """
    text = before
    if text is None:
        text = build_default_config(
            state_path=state_path,
            hostname=answers.hostname,
            listen=(answers.listen or ("0.0.0.0:25",))[0],
            next_hop=answers.forward_host,
            protected_domains=answers.protected_domains,
            postmaster=answers.postmaster,
        )
    loaded = load_text(text, str(file))
    assert loaded.config is not None, "whoever calls has looked"
    changes = _differences(loaded.config, build_model(read_toml(text, str(file))), answers, file)
    return edit(text, str(file), changes) if changes else text


def read_configured(defaults: Answers, loaded: Loaded) -> Answers:
    """Return the answers that a configuration amounts to, over defaults for what it does not say."""
    config = loaded.config
    assert config is not None, "whoever calls has looked"
    options = config.updater.options
    networks = next((zone.addresses for zone in config.zones if zone.name == ZONE), ())
    return msgspec.structs.replace(
        defaults,
        hostname=config.network.hostname,
        role=Role.RELAY if config.listeners else Role.SERVER,
        protected_domains=config.network.protected_domains,
        postmaster=config.network.postmaster,
        listen=tuple(listener.address for listener in config.listeners),
        local_networks=networks,
        doors=tuple(map(_door_text, config.doors)),
        forward_host=_forward_host(config),
        proxy=options.proxy_address,
        licence_mode=config.licence.license_mode,
        licence_issuers=config.licence.issuers,
        update_source=options.update_server_url,
        trusted_keys=config.ave.trusted_keys,
        uds_consent=config.antispam.filter_uds_enabled,
        uds_servers=config.uds.server,
        console=config.console.enabled,
        console_listen=config.console.listen,
    )


def _door_text(door: Door) -> str:
    return f"{door.kind.value} {door.address}" + (f" {door.next_hop}" if door.kind is DoorKind.PROXY else "")


def _forward_host(config: Config) -> str:
    for route in config.routes:
        if route.mask in {_EVERYBODY, "*@*"}:
            return next_hop_text(route.hops[0])
    return ""


def _differences(config: Config, model: Model, answers: Answers, file: Path) -> list[Change]:
    changes = _plain(config, answers, file)
    changes += _zone(model, answers)
    changes += _listeners(config, model, answers.listen if answers.role is Role.RELAY else ())
    changes += _doors(config, model, answers.doors)
    return changes + _route(config, model, answers.forward_host)


def _plain(config: Config, answers: Answers, file: Path) -> list[Change]:
    """Return what changes in sections that are there once."""
    options, uds = config.updater.options, config.uds
    wanted: list[tuple[str, str, object, bool | str | Texts]] = [
        ("network", "hostname", config.network.hostname, answers.hostname),
        ("network", "postmaster", config.network.postmaster, answers.postmaster),
        ("network", "protected_domains", config.network.protected_domains, answers.protected_domains),
        ("licence", "license_mode", config.licence.license_mode, answers.licence_mode.value),
        ("licence", "issuers", config.licence.issuers, answers.licence_issuers),
        ("updater.options", "proxy_address", options.proxy_address, answers.proxy),
        ("updater.options", "update_server_url", options.update_server_url, answers.update_source),
        ("ave", "trusted_keys", config.ave.trusted_keys, answers.trusted_keys),
        ("antispam", "filter_uds_enabled", config.antispam.filter_uds_enabled, answers.uds_consent),
        ("uds", "server", uds.server, answers.uds_servers),
        ("console", "enabled", config.console.enabled, answers.console),
    ]
    if answers.update_source:
        wanted.append(("updater.options", "use_update_server_url", options.use_update_server_url, True))
    if answers.uds_consent and answers.uds_servers and not uds.key_file:
        wanted.append(("uds", "key_file", uds.key_file, str(PurePath(file).parent / UDS_KEY)))
    if answers.console:
        wanted.append(("console", "listen", config.console.listen, answers.console_listen))
    return [_set(section, name, new) for section, name, now, new in wanted if now != new]


def _set(section: str, name: str, value: bool | str | Texts, item: int = 0) -> Change:
    if value in ("", ()) and section != "network":
        return Change(section, name, Verb.UNSET, item=item)
    return Change(section, name, value=list(value) if isinstance(value, tuple) else value, item=item)


def _tables(model: Model, section: str) -> list[dict[str, object]]:
    return model.get(section, [])


def _zone(model: Model, answers: Answers) -> list[Change]:
    zones = _tables(model, "network.zone")
    wanted = list(answers.local_networks)
    for item, zone in enumerate(zones):
        if zone.get("name") == ZONE:
            return [] if zone.get("addresses") == wanted else [_set("network.zone", "addresses", tuple(wanted), item)]
    if not wanted:
        return []
    return [
        Change("network.zone", verb=Verb.ADD, item=-1, value=ZONE),
        Change("network.zone", "addresses", value=wanted, item=len(zones)),
    ]


def _listeners(config: Config, model: Model, wanted: Texts) -> list[Change]:
    """Return what closes and opens endpoints; those that stay keep all that is said of them."""
    now = tuple(listener.address for listener in config.listeners)
    if set(now) == set(wanted):
        return []
    tables = _tables(model, "listener")
    changes = [
        Change("listener", verb=Verb.REMOVE, item=item)
        for item in reversed(range(len(tables)))
        if tables[item].get("address") not in wanted
    ]
    left = len(tables) - len(changes)
    in_tables = {table.get("address") for table in tables}
    added = [address for address in wanted if address not in now]
    for number, address in enumerate(added):
        changes.append(Change("listener", verb=Verb.ADD, item=-1))
        changes.append(Change("listener", "address", value=address, item=left + number))
    # Endpoints of `listen_on`, and its default where there are no tables.
    said = any("listen_on" in table for table in _tables(model, "network"))
    kept = [address for address in now if address in wanted and address not in in_tables]
    if said or not wanted:
        changes.append(Change("network", "listen_on", value=kept))
    return changes


def _doors(config: Config, model: Model, wanted: Texts) -> list[Change]:
    now = [_door_text(door) for door in config.doors]
    changes = [
        Change("door", verb=Verb.REMOVE, item=item) for item in reversed(range(len(now))) if now[item] not in wanted
    ]
    left = len(_tables(model, "door")) - len(changes)
    for number, text in enumerate(each for each in wanted if each not in now):
        item = left + number
        kind, address, *rest = text.split()
        changes.append(Change("door", verb=Verb.ADD, item=-1))
        changes.append(Change("door", "kind", value=kind, item=item))
        changes.append(Change("door", "address", value=address, item=item))
        changes += [Change("door", "next_hop", value=each, item=item) for each in rest]
    return changes


def _route(config: Config, model: Model, wanted: str) -> list[Change]:
    if _forward_host(config) == wanted:
        return []
    tables = _tables(model, "route")
    for item, table in enumerate(tables):
        if table.get("recipients") in ([_EVERYBODY], _EVERYBODY, ["*@*"]):
            if not wanted:
                return [Change("route", verb=Verb.REMOVE, item=item)]
            return [Change("route", "next_hop", value=[wanted], item=item)]
    return [
        Change("route", verb=Verb.ADD, item=-1),
        Change("route", "recipients", value=[_EVERYBODY], item=len(tables)),
        Change("route", "next_hop", value=[wanted], item=len(tables)),
    ]
