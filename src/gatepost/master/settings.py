"""What the master makes of a configuration before it is put in force: nothing automatic is left in it, and what relays
will compile from it has been compiled once.
"""

import os
from pathlib import Path

import msgspec

from gatepost.config.schema import Config
from gatepost.control.channel import LISTENERS_LIMIT
from gatepost.feeds.keys import BadKey, resolve_keys
from gatepost.notices.grammar import TemplateError
from gatepost.notices.own_texts import with_own_texts
from gatepost.notices.template import load_template
from gatepost.policy.group import GroupTable
from gatepost.relay.outgoing_tls import OutgoingTls
from gatepost.relay.tls import TlsSetupError, build_door_context, build_server_context


def compile_texts(config: Config) -> None:
    """Compile what relays will compile, so that a fault is found before anything changes. TemplateError for a text,
    TlsSetupError for a certificate or a file of authorities, shown or trusted by us in either direction.
    """
    config = with_own_texts(config)
    if config.options.dsn_template:
        load_template(Path(config.options.dsn_template))
    GroupTable.from_config(config.groups, config.ave, config.filter.filter_deadline, antispam=config.antispam)
    build_server_context(config)
    OutgoingTls(config)


def find_fault(config: Config) -> str:
    """Return what keeps a configuration from being used though it is well-formed: a text, certificate or key, or too
    many ports; "" for nothing. Reads the files it names, changes nothing.
    """
    count = len(config.listeners) + len(config.doors)
    if count > LISTENERS_LIMIT:
        return f"{count} listeners and doors: a gateway may have {LISTENERS_LIMIT}"
    try:
        compile_texts(config)
        for door in config.doors:
            build_door_context(config, door)
        resolve_keys(config.ave.trusted_keys)
    except TemplateError as error:
        return f"text template: {error}"
    except TlsSetupError as error:
        return str(error)
    except BadKey as error:
        return f"[ave] trusted_keys: {error}"
    return ""


def settle_automatic(config: Config) -> Config:
    """Replace the automatic values by those of this machine, and the product's texts by the own ones there are."""
    config = with_own_texts(config)
    cores = os.cpu_count() or 1
    relays = config.relay.relays or max(1, cores // 2)
    filters = max(config.filter.server_max_filters or max(2, cores), relays)  # every relay needs one
    filters = min(filters, config.limits.antiviral_sessions)  # each has one message, of which it scans one object
    return msgspec.structs.replace(
        config,
        relay=msgspec.structs.replace(config.relay, relays=relays),
        filter=msgspec.structs.replace(config.filter, server_max_filters=filters),
    )
