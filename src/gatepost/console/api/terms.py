"""Own terms of anti-spam: one text, its check, its versions."""

from typing import Annotated, Final

from msgspec import Meta

from gatepost.console.api.operation import Ask, Operation, Text, Told, named
from gatepost.console.api.versioned import (
    ChangeReason,
    SavedVersion,
    SavedVersions,
    first,
    with_digest,
    with_number,
    with_number_and_digest,
)
from gatepost.control.rights import Right

TEXT_LIMIT: Final = 262_144
BODY_LIMIT: Final = 2 * 1024 * 1024
"""Bytes: the text, with what JSON makes of it."""


class Terms(Told, frozen=True):
    """The own terms as they are saved."""

    text: str
    digest: str


class TermsText(Ask, frozen=True):
    """A text to be looked at."""

    text: Annotated[str, Meta(max_length=TEXT_LIMIT)]


class TermsOrder(TermsText, frozen=True):
    """A text to be saved."""

    comment: Text = ""


class TermsFound(Told, frozen=True):
    """What is in a text."""

    problem: str
    """Why it cannot be, "" = it can."""
    line: int
    """Where, 0 = nowhere in particular."""
    terms: int
    categories: dict[str, int]
    """How many terms each has."""


class TermsSaved(TermsFound, frozen=True):
    """What came of a save."""

    number: int
    """Of the version."""
    digest: str
    told: str
    """What came of the reload of databases."""


OPERATIONS: Final = (
    Operation(
        name="getTerms",
        method="GET",
        path="/terms",
        call="terms.show",
        right=Right.CONFIGURATION,
        summary="Show the own terms of anti-spam",
        answer=Terms,
        tags_version=True,
    ),
    Operation(
        name="saveTerms",
        method="PUT",
        path="/terms",
        call="terms.save",
        right=Right.CONFIGURE,
        summary="Save own terms and put them in force",
        detail="A text with a fault, or one that filters do not take, changes nothing.",
        body=TermsOrder,
        answer=TermsSaved,
        build=with_digest,
        body_limit=BODY_LIMIT,
        takes_version=True,
        example={"text": "= spam/own | what we do not want\n1.5 garden house*\n", "comment": "asked for by sales"},
    ),
    Operation(
        name="checkTerms",
        method="POST",
        path="/terms/check",
        call="terms.check",
        right=Right.CONFIGURATION,
        summary="Say whether a text of terms can be",
        body=TermsText,
        answer=TermsFound,
        body_limit=BODY_LIMIT,
        example={"text": "= spam/own | what we do not want\n1.5 garden house*\n"},
    ),
    Operation(
        name="listTermsVersions",
        method="GET",
        path="/terms/versions",
        call="terms.history",
        right=Right.CONFIGURATION,
        summary="List the versions of own terms",
        answer=SavedVersions,
        shape=named("items"),
    ),
    Operation(
        name="getTermsVersion",
        method="GET",
        path="/terms/versions/{number}",
        call="terms.history",
        right=Right.CONFIGURATION,
        summary="Show a version of own terms, and what it changed",
        answer=SavedVersion,
        build=with_number,
        shape=first,
        names_one=True,
    ),
    Operation(
        name="rollBackTerms",
        method="POST",
        path="/terms/versions/{number}/rollback",
        call="terms.rollback",
        right=Right.CONFIGURE,
        summary="Go back to a version of own terms",
        body=ChangeReason,
        answer=TermsSaved,
        build=with_number_and_digest,
        names_one=True,
        takes_version=True,
        example={"comment": "the new terms hit wanted mail"},
    ),
)
