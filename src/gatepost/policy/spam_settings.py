"""What one group wants of anti-spam, compiled: `SpamPolicy`. Made by `policy.group` at start and reload.

Who asks: `policy.spam` decides by it, `policy.group` says with it what the filter has to look for, the relay which
network checks are of use to anybody.
"""

import zlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from gatepost.config import spam_actions
from gatepost.config.grouping import POLICY_GROUP, Group
from gatepost.config.services import Antispam, Preset
from gatepost.model.spam import SPAM_FIRST, VIRUS_FIRST, Method, SpamOptions, SpamStatus
from gatepost.model.verdict import SpamActions, SpamEnd
from gatepost.notices.spam_fields import FieldSettings
from gatepost.policy.lists import SenderList

LEVELS: Final[Mapping[str, tuple[int, int]]] = {
    "minimum": (100, 80),
    "standard": (90, 60),
    "high": (80, 50),
    "maximum": (70, 40),
}
"""Ratings from which a message is Spam and Probable Spam (specification antispam.md §3)."""
_OLDER_LEVELS: Final = {"soft": "minimum", "hard": "high"}
NEVER: Final = 101
"""Above every rating."""
_GROUP_IDS: Final = 100_000_000
"""Group ids have eight digits."""
_ENDS: Final = {
    spam_actions.BLOCK: SpamEnd.BLOCK,
    spam_actions.REJECT: SpamEnd.REJECT,
    spam_actions.DELETE: SpamEnd.DELETE,
}


class SpamPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Anti-spam of one group. Without arguments: nothing is done, and nothing is told."""

    check: bool = False
    """False: every message is Trusted."""
    protected: bool = True
    """False: the recipients are not ours, nothing is checked for them."""
    processed: bool = True
    """False: the licence does not allow it (row F-ASD-06), nothing is checked."""
    headers: bool = False
    """Fields of ours are added."""
    authentication_results: bool = False
    """The field of RFC 8601 is added."""
    level: str = "standard"
    spam_at: int = 90
    probable_at: int = 60
    methods: frozenset[Method] = frozenset()
    """Methods whose signs count."""
    unused: frozenset[Method] = frozenset(Method)
    """The others."""
    lists: bool = False
    """One of the two lists below has entries."""
    white: SenderList = SenderList(())
    black: SenderList = SenderList(())
    eastern: frozenset[str] = frozenset()
    """Encodings that are suspicious."""
    actions: Mapping[SpamStatus, SpamActions] = MappingProxyType({})
    """Without an entry: the message is delivered as it is."""
    obscene: SpamActions = SpamActions()
    labels: Mapping[SpamStatus, str] = MappingProxyType({})
    seminars_label: str = ""
    """Of Probable Spam that invites to seminars."""
    obscene_label: str = ""
    quarantined: frozenset[SpamStatus] = frozenset()
    """Statuses of which a copy goes into the spam quarantine whatever the actions are."""
    quarantine_obscene: bool = False
    fields: FieldSettings = FieldSettings("X-SpamTest", "00000000")
    reject_text: str = ""
    bounce_text: str = ""
    options: SpamOptions | None = None
    """What the filter has to look for; None: nothing."""

    @classmethod
    def from_config(cls, group: Group, antispam: Antispam) -> "SpamPolicy":
        """Compile a resolved group. ValueError: an entry of a list is faulty, which the reader of the file tells."""
        spam_at, probable_at = LEVELS[_OLDER_LEVELS.get(group.spam_level, group.spam_level)]
        methods = _methods(group, antispam)
        used = group.use_lists
        white = SenderList((*antispam.white_list, *group.white_list) if used else ())
        black = SenderList((*antispam.black_list, *group.black_list) if used else ())
        quarantined = group.save_in_quarantine
        obscene = build_actions(group.action_obscene)
        if not group.mark_obscene:
            obscene = msgspec.structs.replace(obscene, mark=False)
        return cls(
            check=group.check_spam,
            headers=group.spam_headers,
            authentication_results=group.add_authentication_results,
            level=group.spam_level,
            spam_at=spam_at,
            probable_at=probable_at if group.assign_probable_spam else NEVER,
            methods=methods,
            unused=frozenset(Method) - methods,
            lists=not (white.empty and black.empty),
            white=white,
            black=black,
            eastern=frozenset(
                name
                for name in ("chinese", "korean", "thai", "japanese")
                if getattr(group, f"eastern_{name}") == "suspicious"
            ),
            actions={
                SpamStatus.SPAM: build_actions(group.action_spam),
                SpamStatus.PROBABLE_SPAM: build_actions(group.action_probable_spam),
                SpamStatus.FORMAL: build_actions(group.action_formal),
                SpamStatus.BLACKLISTED: build_actions(group.action_blacklisted),
            },
            obscene=obscene,
            labels={
                SpamStatus.SPAM: group.subject_spam,
                SpamStatus.PROBABLE_SPAM: group.subject_probable_spam,
                SpamStatus.FORMAL: group.subject_formal,
                SpamStatus.BLACKLISTED: group.subject_blacklisted,
            },
            seminars_label=group.subject_seminars,
            obscene_label=group.subject_obscene,
            quarantined=frozenset(each for each in SpamStatus if each.value in quarantined),
            quarantine_obscene="obscene" in quarantined,
            fields=FieldSettings(antispam.header_prefix, group_id(group.name), group.spam_header_text),
            reject_text=group.reject_text,
            bounce_text=group.bounce_text,
            options=SpamOptions(
                header_prefix=antispam.header_prefix,
                office=antispam.filter_parse_ms_office,
                headers=group.use_headers,
                content=group.use_content,
                images=group.use_images,
                uds=Method.UDS in methods,
                first=antispam.preset is Preset.SPEED,
                order=VIRUS_FIRST if antispam.preset is Preset.PROTECTION else SPAM_FIRST,
                authn=group.use_authentication,
            )
            if group.check_spam
            else None,
        )

    def unprotected(self) -> "SpamPolicy":
        """Return what holds for recipients elsewhere: nothing is checked."""
        return msgspec.structs.replace(self, check=False, protected=False, options=None)

    def unprocessed(self) -> "SpamPolicy":
        """Return what holds while the licence does not allow anti-spam: nothing is checked."""
        return msgspec.structs.replace(self, check=False, processed=False, options=None, methods=frozenset())


def group_id(name: str) -> str:
    """Return the eight digits that stand for a group in header fields: the same as long as it keeps its name."""
    return "00000000" if name == POLICY_GROUP else f"{zlib.crc32(name.encode()) % (_GROUP_IDS - 1) + 1:08}"


def build_actions(texts: tuple[str, ...]) -> SpamActions:
    """Return the actions of one status; the configuration's reader has seen to it that they fit together."""
    words = frozenset(texts)
    redirect = _addresses(texts, spam_actions.REDIRECT)
    end = max((_ENDS[word] for word in words if word in _ENDS), default=SpamEnd.DELIVER)
    return SpamActions(
        end=max(end, SpamEnd.REDIRECT) if redirect else end,
        mark=spam_actions.MARK in words,
        keywords=spam_actions.KEYWORDS in words,
        quarantine=spam_actions.QUARANTINE in words,
        copies=_addresses(texts, spam_actions.COPY),
        redirect=redirect,
    )


def join_actions(first: SpamActions, second: SpamActions) -> SpamActions:
    """Return what does both: of two ends the stronger."""
    end = max(first.end, second.end)
    return SpamActions(
        end=end,
        mark=first.mark or second.mark,
        keywords=first.keywords or second.keywords,
        quarantine=first.quarantine or second.quarantine,
        copies=tuple(dict.fromkeys(first.copies + second.copies)),
        redirect=tuple(dict.fromkeys(first.redirect + second.redirect)) if end is SpamEnd.REDIRECT else (),
    )


def join_options(wanted: list[SpamOptions]) -> SpamOptions | None:
    """Return what one look for all these groups has to see, None when nobody wants one."""
    if not wanted:
        return None
    first = wanted[0]
    if len(wanted) == 1 or all(options == first for options in wanted):
        return first
    return msgspec.structs.replace(
        first,
        office=any(options.office for options in wanted),
        headers=any(options.headers for options in wanted),
        content=any(options.content for options in wanted),
        images=any(options.images for options in wanted),
        uds=any(options.uds for options in wanted),
        authn=any(options.authn for options in wanted),
    )


def _addresses(texts: tuple[str, ...], word: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text.removeprefix(word) for text in texts if text.startswith(word)))


def _methods(group: Group, antispam: Antispam) -> frozenset[Method]:
    switches: tuple[tuple[bool, tuple[Method, ...]], ...] = (
        (group.use_lists, (Method.WHITE_IP, Method.WHITE_EMAIL, Method.BLACK_IP, Method.BLACK_EMAIL)),
        (group.use_headers, (Method.HEADERS, Method.HEADERS_PLUS)),
        (group.use_content, (Method.CONTENT,)),
        (group.use_learned, (Method.LEARNED,)),
        (group.use_images, (Method.IMAGES,)),
        (group.use_dnsbl, (Method.DNSBL,)),
        (group.use_reverse_dns, (Method.REVERSE_DNS,)),
        (group.use_spf, (Method.SPF,)),
        (group.use_authentication, (Method.DKIM, Method.DMARC, Method.ARC)),
        (group.use_surbl, (Method.SURBL,)),
        (group.use_uds and antispam.filter_uds_enabled, (Method.UDS,)),
        (group.use_reputation, (Method.REPUTATION,)),
    )
    if not group.check_spam:
        return frozenset()
    return frozenset(method for on, methods in switches if on for method in methods)
