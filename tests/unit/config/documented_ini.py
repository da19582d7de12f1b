"""A documented INI file with every required parameter, to be bent by the tests."""

SECTIONS: dict[str, dict[str, str]] = {
    "path": {"BasesPath": "/srv/gw/bases", "LicensePath": "/srv/gw/keys"},
    "locale": {},
    "mailgw.access": {"RelayRule": "deny from any to *"},
    "mailgw.ave": {},
    "mailgw.forward": {},
    "mailgw.limits": {},
    "mailgw.network": {
        "Hostname": "mx.corp.example",
        "Postmaster": "postmaster@corp.example",
        "ProtectedDomains": "corp.example",
    },
    "mailgw.options": {"DSNTemplate": "/srv/gw/dsn.tmpl"},
    "mailgw.path": {"QueuePath": "/srv/gw/queue", "ControlPath": "/srv/gw/control"},
    "mailgw.timeouts": {},
    "mailgw.resolve": {},
    "mailgw.policy": {
        "Check": "yes",
        "AdminNotifyAddress": "admin@corp.example",
        "NotifyFromAddress": "gateway@corp.example",
        "BackupPath": "/srv/gw/backup",
        "QuarantinePath": "/srv/gw/quarantine",
        "NotifyAdminTemplate": "/srv/gw/notify.tmpl",
        "NotifyRecipientTemplate": "/srv/gw/notify.tmpl",
        "NotifySenderTemplate": "/srv/gw/notify.tmpl",
        "PlaceholderTemplate": "/srv/gw/placeholder.tmpl",
        "ActionDisinfected": "cure",
        "ActionInfected": "remove",
        "ActionSuspicious": "remove",
        "ActionProtected": "placeholder",
        "ActionError": "pass",
        "ActionFiltered": "remove",
    },
}


def ini_text(changes: dict[str, str | None] | None = None, extra: str = "") -> str:
    """The file with `{"section.Name": value}` changed (None removes the line) and text appended."""
    sections = {name: dict(values) for name, values in SECTIONS.items()}
    for key, value in (changes or {}).items():
        section, _, name = key.rpartition(".")
        if value is None:
            del sections[section][name]
        else:
            sections.setdefault(section, {})[name] = value
    lines = []
    for section, values in sections.items():
        lines += [f"[{section}]", *(f"{name}={value}" for name, value in values.items())]
    return "\n".join(lines) + "\n" + extra
