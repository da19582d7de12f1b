"""The administrator's own texts in the place of those of the product: files in one directory, by name and language.

They are what a group says where its parameters name no file. `with_own_texts` puts them into a configuration, for the
master (`master.settings`); `master.own_texts` writes them. Names and languages are of a closed set: no path comes from
outside.
"""

import os
from pathlib import Path
from typing import Any, Final

import msgspec

from gatepost.config.grouping import LANGUAGES
from gatepost.config.schema import Config
from gatepost.notices.template import ENGLISH

DIRECTORY: Final = "own-texts"
"""Below the state directory."""


class TextKind(msgspec.Struct, frozen=True):
    """A text of the product that can be replaced."""

    name: str
    """Of its shipped template."""
    title: str
    parameter: str
    """Of a group, or of the section of options, that names a file of its own."""
    languages: tuple[str, ...] = LANGUAGES
    html: bool = False


DELIVERY_REPORT: Final = TextKind("dsn", "Delivery report", "dsn_template", (ENGLISH,))
"""It goes to strangers: one for all groups."""
TEXT_KINDS: Final = (
    TextKind("notify-admin", "Notification to administrators", "notify_admin_template"),
    TextKind("notify-sender", "Notification to the sender", "notify_sender_template"),
    TextKind("notify-recipient", "Notification to recipients", "notify_recipient_template"),
    TextKind("placeholder", "Placeholder of what was taken out", "placeholder_template"),
    TextKind("disclaimer", "Disclaimer", "disclaimer_template"),
    DELIVERY_REPORT,
    TextKind("digest", "Digest of kept spam, text", "digest_template"),
    TextKind("digest-html", "Digest of kept spam, HTML", "digest_html_template", html=True),
)


def find_kind(name: str, language: str) -> TextKind | None:
    """Return the kind of this name when it is there in this language."""
    return next((kind for kind in TEXT_KINDS if kind.name == name and language in kind.languages), None)


def own_path(directory: Path, kind: TextKind, language: str) -> Path:
    """Return where the own text of a kind lies."""
    return directory / language / f"{kind.name}.tmpl"


def with_own_texts(config: Config) -> Config:
    """Return a configuration whose groups name the own texts that there are; what names a file already stays."""
    directory = Path(config.relay.state_path) / DIRECTORY
    found = {
        (kind.parameter, language): str(path)
        for kind in TEXT_KINDS
        for language in kind.languages
        if os.path.lexists(path := own_path(directory, kind, language))
    }
    if not found:
        return config
    groups = []
    for group in config.groups:
        named = {
            parameter: path
            for (parameter, language), path in found.items()
            if parameter != DELIVERY_REPORT.parameter
            and language == group.text_language
            and not getattr(group, parameter)
        }
        groups.append(msgspec.structs.replace(group, **named))
    changes: dict[str, Any] = {"groups": tuple(groups)}
    report = found.get((DELIVERY_REPORT.parameter, ENGLISH))
    if report and not config.options.dsn_template:
        changes["options"] = msgspec.structs.replace(config.options, dsn_template=report)
    return msgspec.structs.replace(config, **changes)
