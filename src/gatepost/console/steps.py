"""An act on everything a filter chooses, step by step: each page shows how far it got and sends the next step.

Used by `console.pages.quarantine` and `queue`. Without scripts somebody presses "Go on"; with them the page does. What
was done and refused so far travels in the form: it is shown only, nothing is decided by it.
"""

from collections.abc import Mapping
from typing import Any, Final, Protocol

from litestar import Response

from gatepost.console import chosen, render
from gatepost.console.visitor import Visitor

_COUNT_LIMIT: Final = 10**9
_REASONS_SHOWN: Final = 3


class Act(Protocol):
    """What the page tells of an act."""

    @property
    def word(self) -> str:
        """On its button."""

    @property
    def done(self) -> str:
        """What has become of the messages: `released`."""


def show_step(
    visitor: Visitor,
    act: Act,
    sent: chosen.Sent,
    step: Mapping[str, Any],
    *,
    area: str,
    action: str,
    fields: Mapping[str, str],
    back: str,
) -> Response[Any]:
    """Return the page after a step. `step`: the call's answer, with done, refused, why and ended; `fields`: what the
    form of the next step sends besides the sums. ControlError: the form's sums are none.
    """
    progress = {
        "done": chosen.count(sent.one("done"), _COUNT_LIMIT) + step["done"],
        "refused": chosen.count(sent.one("refused"), _COUNT_LIMIT) + step["refused"],
        "total": chosen.count(sent.one("total"), _COUNT_LIMIT),
    }
    sums = {name: str(value) for name, value in progress.items()}
    return render.page(
        visitor,
        "steps.html",
        area=area,
        act=act,
        action=action,
        progress=progress,
        why=list(step["why"].values())[:_REASONS_SHOWN],
        fields={**fields, "confirmed": "1", **sums},
        ended=step["ended"],
        back=back,
    )
