"""Databases that cannot be used: `judge_unusable`, for the running gateway and for `gatepost doctor` alike. Pure."""

from collections.abc import Iterator, Sequence
from typing import Final

from gatepost.doctor.finding import Finding, State

NO_SPAM: Final = "the content of mail is not looked at for spam until there are some"
_SPAM_MEND: Final = "`gatepost bases verify`, `gatepost update`; then `gatepost reloadbases`"
_MEND: Final = "`gatepost bases verify`; `gatepost update` brings sound ones, `gatepost reloadbases` takes them"


def judge_unusable(troubles: Sequence[str], spam_troubles: Sequence[str], *, spam_sets: bool) -> Iterator[Finding]:
    """State what is wrong with sets that are not used. `spam_sets`: some of anti-spam can be used; that there are none
    is no finding where nothing is wrong with any, for then an administrator wanted their directory to be empty.
    """
    for number, trouble in enumerate(troubles):
        yield Finding(f"databases:{number}", "databases", State.WARNING, f"databases not used: {trouble}", _MEND)
    if spam_troubles and not spam_sets:
        text = f"no anti-spam databases can be used: {NO_SPAM} ({'; '.join(spam_troubles)})"
        yield Finding("databases:spam", "databases", State.ERROR, text, _SPAM_MEND)
        return
    for number, trouble in enumerate(spam_troubles):
        yield Finding(f"databases:spam:{number}", "databases", State.WARNING, f"databases not used: {trouble}", _MEND)
