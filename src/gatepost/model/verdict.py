"""Verdict and disposition: what policy decided for one group, and what is to be done."""

import enum

import msgspec

from gatepost.model.finding import ObjectStatus
from gatepost.model.profile import RuleOutcome
from gatepost.model.spam import Method, Sign, SpamStatus


class ObjectAction(enum.StrEnum):
    """Basic actions on one object (specification antivirus.md §5)."""

    PASS = "pass"
    CURE = "cure"
    REMOVE = "remove"
    PLACEHOLDER = "placeholder"


class SignedEdits(enum.StrEnum):
    """What is added to a message that is signed (DKIM) by somebody. What is malware goes all the same."""

    HEADER = "header"
    """Header fields of ours in front: the signature still holds."""
    EDIT = "edit"
    """As to any other message: the signature breaks, which the record says."""
    SKIP = "skip"
    """Nothing."""


class EncryptedMail(enum.StrEnum):
    """What becomes of what its recipient alone can decrypt (S/MIME, OpenPGP), and nobody on the way can scan."""

    PASS = "pass"
    """It goes on as it is, and the verdict names it."""
    PROTECTED = "protected"
    """It has that status, as what a password keeps shut."""


class ObjectDecision(msgspec.Struct, frozen=True, array_like=True):
    """What happens to one object, and why."""

    index: int
    """Index in `Analysis.objects`."""
    status: ObjectStatus
    """Status as this group sees it (its filters and its Cure setting applied)."""
    action: ObjectAction
    name: str = ""
    threat: str = ""


class SpamEnd(enum.IntEnum):
    """What becomes of a group's copy by its spam status; of two the stronger holds."""

    DELIVER = 0
    REDIRECT = 1
    """To other addresses instead."""
    BLOCK = 2
    """Not delivered, which the log tells."""
    REJECT = 3
    """Refused: in the session, else by a report to senders who are known to be who they say, else as BLOCK, kept."""
    DELETE = 4
    """Dropped without a word to anybody."""


class SpamActions(msgspec.Struct, frozen=True):
    """What a group does with the mail of one spam status (specification antispam.md §4)."""

    end: SpamEnd = SpamEnd.DELIVER
    mark: bool = False
    """Label in front of the subject."""
    keywords: bool = False
    """Keywords field with status and categories in place of what was there."""
    quarantine: bool = False
    copies: tuple[str, ...] = ()
    """Addresses that get a copy besides."""
    redirect: tuple[str, ...] = ()
    """REDIRECT: addresses."""


class SpamVerdict(msgspec.Struct, frozen=True):
    """What one group makes of the signs."""

    status: SpamStatus
    rate: int = 0
    """Rating in whole percent."""
    methods: tuple[Method, ...] = ()
    """Those that decided, the heaviest first."""
    details: tuple[str, ...] = ()
    """Documented detail tokens of the signs that count."""
    signs: tuple[Sign, ...] = ()
    """Signs that count for this group."""
    categories: tuple[str, ...] = ()
    formal: str = ""
    obscene: bool = False
    info: str = ""
    """Words for the info field."""
    reason: str = ""
    """In one sentence; "" when nothing was found."""
    actions: SpamActions = SpamActions()
    labels: tuple[str, ...] = ()
    """Subject labels, in their order."""
    checked: bool = True
    """False: anti-spam is switched off for this mail."""
    shown: bool = True
    """False: the group adds no fields about spam."""

    @property
    def withheld(self) -> bool:
        """Whether the recipients do not get the message."""
        return self.actions.end >= SpamEnd.BLOCK


class Verdict(msgspec.Struct, frozen=True):
    """The decision for one group: statuses that occurred, decisions on the objects that are not clean, blocking."""

    group: str
    statuses: tuple[ObjectStatus, ...]
    """Worst first; (clean,) when nothing was found; () when the group does not scan."""
    decisions: tuple[ObjectDecision, ...] = ()
    """Only objects whose status is not clean."""
    blocked: bool = False
    """Not delivered because of its objects."""
    reason: str = ""
    """Of the objects, in one sentence, for log and trace."""
    spam: SpamVerdict | None = None
    """None: anti-spam has nothing to say of it."""
    rules: RuleOutcome | None = None
    """What the administrator's rules have decided besides; None: none are in force, or none held. Where they end its
    way, `spam` says so."""
    encrypted: tuple[str, ...] = ()
    """How that is encrypted which goes on without having been scanned (`model.finding.ENCRYPTIONS`), since its
    recipient alone can decrypt it and the group lets it pass."""

    @property
    def withheld(self) -> bool:
        """Whether the group's recipients do not get the message, for its objects or as spam."""
        return self.blocked or (self.spam is not None and self.spam.withheld)

    @property
    def words(self) -> tuple[str, ...]:
        """Statuses of both kinds, as stores and texts name them: objects first; nothing of spam when there is none."""
        spam = self.spam
        told = spam is not None and spam.status in NOTABLE
        return tuple(each.value for each in self.statuses) + ((spam.status.value,) if told and spam else ())

    @property
    def explanation(self) -> str:
        """Why it is what it is, in one line: objects, then spam."""
        spam = self.spam.reason if self.spam is not None else ""
        return "; ".join(part for part in (self.reason if self.decisions or not spam else "", spam) if part)


NOTABLE = frozenset((SpamStatus.SPAM, SpamStatus.PROBABLE_SPAM, SpamStatus.FORMAL, SpamStatus.BLACKLISTED))
"""Spam statuses that say something against a message."""


class Splice(msgspec.Struct, frozen=True, array_like=True):
    """Replace bytes [start, end) of the received content by `data`. Insertions have start == end."""

    start: int
    end: int
    data: bytes
