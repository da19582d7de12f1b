"""The protocol of a release, so that a stored message goes out exactly once however often it is begun.

1. `begin_release` writes `releasing` with the release's id and the shard that is to accept it.
2. The shard's spool accepts the message; it takes each id once, and remembers it (`Spool.accept`).
3. `end_release` writes `released`: who, when, to whom, and as what message.

A process may be killed between any two: step 2 may be repeated, and tells what became of it the first time. Which shard
knows the answer is in step 1. Called by `relay.releasing`.
"""

from collections.abc import Sequence
from typing import Final

from gatepost.storage.container import Container, Event
from gatepost.storage.store import Store

RECIPIENTS_LIMIT: Final = 1000
"""Recipients an operator may name for one release."""


def check_recipients(recipients: Sequence[str]) -> None:
    """ValueError with a sentence when these cannot be the recipients of a release."""
    if len(recipients) > RECIPIENTS_LIMIT:
        raise ValueError(f"more than {RECIPIENTS_LIMIT} recipients")
    for recipient in recipients:
        local, at, domain = recipient.rpartition("@")
        if not (local and at and domain) or any(c.isspace() or not c.isprintable() or c in "<>" for c in recipient):
            raise ValueError(f"{recipient!r} is no address")


class Elsewhere(Exception):  # noqa: N818 - not an error, an answer
    """The release was begun by another shard, which alone knows whether it has happened."""

    def __init__(self, claim: Event) -> None:
        super().__init__(f"its release was begun by relay {claim.shard}")
        self.claim = claim


class ReleasedBefore(Exception):  # noqa: N818 - not an error, an answer
    """It has been released, and was not to be released again."""

    def __init__(self, release: Event) -> None:
        super().__init__(f"released as {release.queue_id}")
        self.release = release


def begin_release(store: Store, item_id: str, wanted: Event, *, again: bool = False) -> tuple[Event, Container]:
    """Claim an item for a release as `wanted` says (shard, who, recipients, checked, at); return the claim in force.

    One that this shard has begun before is taken up as it was. Elsewhere, ReleasedBefore; UnknownItem, Damaged,
    OSError.
    """

    def decide(container: Container) -> Event | None:
        claim = container.claim
        if claim is not None:
            if claim.shard != wanted.shard:
                raise Elsewhere(claim)
            return None
        if container.releases and not again:
            raise ReleasedBefore(container.releases[-1])
        return _numbered(wanted, container)

    container = store.change_events(item_id, decide)
    assert container.claim is not None
    return container.claim, container


def take_over_release(store: Store, item_id: str, claim: Event, shard: int) -> bool:
    """Have another shard do what one began that has not accepted it and never will; False: no longer."""
    done = False

    def decide(container: Container) -> Event | None:
        nonlocal done
        if container.claim != claim:
            return None
        done = True
        return Event(
            "releasing",
            claim.at,
            release=claim.release,
            shard=shard,
            who=claim.who,
            recipients=claim.recipients,
            checked=claim.checked,
        )

    store.change_events(item_id, decide)
    return done


def end_release(store: Store, item_id: str, claim: Event, queue_id: str, now: float) -> Event:
    """Write that a release has happened; return how it is written, by us or by somebody before us."""

    def decide(container: Container) -> Event | None:
        if any(release.release == claim.release for release in container.releases):
            return None
        return Event(
            "released",
            now,
            release=claim.release,
            shard=claim.shard,
            queue_id=queue_id,
            who=claim.who,
            recipients=claim.recipients,
            checked=claim.checked,
        )

    container = store.change_events(item_id, decide)
    return next(release for release in container.releases if release.release == claim.release)


def abandon_release(store: Store, item_id: str, claim: Event, now: float) -> None:
    """Give up a release that the spool has refused for good: the item is as it was."""

    def decide(container: Container) -> Event | None:
        return Event("abandoned", now, release=claim.release) if container.claim == claim else None

    store.change_events(item_id, decide)


def _numbered(wanted: Event, container: Container) -> Event:
    number = len(container.releases) + 1
    return Event(
        "releasing",
        wanted.at,
        release=f"{container.item.id}#{number}",
        shard=wanted.shard,
        who=wanted.who,
        recipients=wanted.recipients,
        checked=wanted.checked,
    )
