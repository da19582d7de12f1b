"""A gateway on a configuration in the documented INI form: required parameters only, so every default is in force."""

from pathlib import Path

from tests.support.gateway import Gateway, free_port

PLACEHOLDER = "removed\n"
COMMON = ("path", "locale")
"""Sections without a prefix; the gateway's own section of paths is called `own path` here."""


class IniGateway(Gateway):
    """Like `Gateway`, from an INI file: `extra` lines by section, whole `sections` in place of ours, `tail` at the end."""

    def __init__(
        self,
        state: Path,
        sink_port: int,
        *,
        relays: int = 1,
        prefix: str = "mailgw.",
        extra: dict[str, list[str]] | None = None,
        sections: dict[str, list[str]] | None = None,
        tail: str = "",
        listeners: int = 1,
        name: str = "mailgw.conf",
    ) -> None:
        super().__init__(state, sink_port, relays=relays)
        self.config.unlink()
        self.config = state / name
        self.ports = [self.port, *(free_port() for _ in range(listeners - 1))]
        for template in ("dsn", "notify", "placeholder"):
            (state / f"{template}.tmpl").write_text(PLACEHOLDER)
        lines_of = self._sections(sink_port, relays) | (sections or {})
        for section, lines in (extra or {}).items():
            lines_of.setdefault(section, []).extend(lines)
        text = "".join(
            f"[{section if section in COMMON else prefix + section.removeprefix('own ')}]\n"
            + "".join(f"{line}\n" for line in lines)
            for section, lines in lines_of.items()
        )
        self.config.write_text(text + tail)

    def _sections(self, sink_port: int, relays: int) -> dict[str, list[str]]:
        state = self.state
        templates = [
            f"{name}Template={state}/notify.tmpl" for name in ("NotifyAdmin", "NotifyRecipient", "NotifySender")
        ]
        actions = ["ActionDisinfected=cure"]
        actions += [f"Action{status}=placeholder" for status in ("Infected", "Suspicious", "Protected", "Error")]
        return {
            "path": [f"BasesPath={state}/bases", f"LicensePath={state}/keys"],
            "locale": [],
            "relay": [f"StatePath={state}", f"Relays={relays}"],
            "access": [
                "RelayRule=allow from 127.0.0.0/8 to *",
                "RelayRule=deny from any to *",
            ],
            "ave": [],
            "forward": [f"ForwardRoute=* [127.0.0.1:{sink_port}]"],
            "limits": [],
            "network": [
                *(f"ListenOn=127.0.0.1:{port}" for port in self.ports),
                "Hostname=gw.example.org",
                "Postmaster=chief@example.org",
                "ProtectedDomains=example.org",
            ],
            "options": [f"LogFilename={self.log_file}", f"DSNTemplate={state}/dsn.tmpl"],
            "own path": [f"QueuePath={state}/queue", f"ControlPath={state}/control"],
            "timeouts": [],
            "resolve": [],
            "policy": [
                "Check=yes",
                "AdminNotifyAddress=admin@example.org",
                "NotifyFromAddress=gateway@example.org",
                f"BackupPath={state}/backup",
                f"QuarantinePath={state}/quarantine",
                *templates,
                f"PlaceholderTemplate={state}/placeholder.tmpl",
                *actions,
                "ActionFiltered=placeholder",
                "BlockMessage=infected",
            ],
        }
