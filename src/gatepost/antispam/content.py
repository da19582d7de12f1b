"""The content stage of anti-spam: one message in, `SpamFacts` out. Called in the filter, beside the anti-virus stage.

Promises an answer for every message: a check that fails is named in `SpamFacts.trouble`, the others still count.
"""

import heapq
import operator
import time
from collections.abc import Sequence

from gatepost.antispam.authn_material import read_material
from gatepost.antispam.check import Check, Notes
from gatepost.antispam.extract.parts import PictureReader
from gatepost.antispam.spots import FOREIGN_LIMIT, find_spots
from gatepost.antispam.view import build_view
from gatepost.mime.part import Message
from gatepost.model.authn import AuthnMaterial
from gatepost.model.spam import COSTS_TOLD, Link, Method, SpamFacts, SpamOptions

_FLOOD_WEIGHT = 6.0
"""Of more forged fields of ours than can be taken out: nobody has them by accident."""
_TROUBLE_LIMIT = 500
"""Characters told of what went wrong."""


def inspect_content(
    message: Message, options: SpamOptions, checks: Sequence[Check], reader: PictureReader | None = None
) -> SpamFacts:
    """Let every check look at a message; `reader` recognises words in pictures."""
    started = time.monotonic()
    view = build_view(message, options, reader)
    notes = Notes()
    troubles = []
    spots = find_spots(view)
    if spots.overflow:
        text = f"more than {FOREIGN_LIMIT} header fields that only this gateway may write"
        notes.sign(Method.HEADERS, "forged-fields", text, _FLOOD_WEIGHT)
        troubles.append(text)
    costs = []
    for check in checks:
        began = time.monotonic()
        try:
            check.inspect(view, notes)
        except Exception as error:  # noqa: BLE001 - one faulty check must not spare a message the others
            troubles.append(f"{check.name}: {type(error).__name__}: {error}")
        costs.append((check.name, (time.monotonic() - began) * 1000))
    try:
        authn = read_material(view)
    except Exception as error:  # noqa: BLE001 - as above; nothing is proved then
        troubles.append(f"authentication: {type(error).__name__}: {error}")
        authn = AuthnMaterial()
    links: tuple[Link, ...] = ()
    try:
        links = view.links
        if view.parts.trouble:
            troubles.append(f"a part: {view.parts.trouble}")
    except Exception as error:  # noqa: BLE001 - as above
        troubles.append(f"links: {type(error).__name__}: {error}")
    return SpamFacts(
        signs=tuple(notes.signs),
        categories=tuple(sorted(notes.categories, key=lambda each: -notes.categories[each])),
        formal=notes.formal,
        obscene=notes.obscene,
        eastern=tuple(sorted(notes.eastern)),
        hops=spots.hops,
        links=links,
        authn=authn,
        fingerprints=tuple(notes.fingerprints),
        lesson=notes.lesson,
        subject=spots.subject,
        foreign=spots.foreign,
        keywords=spots.keywords,
        elapsed_ms=(time.monotonic() - started) * 1000,
        trouble="; ".join(troubles)[:_TROUBLE_LIMIT],
        costs=tuple(heapq.nlargest(COSTS_TOLD, costs, key=operator.itemgetter(1))),
    )
