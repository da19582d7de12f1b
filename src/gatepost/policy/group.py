"""Groups: whose policy applies to a message (rows F-GRP-01 to F-GRP-05), compiled for use.

Built from the configuration at start and reload; asked for every message by inspection. Promises that every recipient
falls into exactly one group: the first that matches in the order of the configuration, or the policy, the last.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from gatepost.config.gateway import Ave
from gatepost.config.grouping import POLICY_GROUP, Group
from gatepost.config.masks import FirstMatch, MaskSet
from gatepost.config.services import Antispam
from gatepost.model.envelope import Direction
from gatepost.model.finding import ObjectFilterSpec, ObjectStatus, ScanOptions
from gatepost.model.verdict import EncryptedMail, ObjectAction
from gatepost.notices.group import GroupTexts
from gatepost.notices.template import Template, load_template, shipped_template
from gatepost.policy.object_filter import ObjectFilter, compile_filter
from gatepost.policy.spam_settings import SpamPolicy, join_options

_UNFILTERED = MaskSet(())
EVERY_DIRECTION = frozenset(Direction)


class GroupPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What is done with the mail of one group; every value resolved."""

    name: str
    senders: MaskSet
    recipients: MaskSet
    directions: frozenset[Direction] = EVERY_DIRECTION
    """Ways of mail it is for."""
    check: bool
    """False: nothing is scanned."""
    scan: ScanOptions
    filter: ObjectFilter
    actions: Mapping[ObjectStatus, ObjectAction]
    """For every status but clean, whose objects pass."""
    encrypted_mail: EncryptedMail = EncryptedMail.PASS
    block_message: frozenset[ObjectStatus]
    """Statuses for which the message is not delivered."""
    placeholder_template: Template
    texts: GroupTexts = GroupTexts()
    """Whom it notifies of what, and what it adds to messages."""
    spam: SpamPolicy = SpamPolicy()
    share: str = ""
    """Of a group whose recipients get copies apart (`policy.listings`): what tells this one from the others."""
    bypass: str = ""
    """Why nothing of its mail is looked at: the emergency bypass, and who has ordered it; "" as a rule."""

    @classmethod
    def from_config(
        cls,
        group: Group,
        ave: Ave,
        deadline_s: float,
        *,
        antispam: Antispam | None = None,
        load: Callable[[Path], Template] = load_template,
    ) -> "GroupPolicy":
        """Compile a resolved group. `deadline_s` is for the inspection of a whole message; `antispam` None: without it.

        TemplateError when one of its templates is missing or faulty.
        """
        spec = ObjectFilterSpec(
            names=group.filters_names,
            types=group.filters_types,
            include_names=group.include_by_name,
            exclude_names=group.exclude_by_name,
            include_types=group.include_by_mime,
            exclude_types=group.exclude_by_mime,
            inside=group.filter_inside_archives,
        )
        texts = GroupTexts.from_config(group, load=load)
        spam = SpamPolicy.from_config(group, antispam) if antispam is not None else SpamPolicy()
        return cls(
            name=group.name,
            senders=MaskSet(group.senders),
            recipients=MaskSet(group.recipients),
            directions=frozenset(map(Direction, group.directions)) or EVERY_DIRECTION,
            check=group.check,
            scan=ScanOptions(
                cure=ave.cure,
                archives=ave.scan_archives,
                timeout_s=ave.scan_timeout,
                archive_depth=ave.max_archive_depth,
                unpacked_bytes=ave.max_unpacked_size,
                deadline_s=deadline_s,
                mail_bases=ave.scan_mail_bases,
                packed=ave.scan_packed,
                passwords=ave.archive_passwords,
                filters=(spec,) if spec.names or spec.types else (),
                # What is known to be clean is not opened, and so has no members that could be filtered.
                cache=ave.use_clean_cache and not (spec.inside and spec.names),
                scan=group.check,
                text_spots=texts.needs_spots,
                text_characters=texts.disclaimer.characters() if texts.disclaimer is not None else "",
                spam=spam.options,
            ),
            filter=compile_filter(spec),
            actions={
                ObjectStatus.DISINFECTED: group.action_disinfected,
                ObjectStatus.INFECTED: group.action_infected,
                ObjectStatus.SUSPICIOUS: group.action_suspicious,
                ObjectStatus.PROTECTED: group.action_protected,
                ObjectStatus.ERROR: group.action_error,
                ObjectStatus.FILTERED: group.action_filtered,
            },
            encrypted_mail=EncryptedMail(group.encrypted_mail),
            block_message=frozenset(group.block_message),
            placeholder_template=(
                load(Path(group.placeholder_template))
                if group.placeholder_template
                else shipped_template("placeholder", group.text_language)
            ),
            texts=texts,
            spam=spam,
        )


class GroupTable:
    """All groups in their order."""

    def __init__(self, groups: Sequence[GroupPolicy], protected: MaskSet = _UNFILTERED) -> None:
        """Take at least the policy, which is the last and matches everything. ValueError when it does not.

        `protected`: our own domains as address masks; they tell internal from outbound mail, recipient by recipient.
        """
        last = groups[-1] if groups else None
        if last is None or not (
            last.senders.matches_everything
            and last.recipients.matches_everything
            and last.directions == EVERY_DIRECTION
        ):
            raise ValueError(f"the last group must match everything, as {POLICY_GROUP} does")
        self.groups = tuple(groups)
        self._protected = protected
        self._elsewhere = {group.name: _without_spam(group) for group in groups if protected.masks and group.spam.check}
        """Groups as they are for recipients who are not ours."""
        self._ordered = _OrderedGroups(self.groups)
        self._by_direction: dict[Direction, _OrderedGroups] | None = None
        if any(group.directions != EVERY_DIRECTION for group in groups):
            self._by_direction = {
                direction: _OrderedGroups([group for group in groups if direction in group.directions])
                for direction in Direction
            }

    @classmethod
    def from_config(
        cls,
        groups: Iterable[Group],
        ave: Ave,
        deadline_s: float,
        protected_domains: Iterable[str] = (),
        antispam: Antispam | None = None,
        fields: tuple[str, ...] | None = None,
    ) -> "GroupTable":
        """Compile `Config.groups`. Raises TemplateError; a template used by several groups is read once.

        `antispam` None: nothing is done about spam. `fields`: header fields that rules ask for, None without rules.
        """
        loaded: dict[Path, Template] = {}

        def load(path: Path) -> Template:
            if path not in loaded:
                loaded[path] = load_template(path)
            return loaded[path]

        compiled = [GroupPolicy.from_config(group, ave, deadline_s, antispam=antispam, load=load) for group in groups]
        if fields is not None:
            compiled = [_with_fields(group, fields) for group in compiled]
        return cls(compiled, MaskSet(f"*@{domain}" for domain in protected_domains))

    def named(self, name: str) -> GroupPolicy:
        """Return the group of this name, in any case of letters; the policy when there is none."""
        return next((group for group in self.groups if group.name.lower() == name.lower()), self.groups[-1])

    def resolve(self, sender: str, recipient: str, direction: Direction = Direction.INBOUND) -> GroupPolicy:
        """Return the group of a pair of envelope addresses; the null sender is ""."""
        return self.partition(sender, (recipient,), direction)[0][0]

    def partition(
        self, sender: str, recipients: Sequence[str], direction: Direction = Direction.INBOUND
    ) -> list[tuple[GroupPolicy, tuple[int, ...]]]:
        """Return the groups of one message with the indices of their recipients, in order of first appearance.

        `direction` is the message's. One of ours may go both ways: each recipient counts by its own.
        """
        parts = self._partition(sender, recipients, direction)
        if not self._elsewhere:
            return parts
        # Only our own recipients are protected from spam; whose share holds one of them is protected as a whole.
        ours = self._protected.matches
        return [
            (group if any(ours(recipients[i]) for i in own) else self._elsewhere.get(group.name, group), own)
            for group, own in parts
        ]

    def _partition(
        self, sender: str, recipients: Sequence[str], direction: Direction
    ) -> list[tuple[GroupPolicy, tuple[int, ...]]]:
        if self._by_direction is None:
            return self._ordered.partition(sender, recipients, range(len(recipients)))
        if direction is Direction.INBOUND:
            return self._by_direction[direction].partition(sender, recipients, range(len(recipients)))
        inside = [index for index, recipient in enumerate(recipients) if self._protected.matches(recipient)]
        known_inside = set(inside)
        outside = [index for index in range(len(recipients)) if index not in known_inside]
        found: dict[str, tuple[GroupPolicy, list[int]]] = {}
        for way, indices in ((Direction.INTERNAL, inside), (Direction.OUTBOUND, outside)):
            for group, own in self._by_direction[way].partition(sender, recipients, indices):
                found.setdefault(group.name, (group, []))[1].extend(own)
        parts = [(group, tuple(sorted(own))) for group, own in found.values()]
        return sorted(parts, key=lambda part: part[1][0])


def _with_fields(group: GroupPolicy, fields: tuple[str, ...]) -> GroupPolicy:
    return msgspec.structs.replace(group, scan=msgspec.structs.replace(group.scan, fields=fields))


def _without_spam(group: GroupPolicy) -> GroupPolicy:
    return msgspec.structs.replace(
        group, spam=group.spam.unprotected(), scan=msgspec.structs.replace(group.scan, spam=None)
    )


class _OrderedGroups:
    """Groups in their order, the last of which matches everything."""

    def __init__(self, groups: Sequence[GroupPolicy]) -> None:
        self._groups = tuple(groups)
        # Groups for certain recipients, the usual kind, cost one look-up whatever their number; only those for certain
        # senders are tried one after the other.
        self._for_senders = tuple(
            (place, group) for place, group in enumerate(self._groups) if not group.senders.matches_everything
        )
        self._for_all: FirstMatch[int] = FirstMatch(
            (mask, place)
            for place, group in enumerate(self._groups)
            if group.senders.matches_everything
            for mask in group.recipients.masks
        )
        first = self._groups[0]
        self._is_single = first.senders.matches_everything and first.recipients.matches_everything

    def partition(
        self, sender: str, recipients: Sequence[str], indices: Sequence[int]
    ) -> list[tuple[GroupPolicy, tuple[int, ...]]]:
        """Return the groups of those of `recipients` that `indices` names."""
        if self._is_single:
            return [(self._groups[0], tuple(indices))] if indices else []
        of_sender = [(place, group) for place, group in self._for_senders if group.senders.matches(sender)]
        last = len(self._groups) - 1
        found: dict[int, list[int]] = {}
        for index in indices:
            recipient = recipients[index]
            first = self._for_all.find(recipient)
            place = last if first is None else first
            for other, group in of_sender:
                if other >= place:
                    break
                if group.recipients.matches(recipient):
                    place = other
                    break
            found.setdefault(place, []).append(index)
        return [(self._groups[place], tuple(own)) for place, own in found.items()]


def scan_options(groups: Iterable[GroupPolicy]) -> ScanOptions | None:
    """Return what one inspection for all these groups must do, None when none of them needs one.

    The union: what any group asks for is looked at, under the widest limits. `policy.decide` narrows it again.
    Of `ScanOptions.spam` this is what the settings say; the facts of the message are the relay's to add.
    """
    asked = [group.scan for group in groups if group.check or _is_read(group.scan)]
    if not asked:
        return None
    if all(options == asked[0] for options in asked):
        return asked[0]
    wanted = [options for options in asked if options.scan] or asked
    return ScanOptions(
        cure=any(options.cure for options in wanted),
        archives=any(options.archives for options in wanted),
        timeout_s=0.0 if any(not o.timeout_s for o in wanted) else max(o.timeout_s for o in wanted),
        archive_depth=max(options.archive_depth for options in wanted),
        unpacked_bytes=max(options.unpacked_bytes for options in wanted),
        archive_members=max(options.archive_members for options in wanted),
        deadline_s=max(options.deadline_s for options in wanted),
        mail_bases=any(options.mail_bases for options in wanted),
        packed=any(options.packed for options in wanted),
        passwords=tuple(dict.fromkeys(password for options in wanted for password in options.passwords)),
        filters=_join_filters(wanted),
        cache=all(options.cache for options in wanted),
        scan=any(options.scan for options in asked),
        text_spots=any(options.text_spots for options in asked),
        text_characters="".join(sorted({each for options in asked for each in options.text_characters})),
        spam=join_options([options.spam for options in asked if options.spam is not None]),
        fields=next((options.fields for options in asked if options.fields is not None), None),
    )


def _is_read(options: ScanOptions) -> bool:
    """Tell whether a filter has to look at a message that it does not scan."""
    return options.text_spots or options.spam is not None or options.fields is not None


def _join_filters(wanted: Sequence[ScanOptions]) -> tuple[ObjectFilterSpec, ...]:
    """Return every group's filter once; () when there is a group without, for then no object is filtered by all."""
    if not all(options.filters for options in wanted):
        return ()
    return tuple(dict.fromkeys(spec for options in wanted for spec in options.filters))
