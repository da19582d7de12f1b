"""The header of a group's copy as rules see it: what came in, with what the group's verdict changes in it. Pure.

Called by `relay.rule_stage` before rules are tried, and by `relay.editing`, which plays their changes again. Fields
that only we may write and that a stranger has written are not there; neither are our own Received fields.
"""

import re
from collections.abc import Sequence

import msgspec

from gatepost.model.finding import Analysis
from gatepost.model.profile import FieldEdit
from gatepost.model.verdict import SpamVerdict, Verdict
from gatepost.notices.spam_fields import build_keywords
from gatepost.notices.spam_label import build_subject
from gatepost.policy.group import GroupPolicy
from gatepost.policy.profile_header import HeaderView, Line
from gatepost.relay.spam_editing import build_own_fields, may_edit
from gatepost.relay.work import Work

_SUBJECT = "subject"
_KEYWORDS = "keywords"
_FOLD = re.compile(r"\r\n[ \t]+")
_NEXT_FIELD = re.compile(rb"(?<=\n)(?![ \t])")


def build_header(
    work: Work, group: GroupPolicy, verdict: Verdict, analysis: Analysis | None, hostname: str
) -> HeaderView | None:
    """Return the fields that rules ask for, with all that we write; None: no filter has told of the header."""
    if analysis is None or analysis.fields is None:
        return None
    spam = verdict.spam
    asked = group.scan.fields or ()
    own = b"" if spam is None else build_own_fields(work, group, spam, analysis, hostname)
    labels = spam.labels if spam is not None and _SUBJECT in asked and may_edit(group, spam, analysis) else ()
    keywords = spam is not None and _writes_keywords(group, spam, analysis)
    if spam is not None and keywords:
        own += build_keywords(spam)
    facts = analysis.spam
    ours = group.spam.fields.prefix.lower() + "-"
    foreign = {spot.start for spot in facts.foreign} if facts is not None else frozenset[int]()
    lines, cut = [], []
    for field in analysis.fields:
        if field.name.startswith(ours) or field.spot.start in foreign:
            continue
        line = Line(field.name, field.spot.text, field.spot)
        if keywords and field.name == _KEYWORDS:
            cut.append(line)  # it gives way to ours
            continue
        if field.name == _SUBJECT:
            line.labels = labels
        lines.append(line)
    if labels and facts is not None and not any(line.name == _SUBJECT for line in lines):
        own += build_subject(labels)
    return HeaderView([*_parse_own(own), *lines], cut)


def change_header(
    work: Work,
    group: GroupPolicy,
    verdict: Verdict,
    edits: Sequence[FieldEdit],
    analysis: Analysis | None,
    hostname: str,
) -> HeaderView:
    """Return the header with the changes that rules have ordered. Where no filter has told of it there is nothing to
    take out or to change, and new fields are all that is written.
    """
    view = build_header(work, group, verdict, analysis, hostname)
    if view is None:
        spam = verdict.spam
        own = b"" if spam is None else build_own_fields(work, group, spam, analysis, hostname)
        view = HeaderView(_parse_own(own))
    for edit in edits:
        view.apply(edit)
    return view


def without_handled(group: GroupPolicy, spam: SpamVerdict) -> SpamVerdict:
    """Return the verdict without those of its edits that are in the header as rules see it."""
    asked = group.scan.fields or ()
    if _SUBJECT in asked:
        spam = msgspec.structs.replace(spam, labels=())
    if _KEYWORDS in asked and spam.actions.keywords:
        spam = msgspec.structs.replace(spam, actions=msgspec.structs.replace(spam.actions, keywords=False))
    return spam


def _writes_keywords(group: GroupPolicy, spam: SpamVerdict, analysis: Analysis) -> bool:
    return spam.actions.keywords and _KEYWORDS in (group.scan.fields or ()) and may_edit(group, spam, analysis)


def _parse_own(raw: bytes) -> list[Line]:
    """Return fields that we have written: ASCII, each with its CRLF."""
    lines = []
    for field in _NEXT_FIELD.split(raw):
        name, _, value = field.decode("ascii").partition(":")
        if name:
            lines.append(Line(name, _FOLD.sub(" ", value).strip(), raw=field))
    return lines
