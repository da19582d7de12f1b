"""When an administrator is told about the licence (specification management.md §13, rows F-LIC-05, -06, -08). Pure."""

import datetime as dt
from collections.abc import Iterator
from typing import Final

import msgspec

from gatepost.licence.store import Standing
from gatepost.licence.usage import Usage

EXPIRY_DAYS: Final = (7, 3, 1, 0)
"""Days before the last one on which its coming is told; then once that it is over."""
NEAR: Final = 0.9
"""Share of a limit from which it is told that it is near."""
_MORE_TRAFFIC: Final = "Mail goes on. A key for more traffic is needed when this happens often."


class Notice(msgspec.Struct, frozen=True):
    """One mail to the administrator. It is sent once for its name."""

    name: str
    subject: str
    text: str


def plan_notices(standing: Standing, usage: Usage) -> Iterator[Notice]:
    """Yield what is to be told, whether or not it was told before."""
    key = standing.key
    if key is None:
        return
    yield from _about_the_end(standing)
    if key.users:
        yield from _about_a_limit(
            f"{key.serial}/users",
            usage.users,
            key.users,
            "protected addresses",
            "Mail goes on for all of them. A key for more addresses is needed, or fewer protected domains.",
        )
    if key.megabytes:
        yield from _about_a_limit(
            f"{key.serial}/traffic/{standing.today}",
            usage.bytes_today // 1_000_000,
            key.megabytes,
            "megabytes of mail today",
            _MORE_TRAFFIC,
        )
        # A limit that is passed in a day's last minute is told of on the next.
        yesterday = usage.bytes_yesterday // 1_000_000
        if yesterday > key.megabytes:
            day = standing.today - dt.timedelta(1)
            what = f"megabytes of mail on {day}"
            yield from _about_a_limit(f"{key.serial}/traffic/{day}", yesterday, key.megabytes, what, _MORE_TRAFFIC)


def _about_the_end(standing: Standing) -> Iterator[Notice]:
    key, left = standing.key, standing.days_left
    assert key is not None
    if left is None:
        return
    what = f"The licence key {key.serial} ({key.kind.value}, issued to {key.holder or 'nobody named'})"
    if left < 0:
        follow = (
            "The gateway will not start again without another key."
            if not standing.may_start
            else "Filtering goes on with the databases there are; newer ones are not used."
        )
        yield Notice(f"{key.serial}/over", "licence has expired", f"{what} expired on {standing.expires}. {follow}")
    elif standing.additional is None:
        due = next((day for day in reversed(EXPIRY_DAYS) if left <= day), None)
        if due is not None:
            when = "today" if left == 0 else "tomorrow" if left == 1 else f"in {left} days"
            yield Notice(
                f"{key.serial}/{due}",
                f"licence expires {when}",
                f"{what} expires {when}, on {standing.expires}. Install its successor now: it starts by itself, "
                "and its term counts from then.",
            )


def _about_a_limit(name: str, used: int, limit: int, what: str, follow: str) -> Iterator[Notice]:
    if used > limit:
        text = f"{used} {what}: the licence allows {limit}. {follow}"
        yield Notice(f"{name}/above", f"licence exceeded: {used} of {limit} {what}", text)
    elif used >= NEAR * limit:
        text = f"{used} {what}, and the licence allows {limit}. {follow}"
        yield Notice(f"{name}/near", f"licence nearly used up: {used} of {limit} {what}", text)
