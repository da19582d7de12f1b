"""What calls about texts with versions are given and give back: configuration, rules, own terms, texts for people.

Used by the modules of operations beside it.
"""

from typing import Annotated, Any

from msgspec import Meta

from gatepost.console.api.operation import Ask, Asked, Missing, Text, Told


class SavedVersion(Told, frozen=True):
    """One version of what is kept with its history."""

    number: int
    at: float
    """Unix time."""
    who: str
    """"" = somebody who edited the file."""
    via: str
    comment: str
    current: bool
    diff: str
    """Only where one version is asked for."""


class SavedVersions(Told, frozen=True):
    """Versions, newest first."""

    items: list[SavedVersion]


class HistoryLimit(Ask, frozen=True):
    """How many versions."""

    limit: Annotated[int, Meta(ge=1, le=500)] = 50


class ChangeReason(Ask, frozen=True):
    """Why something is put back."""

    comment: Text = ""


def with_digest(asked: Asked) -> dict[str, Any]:
    """Return the arguments with the digest that a change is based on."""
    return {**asked.arguments, "digest": asked.version}


def with_number(asked: Asked) -> dict[str, Any]:
    """Return the arguments with the number of a version, from the path. Missing: it is none."""
    text = asked.path["number"]
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Missing
    return {**asked.arguments, "number": int(text)}


def with_number_and_digest(asked: Asked) -> dict[str, Any]:
    """Return the arguments with both. Missing: the number is none."""
    return {**with_number(asked), "digest": asked.version}


def first(found: Any, _: Asked) -> Any:
    """Return the one version that was asked for."""
    return found[0]
