"""Digests: recipients hear by mail of what is kept for them as spam, on the schedule of their group.

Made by `master.user_front`, which runs `watch` for as long as the gateway lives. A run tells of what was stored since
the last one, and of what a wrong clock has dated ahead; it is kept before its first mail and each recipient after
theirs, so a crash repeats one mail at most. Nothing is sent where nothing is new. Mail goes out through a relay, like
the other mail of the gateway's own.
"""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import apsw
import msgspec

from gatepost.config.grouping import Group
from gatepost.config.schema import Config
from gatepost.config.user_pages import link_base
from gatepost.control.mail_links import LinkKey, Verb, new_link, seal_link
from gatepost.control.socket import ControlError
from gatepost.master.digest_schedule import Schedule
from gatepost.master.digest_state import DigestState, Run
from gatepost.master.own_mail import Whose, each_new, is_released, may_be_listed
from gatepost.notices.digest import Digest, DigestLine, DigestText, build_digest
from gatepost.notices.grammar import TemplateError
from gatepost.notices.group import GroupTexts, Role
from gatepost.storage.item import Item

LOOK_S: Final = 20.0
"""Between two looks at the clock."""
OVERLAP_S: Final = 900.0
"""A run looks back so far before the end of the last one: an item stands in its store a moment after its own time."""
AHEAD_S: Final = 3600.0
"""A last run, or an item, so far in the future was made under a wrong clock."""
_DAY_S: Final = 86400.0
TOLD_LIMIT: Final = 200_000
"""Recipients of one run: more are told in the next."""

Announce = Callable[..., Awaitable[Any]]
Say = Callable[[str, str], None]


class NewItem(msgspec.Struct, frozen=True):
    """What is told of a message; many recipients may share one."""

    id: str
    sender: str
    subject: str
    saved_at: float
    received_at: float
    rate: int

    @classmethod
    def of(cls, item: Item) -> "NewItem":
        """Take what is told of an item."""
        return cls(item.id, item.envelope.sender, item.subject, item.saved_at, item.received_at, item.rate)


class Letter(msgspec.Struct):
    """What one recipient is to hear of."""

    items: list[NewItem]
    count: int = 0

    def add(self, item: NewItem, limit: int) -> None:
        """Add an item; of a flood only the newest `limit` are held."""
        self.count += 1
        self.items.append(item)
        if len(self.items) >= 2 * limit:
            self.items = newest(self.items)[:limit]


class Digests:
    """All digests of one gateway."""

    def __init__(
        self,
        state: DigestState,
        config: Callable[[], Config],
        announce: Announce,
        say: Say,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`announce(**ProblemMail)` has a relay send a mail, or raises ControlError; `say(level, text)` logs."""
        self._state = state
        self._config = config
        self._announce = announce
        self._say = say
        self._clock = clock
        self._turn = asyncio.Lock()

    async def watch(self) -> None:
        """Send what is due, for ever."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.look()
            except ControlError as error:
                self._say("W", f"digests wait: {error}")

    async def look(self) -> None:
        """Send what is due now, and what was broken off. ControlError: the rest waits for the next look."""
        config = self._config()
        if not config.user_quarantine.enabled:
            return
        async with self._turn:
            for group in config.groups:
                if group.user_quarantine:
                    await self._look_at(config, group)

    async def _look_at(self, config: Config, group: Group) -> None:
        now = self._clock()
        run = await self._last_run(group, now)
        if not run.done:
            await self._tell(config, group, run, anew=False)
        elif Schedule.of(group).is_due(run.until, now):
            await self._begin(config, group, run, now)

    async def _last_run(self, group: Group, now: float) -> Run:
        """Return the last run of a group, as if it had ended now when it ended in the future; without one, from now on
        is new.
        """
        kept = await asyncio.to_thread(self._state.run_of, group.name)
        run = kept or Run(now, now, done=True)
        if run.until > now + AHEAD_S:
            run = Run(min(run.since, now), now, done=run.done)
        if run != kept:
            await asyncio.to_thread(self._state.put_run, group.name, run)
        return run

    async def _begin(self, config: Config, group: Group, last: Run, now: float) -> int:
        run = Run(last.until, now, done=False)
        await asyncio.to_thread(self._state.put_run, group.name, run)
        return await self._tell(config, group, run, anew=False)

    async def send_now(self, *, group: str = "", days: int = 0) -> int:
        """Send the digests of all groups, or of one, as if they were due; `days`: of so many days, told of before
        or not. Return how many were sent. ControlError.
        """
        config, now = self._config(), self._clock()
        if not config.user_quarantine.enabled:
            raise ControlError("there are no pages for recipients: user_quarantine.enabled is off")
        groups = [each for each in config.groups if each.user_quarantine and group in ("", each.name)]
        if not groups:
            raise ControlError("no such group in which recipients have a quarantine of their own")
        sent = 0
        async with self._turn:
            for each in groups:
                if days:
                    sent += await self._tell(config, each, Run(now - days * _DAY_S, now, done=False), anew=True)
                    continue
                last = await self._last_run(each, now)
                if not last.done:
                    sent += await self._tell(config, each, last, anew=False)
                sent += await self._begin(config, each, last, now)
        return sent

    async def _tell(self, config: Config, group: Group, run: Run, *, anew: bool) -> int:
        """Send the digests of a run; return how many. `anew`: also of what was told before, and out of turn."""
        letters, told = await asyncio.to_thread(self._gather, config, group, run, anew)
        keys = await asyncio.to_thread(self._state.turn, self._clock(), config.user_quarantine.link_time)
        texts = digest_texts(group, self._say)
        sent = 0
        for recipient, letter in letters.items():
            if not anew and await asyncio.to_thread(self._state.told_at, group.name, recipient) >= run.until:
                continue
            now = self._clock()
            mail = write_letter(config, texts, keys[0], recipient, letter, now)
            await send(self._announce, config, group, recipient, mail)
            sent += 1
            if not anew:
                await asyncio.to_thread(self._state.note_told, group.name, recipient, run.until)
        if not anew:
            await asyncio.to_thread(self._state.finish, group.name, run, told, run.until - 2 * OVERLAP_S)
        if sent:
            self._say("I", f"digests: {sent} sent to recipients of {group.name}")
        return sent

    def _gather(
        self, config: Config, group: Group, run: Run, anew: bool
    ) -> tuple[Mapping[str, Letter], Sequence[tuple[str, float]]]:
        """Return what each recipient is to hear of, and the items of that. Blocks. ControlError."""
        whose = Whose.of(config)
        letters: dict[str, Letter] = {}
        told: list[tuple[str, float]] = []
        try:
            stored = each_new(config, group, run.since - (0 if anew else OVERLAP_S), run.until)
            # A clock that was wrong dated these; once told they are known.
            ahead = each_new(config, group, max(run.until, self._clock()) + AHEAD_S)
            for own in itertools.chain(stored, ahead):
                item = own.container.item
                if not anew and self._state.known((item.id,)):
                    continue
                told.append((item.id, item.saved_at))
                new = NewItem.of(item)
                for recipient in dict.fromkeys(each.address.lower() for each in item.envelope.recipients):
                    if not whose.has(group.name, recipient) or is_released(own.container, recipient):
                        continue
                    if recipient not in letters and len(letters) >= TOLD_LIMIT:
                        continue
                    letters.setdefault(recipient, Letter([])).add(new, group.digest_items)
        except (OSError, apsw.Error) as error:
            raise ControlError(f"the spam quarantine cannot be read now: {error}") from error
        for letter in letters.values():
            letter.items = newest(letter.items)[: group.digest_items]
        return letters, told


def newest(items: Sequence[NewItem]) -> list[NewItem]:
    """Return items by the moment they were stored, the newest first."""
    return sorted(items, key=lambda item: item.saved_at, reverse=True)


def digest_texts(group: Group, say: Say) -> GroupTexts:
    """Return the texts of a group; the product's own when its own cannot be read any more."""
    try:
        return GroupTexts.from_config(group)
    except TemplateError as error:
        say("E", f"{error}: the product's own text is sent")
        return GroupTexts.from_config(msgspec.structs.replace(group, digest_template="", digest_html_template=""))


def write_letter(
    config: Config, texts: GroupTexts, key: LinkKey, recipient: str, letter: Letter, now: float, *, asked: bool = False
) -> DigestText:
    """Write what a recipient gets; `asked`: only the link to the page, for a shorter time."""
    own, base = config.user_quarantine, link_base(config)
    until = now + (own.asked_link_time if asked else own.link_time)
    form = f"{config.locale.date_format} {config.locale.time_format}"

    def shown(at: float) -> str:
        return time.strftime(form, time.localtime(at))

    def link(verb: Verb, item: str = "") -> str:
        return f"{base}/l/{seal_link(new_link(verb, recipient, until, item), key)}"

    lines = []
    for item in letter.items:
        listed = may_be_listed(item.sender)
        lines.append(
            DigestLine(
                sender=item.sender,
                subject=item.subject,
                time=shown(item.received_at),
                rate=item.rate,
                release=link(Verb.RELEASE, item.id),
                allow=link(Verb.ALLOW, item.id) if listed else "",
                block=link(Verb.BLOCK, item.id) if listed else "",
            )
        )
    digest = Digest(
        hostname=config.network.hostname,
        lines=lines,
        count=letter.count,
        page=link(Verb.OPEN),
        until=shown(until),
        asked=asked,
    )
    assert texts.digest is not None
    return build_digest(digest, texts.digest)


async def send(announce: Announce, config: Config, group: Group, recipient: str, mail: DigestText) -> None:
    """Have a relay send it. ControlError."""
    sender = group.notify_from_address or f"postmaster@{config.network.hostname}"
    await announce(
        to=(recipient,), sender=sender, subject=mail.subject, text=mail.text, html=mail.html, role=Role.RECIPIENT.value
    )
