"""The public suffix list, which ships with the library `publicsuffixlist`: where registrations begin.

Called by `dmarc`, where no policy says it, and by all that compare organisations by their names. A name of no listed
suffix has its last label for one, as the list says.
"""

import functools

import publicsuffixlist


@functools.cache
def _load() -> publicsuffixlist.PublicSuffixList:
    return publicsuffixlist.PublicSuffixList()


def warm() -> None:
    """Load the list now (40 to 90 ms of CPU), not with the first mail."""
    _load()


def registrable_domain(name: str) -> str:
    """Return the public suffix of a name with one label more, in lower case; "" for a suffix itself and for no name."""
    folded = name.lower().removesuffix(".")
    if not folded or folded.startswith(".") or ".." in folded:
        return ""
    return _load().privatesuffix(folded) or ""


def is_public_suffix(name: str) -> bool:
    """Tell whether anybody may register below a name."""
    return bool(name) and not registrable_domain(name)
