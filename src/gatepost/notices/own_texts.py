"""The administrator's own texts in the place of those of the product: files in one directory, by name and language,
for all groups or for one.

They are what a group says where its parameters name no file: its own one, else that of all groups. `with_own_texts`
puts them into a configuration, for the master (`master.settings`); `master.own_texts` writes them. Names and languages
are of a closed set, and a group's name is written so that it is one name of a directory: no path comes from outside.
"""

import hashlib
import os
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from gatepost.config.grouping import LANGUAGES, Group
from gatepost.config.schema import Config
from gatepost.notices.template import ENGLISH

DIRECTORY: Final = "own-texts"
"""Below the state directory."""
GROUPS: Final = "groups"
"""Below a language: what is one group's."""
FOLDER_LIMIT: Final = 120
"""Characters of a group's directory: file systems take 255 bytes, and names of versions are longer."""


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
    TextKind("notify-summary", "Sum of notifications", "notify_summary_template"),
    TextKind("placeholder", "Placeholder of what was taken out", "placeholder_template"),
    TextKind("disclaimer", "Disclaimer", "disclaimer_template"),
    DELIVERY_REPORT,
    TextKind("digest", "Digest of kept spam, text", "digest_template"),
    TextKind("digest-html", "Digest of kept spam, HTML", "digest_html_template", html=True),
)
GROUP_KINDS: Final = tuple(kind for kind in TEXT_KINDS if kind is not DELIVERY_REPORT)
"""What each group can say in its own way."""


def find_kind(name: str, language: str) -> TextKind | None:
    """Return the kind of this name when it is there in this language."""
    return next((kind for kind in TEXT_KINDS if kind.name == name and language in kind.languages), None)


def group_folder(group: str) -> str:
    """Return a group's name as that of a directory: readable, and another one for each group."""
    quoted = urllib.parse.quote(group, safe=" @+").replace(".", "%2E")
    if len(quoted) <= FOLDER_LIMIT:
        return quoted
    digest = hashlib.sha256(group.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"{quoted[: FOLDER_LIMIT - 33].rpartition('%')[0] or quoted[:80]}~{digest}"


def own_path(directory: Path, kind: TextKind, language: str, group: str = "") -> Path:
    """Return where the own text of a kind lies, for all groups or for one."""
    place = directory / language
    return (place / GROUPS / group_folder(group) if group else place) / f"{kind.name}.tmpl"


def with_own_texts(config: Config) -> Config:
    """Return a configuration whose groups name the own texts that there are; what names a file already stays."""
    directory = Path(config.relay.state_path) / DIRECTORY
    if not os.path.lexists(directory):
        return config
    general = {
        (kind.parameter, language): str(path)
        for kind in TEXT_KINDS
        for language in kind.languages
        if os.path.lexists(path := own_path(directory, kind, language))
    }
    changes: dict[str, Any] = {"groups": tuple(_with_own(group, directory, general) for group in config.groups)}
    report = general.get((DELIVERY_REPORT.parameter, ENGLISH))
    if report and not config.options.dsn_template:
        changes["options"] = msgspec.structs.replace(config.options, dsn_template=report)
    return msgspec.structs.replace(config, **changes)


def _with_own(group: Group, directory: Path, general: Mapping[tuple[str, str], str]) -> Group:
    language = group.text_language
    apart = os.path.lexists(directory / language / GROUPS / group_folder(group.name))
    named = {}
    for kind in GROUP_KINDS:
        if getattr(group, kind.parameter):
            continue
        path = own_path(directory, kind, language, group.name) if apart else None
        found = str(path) if path is not None and os.path.lexists(path) else general.get((kind.parameter, language))
        if found:
            named[kind.parameter] = found
    return msgspec.structs.replace(group, **named) if named else group
