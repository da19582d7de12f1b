"""The policy and the groups: what is done with mail between certain senders and recipients.

`Policy` holds every parameter a group may set; `Group` adds who is in it. The assembler hands out groups fully
resolved: what a group leaves out has the policy's value (F-GRP-04).
"""

from typing import Annotated

import msgspec

from gatepost.config.parameter import (
    LATER,
    OWN,
    Item,
    Required,
    choice,
    count,
    duration,
    flag,
    listing,
    path,
    statuses,
    text,
)
from gatepost.model.envelope import Direction
from gatepost.model.finding import ObjectStatus
from gatepost.model.verdict import EncryptedMail, ObjectAction, SignedEdits

Texts = tuple[str, ...]
Statuses = tuple[ObjectStatus, ...]

POLICY_GROUP = "policy"
"""Name of the implicit last group, and the word in the log."""

BAD_STATUSES = tuple(
    status.value
    for status in (
        ObjectStatus.DISINFECTED,
        ObjectStatus.INFECTED,
        ObjectStatus.SUSPICIOUS,
        ObjectStatus.PROTECTED,
        ObjectStatus.ERROR,
        ObjectStatus.FILTERED,
    )
)
DIRECTIONS = tuple(direction.value for direction in Direction)
SPAM_STATUSES = ("spam", "probable_spam", "formal", "blacklisted", "trusted", "not_detected", "obscene")

LANGUAGES = ("en", "ru")
"""Languages that the product's own texts are shipped in."""

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

NAME_FILTERS = ("include_by_name", "exclude_by_name")
TYPE_FILTERS = ("include_by_mime", "exclude_by_mime")
FILTER_MASKS = NAME_FILTERS + TYPE_FILTERS
"""Parameters of the object filters: each half is active only when one of its two is set."""

SPAM_ACTIONS = (
    "action_spam",
    "action_probable_spam",
    "action_formal",
    "action_blacklisted",
    "action_obscene",
)
"""Parameters that hold actions on mail of a spam status."""

_OBJECT_ACTIONS = ("pass", "remove", "placeholder")
_CURE_ACTIONS = ("cure", *_OBJECT_ACTIONS)
_SPAM_LEVELS = ("minimum", "standard", "high", "maximum", "soft", "hard")
_ENCODING = ("allowed", "suspicious")
_REQ = Required.INI


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can differ from group to group."""

    check: Annotated[bool, flag("Check", "anti-virus scanning", required=_REQ)] = True
    admin_notify_address: Annotated[
        Texts,
        listing(
            "AdminNotifyAddress", Item.ADDRESS, "administrators of the group", required=_REQ, derived="{postmaster}"
        ),
    ] = ()
    notify_from_address: Annotated[
        str,
        text(
            "NotifyFromAddress",
            "sender shown in notifications",
            item=Item.ADDRESS,
            required=_REQ,
            derived="{postmaster}",
        ),
    ] = ""
    backup_path: Annotated[
        str,
        path(
            "BackupPath",
            "backup storage",
            required=_REQ,
            generations="G50 G55",
            derived="{state}/backup",
        ),
    ] = ""
    quarantine_path: Annotated[
        str,
        path("QuarantinePath", "anti-virus quarantine", required=_REQ, derived="{state}/quarantine"),
    ] = ""
    include_by_name: Annotated[
        Texts, listing("IncludeByName", Item.NAME_MASK, "objects with such a file name are filtered")
    ] = ("*",)
    exclude_by_name: Annotated[Texts, listing("ExcludeByName", Item.NAME_MASK, "exceptions to include_by_name")] = ()
    include_by_mime: Annotated[
        Texts,
        listing("IncludeByMime", Item.MIME_MASK, "objects of such a type are filtered", aliases=("IncludeByType",)),
    ] = ("*",)
    exclude_by_mime: Annotated[
        Texts,
        listing("ExcludeByMime", Item.MIME_MASK, "exceptions to include_by_mime", aliases=("ExcludeByType",)),
    ] = ()
    filter_inside_archives: Annotated[
        bool, flag("FilterInsideArchives", "filter the members of archives by name, too", generations=LATER)
    ] = False
    notify_admin_template: Annotated[
        str,
        path(
            "NotifyAdminTemplate",
            "notification to administrators; empty = the built-in one",
            required=_REQ,
            generations="G50 G55",
        ),
    ] = ""
    notify_recipient_template: Annotated[
        str,
        path(
            "NotifyRecipientTemplate",
            "notification to recipients; empty = the built-in one",
            required=_REQ,
            generations="G50 G55",
        ),
    ] = ""
    notify_sender_template: Annotated[
        str,
        path(
            "NotifySenderTemplate",
            "notification to the sender; empty = the built-in one",
            required=_REQ,
            generations="G50 G55",
        ),
    ] = ""
    notify_summary_template: Annotated[
        str, path("", "sum of the notifications one address was spared; empty = the built-in one", generations=OWN)
    ] = ""
    placeholder_template: Annotated[
        str,
        path(
            "PlaceholderTemplate",
            "text in place of an object; empty = the built-in one",
            required=_REQ,
            generations="G50 G55",
        ),
    ] = ""
    action_disinfected: Annotated[
        ObjectAction, choice("ActionDisinfected", _CURE_ACTIONS, "object disinfected", required=_REQ)
    ] = ObjectAction.CURE
    action_infected: Annotated[
        ObjectAction, choice("ActionInfected", _OBJECT_ACTIONS, "object infected, not disinfected", required=_REQ)
    ] = ObjectAction.PLACEHOLDER
    action_suspicious: Annotated[
        ObjectAction, choice("ActionSuspicious", _OBJECT_ACTIONS, "object suspicious", required=_REQ)
    ] = ObjectAction.PLACEHOLDER
    action_protected: Annotated[
        ObjectAction, choice("ActionProtected", _OBJECT_ACTIONS, "object protected by a password", required=_REQ)
    ] = ObjectAction.PLACEHOLDER
    encrypted_mail: Annotated[
        EncryptedMail,
        choice(
            "",
            tuple(EncryptedMail),
            "what is encrypted for its recipient (S/MIME, OpenPGP), and so not scanned: passed on, or `protected`",
            generations=OWN,
        ),
    ] = EncryptedMail.PASS
    action_error: Annotated[
        ObjectAction,
        choice("ActionError", _OBJECT_ACTIONS, "object corrupt, over a limit or not scanned", required=_REQ),
    ] = ObjectAction.PLACEHOLDER
    action_filtered: Annotated[
        ObjectAction, choice("ActionFiltered", _CURE_ACTIONS, "object filtered by name or type", required=_REQ)
    ] = ObjectAction.PLACEHOLDER
    block_message: Annotated[
        Statuses, statuses("BlockMessage", BAD_STATUSES, "do not deliver a message with such an object")
    ] = ()
    notify_admin: Annotated[Statuses, statuses("NotifyAdmin", BAD_STATUSES, "notify the administrators")] = ()
    notify_recipient: Annotated[
        Statuses,
        statuses("NotifyRecipient", BAD_STATUSES, "notify the recipients", aliases=("NotifyRecepient",)),
    ] = ()
    notify_sender: Annotated[Statuses, statuses("NotifySender", BAD_STATUSES, "notify the sender")] = ()
    save_in_qb: Annotated[
        Statuses,
        statuses(
            "SaveInQB",
            BAD_STATUSES,
            "save the original: infected to quarantine, others to backup",
            generations="G50 G55",
        ),
    ] = ()
    save_in_quarantine: Annotated[
        Texts,
        statuses(
            "SaveInQuarantine",
            BAD_STATUSES + SPAM_STATUSES,
            "put a copy into quarantine",
            generations="M55 M56",
        ),
    ] = ()
    keep_originals: Annotated[
        bool,
        flag(
            "",
            "put the original of a message that was changed or blocked for what was found into backup, unless a list "
            "above has saved it",
            generations=OWN,
        ),
    ] = True
    attach_original_to_admin: Annotated[
        bool,
        flag("AttachOriginalToAdmin", "administrators get the unchanged original", generations="G50"),
    ] = False
    add_x_headers: Annotated[bool, flag("AddXHeaders", "add the scan-information field", generations=LATER)] = False
    add_disclaimer: Annotated[bool, flag("AddDisclaimer", "append the disclaimer", generations="G55")] = False
    disclaimer_template: Annotated[
        str,
        path(
            "DisclaimerTemplate",
            "text of the disclaimer; empty = the built-in one",
            generations="G55",
        ),
    ] = ""
    edit_signed: Annotated[
        SignedEdits,
        choice(
            "",
            tuple(SignedEdits),
            "what is added to DKIM-signed mail: header fields only, everything (the signature breaks), or nothing",
            generations=OWN,
        ),
    ] = SignedEdits.HEADER
    text_language: Annotated[
        str,
        choice("", LANGUAGES, "language of the built-in texts of the group", generations=OWN),
    ] = LANGUAGES[0]
    check_spam: Annotated[bool, flag("CheckSpam", "anti-spam checks", generations="M55 M56")] = True
    spam_level: Annotated[str, choice("SpamLevel", _SPAM_LEVELS, "detection level", generations="M55 M56")] = "standard"
    assign_probable_spam: Annotated[
        bool, flag("AssignProbableSpam", "allow status probable spam", generations="M56")
    ] = True
    use_dnsbl: Annotated[bool, flag("UseDNSBL", "method: DNSBL", generations="M56")] = True
    use_reverse_dns: Annotated[bool, flag("UseReverseDNS", "method: reverse DNS", generations="M56")] = True
    use_spf: Annotated[bool, flag("UseSPF", "method: SPF", generations="M56")] = True
    use_surbl: Annotated[bool, flag("UseSURBL", "method: SURBL", generations="M56")] = True
    use_uds: Annotated[bool, flag("UseUDS", "method: UDS", generations="M56")] = True
    use_headers: Annotated[bool, flag("UseHeaders", "method: header signs", generations="M56")] = True
    use_content: Annotated[bool, flag("UseContent", "method: content", generations="M56")] = True
    use_images: Annotated[bool, flag("UseImages", "method: images", generations="M56")] = True
    use_lists: Annotated[bool, flag("UseLists", "method: white and black lists", generations="M56")] = True
    use_authentication: Annotated[bool, flag("", "methods: DKIM, DMARC and ARC", generations=OWN)] = True
    use_learned: Annotated[bool, flag("", "method: what was learned from mail", generations=OWN)] = True
    use_reputation: Annotated[bool, flag("", "method: reputation of senders", generations=OWN)] = True
    eastern_chinese: Annotated[str, choice("EasternChinese", _ENCODING, "Chinese encodings", generations="M56")] = (
        "allowed"
    )
    eastern_korean: Annotated[str, choice("EasternKorean", _ENCODING, "Korean encodings", generations="M56")] = (
        "allowed"
    )
    eastern_thai: Annotated[str, choice("EasternThai", _ENCODING, "Thai encodings", generations="M56")] = "allowed"
    eastern_japanese: Annotated[str, choice("EasternJapanese", _ENCODING, "Japanese encodings", generations="M56")] = (
        "allowed"
    )
    mark_obscene: Annotated[bool, flag("MarkObscene", "label obscene text", generations="M56")] = False
    white_list: Annotated[
        Texts, listing("WhiteList", Item.SENDER, "senders always trusted", generations="M55 M56")
    ] = ()
    black_list: Annotated[Texts, listing("BlackList", Item.SENDER, "senders never wanted", generations="M55 M56")] = ()
    action_spam: Annotated[Texts, listing("ActionSpam", Item.SPAM_ACTION, "status spam", generations="M55 M56")] = (
        "mark",
    )
    action_probable_spam: Annotated[
        Texts,
        listing("ActionProbableSpam", Item.SPAM_ACTION, "status probable spam", generations="M55 M56"),
    ] = ("mark",)
    action_formal: Annotated[
        Texts, listing("ActionFormal", Item.SPAM_ACTION, "status formal", generations="M55 M56")
    ] = ("mark",)
    action_blacklisted: Annotated[
        Texts, listing("ActionBlacklisted", Item.SPAM_ACTION, "status blacklisted", generations="M55 M56")
    ] = ("mark",)
    action_obscene: Annotated[
        Texts, listing("ActionObscene", Item.SPAM_ACTION, "flag obscene", generations="M55 M56")
    ] = ("mark",)
    subject_spam: Annotated[str, text("SubjectSpam", "subject label of spam", generations="M55 M56")] = "[!! SPAM]"
    subject_probable_spam: Annotated[
        str, text("SubjectProbableSpam", "subject label of probable spam", generations="M55 M56")
    ] = "[?? Probable Spam]"
    subject_seminars: Annotated[
        str, text("", "subject label of probable spam that invites to seminars and the like", generations=OWN)
    ] = "[?? Seminars etc.]"
    subject_formal: Annotated[str, text("SubjectFormal", "subject label of formal messages", generations="M55 M56")] = (
        "[--Formal Message--]"
    )
    subject_blacklisted: Annotated[
        str, text("SubjectBlacklisted", "subject label of blacklisted senders", generations="M55 M56")
    ] = "[!! Blacklisted]"
    subject_obscene: Annotated[str, text("SubjectObscene", "subject label of obscene text", generations="M55 M56")] = (
        "[--Obscene--]"
    )
    spam_headers: Annotated[bool, flag("", "add the fields that tell what anti-spam found", generations=OWN)] = True
    add_authentication_results: Annotated[
        bool,
        flag("", "add the Authentication-Results field (RFC 8601) of what was checked", generations=OWN),
    ] = True
    spam_header_text: Annotated[str, text("", "text of the administrator in a field of its own", generations=OWN)] = ""
    reject_text: Annotated[
        str, text("", "what the client hears of a message that is rejected as spam", generations=OWN)
    ] = "Message refused as unsolicited"
    bounce_text: Annotated[
        str, text("", "what the report says of a message that is rejected after it was accepted", generations=OWN)
    ] = "Message refused as unsolicited"
    spam_quarantine_path: Annotated[
        str,
        path(
            "SpamQuarantinePath",
            "anti-spam quarantine",
            generations="M55 M56",
            derived="{state}/quarantine-as",
        ),
    ] = ""
    notify_admin_spam: Annotated[
        Texts,
        statuses("NotifyAdminSpam", SPAM_STATUSES, "notify the administrators of spam", generations="M55 M56"),
    ] = ()
    user_quarantine: Annotated[
        bool,
        flag("", "recipients see and release their own spam; needs `user_quarantine.enabled` (pages)", generations=OWN),
    ] = False
    digest_times: Annotated[
        Texts,
        listing(
            "", Item.TEXT, "times of day (`8:00`) at which recipients hear of new spam; none = never", generations=OWN
        ),
    ] = ("8:00",)
    digest_days: Annotated[Texts, statuses("", DAYS, "days of the week for that; none = all", generations=OWN)] = ()
    digest_interval: Annotated[
        float,
        duration("", 0, 2_592_000, "instead of times of day: the pause between two; 0 = by times", generations=OWN),
    ] = 0.0
    digest_items: Annotated[int, count("", 1, 50, "messages told of in one digest, the newest", generations=OWN)] = 20
    digest_never: Annotated[
        Texts,
        listing(
            "",
            Item.ADDRESS_MASK,
            "recipients who have no quarantine of their own and get no digest: lists and addresses of several people",
            generations=OWN,
        ),
    ] = ()
    digest_template: Annotated[str, path("", "text of the digest; empty = the built-in one", generations=OWN)] = ""
    digest_html_template: Annotated[str, path("", "its HTML; empty = the built-in one", generations=OWN)] = ""


class Group(Policy, frozen=True, kw_only=True):
    """What is done with mail of some senders and recipients, where that differs from the policy.

    Every value is resolved. The last of `Config.groups` is the policy itself, named `policy`.
    """

    name: Annotated[str, text("", "name in the log; in the INI form the part after `group:`")] = POLICY_GROUP
    senders: Annotated[Texts, listing("Senders", Item.ADDRESS_MASK, "envelope senders; none = everyone")] = ("*@*",)
    recipients: Annotated[Texts, listing("Recipients", Item.ADDRESS_MASK, "envelope recipients; none = everyone")] = (
        "*@*",
    )
    directions: Annotated[
        Texts,
        statuses("", DIRECTIONS, "ways of mail the group is for; none = all", generations=OWN),
    ] = ()
    filters_names: bool = False
    """True: include_by_name or exclude_by_name was set for this group or the policy, so the name filter is active."""
    filters_types: bool = False
    """True: include_by_mime or exclude_by_mime was set for this group or the policy, so the type filter is active."""
