"""The texts of one group: whom it notifies of what and in which words, and what it adds to messages. Pure but for
loading templates; made at start and reload, when a missing or faulty template is an error (row F-NOTI-09).
"""

import enum
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import msgspec

from gatepost.config.grouping import Group
from gatepost.model.finding import ObjectStatus
from gatepost.model.verdict import SignedEdits, SpamVerdict
from gatepost.notices.template import Template, load_template, shipped_template

OBSCENE = "obscene"
"""The flag, where it stands among statuses."""
_NOBODY: frozenset[ObjectStatus] = frozenset()


class Role(enum.StrEnum):
    """Whom a notification is for."""

    ADMIN = "admin"
    """The administrators of the group."""
    SENDER = "sender"
    """The envelope sender."""
    RECIPIENT = "recipient"
    """The group's recipients of the message."""


class GroupTexts(msgspec.Struct, frozen=True, kw_only=True):
    """What is told about the messages of one group, and what is added to them. Without arguments: nothing."""

    statuses: Mapping[Role, frozenset[ObjectStatus]] = MappingProxyType({})
    """Statuses that each role is notified of; roles that are not are left out."""
    spam: frozenset[str] = frozenset()
    """Spam statuses, and `obscene`, that the administrators are notified of."""
    templates: Mapping[Role, Template] = MappingProxyType({})
    summary: Template | None = None
    """Text that sums up what was not told singly."""
    digest: tuple[Template, Template] | None = None
    """Of what is kept for a recipient: text and HTML."""
    admins: tuple[str, ...] = ()
    from_address: str = ""
    attach_original: bool = False
    """Administrators get the message as it was received."""
    add_header: bool = False
    """The scan-information field (row F-AV-22)."""
    disclaimer: Template | None = None
    edit_signed: SignedEdits = SignedEdits.HEADER

    @property
    def adds(self) -> bool:
        """Whether anything is added to messages."""
        return self.add_header or self.disclaimer is not None

    @property
    def needs_spots(self) -> bool:
        """Whether the filter must say where text can be added, or which signatures there are."""
        return self.disclaimer is not None or (self.add_header and self.edit_signed is SignedEdits.SKIP)

    @classmethod
    def from_config(cls, group: Group, *, load: Callable[[Path], Template] = load_template) -> "GroupTexts":
        """Compile a resolved group. TemplateError when one of its templates is missing or faulty, used or not."""

        def template(path: str, name: str) -> Template:
            return load(Path(path)) if path else shipped_template(name, group.text_language)

        statuses = {
            Role.ADMIN: frozenset(group.notify_admin),
            Role.SENDER: frozenset(group.notify_sender),
            Role.RECIPIENT: frozenset(group.notify_recipient),
        }
        disclaimer = template(group.disclaimer_template, "disclaimer")
        return cls(
            statuses={role: listed for role, listed in statuses.items() if listed},
            spam=frozenset(group.notify_admin_spam),
            templates={
                Role.ADMIN: template(group.notify_admin_template, "notify-admin"),
                Role.SENDER: template(group.notify_sender_template, "notify-sender"),
                Role.RECIPIENT: template(group.notify_recipient_template, "notify-recipient"),
            },
            summary=template(group.notify_summary_template, "notify-summary"),
            digest=(template(group.digest_template, "digest"), template(group.digest_html_template, "digest-html")),
            admins=group.admin_notify_address,
            from_address=group.notify_from_address,
            attach_original=group.attach_original_to_admin,
            add_header=group.add_x_headers,
            disclaimer=disclaimer if group.add_disclaimer else None,
            edit_signed=group.edit_signed,
        )

    def wants(self, role: Role, statuses: frozenset[ObjectStatus]) -> bool:
        """Tell whether a role is to hear of a message in which these statuses occurred."""
        return not statuses.isdisjoint(self.statuses.get(role, _NOBODY))

    def wants_spam(self, spam: SpamVerdict | None) -> bool:
        """Tell whether the administrators are to hear of a message for its spam verdict."""
        if not self.spam or spam is None or not spam.checked:
            return False
        return spam.status.value in self.spam or (spam.obscene and OBSCENE in self.spam)
