"""Profiles and rules: the set as a whole, its versions. Drafts are the console's; a program sends a whole set."""

from typing import Any, Final

from gatepost.console.api.operation import Ask, Asked, Operation, Text, Told, named
from gatepost.console.api.versioned import (
    ChangeReason,
    HistoryLimit,
    SavedVersion,
    SavedVersions,
    first,
    with_digest,
    with_number,
    with_number_and_digest,
)
from gatepost.control.rights import Right

RULES_LIMIT: Final = 8 * 1024 * 1024
"""Bytes of a request that brings a set: a thousand profiles have one."""


class RuleProblem(Told, frozen=True):
    """A fault of a rule set, at its place."""

    severity: str
    file: str
    place: str
    """Profile, rule, condition or action."""
    what: str
    mend: str


class Rules(Told, frozen=True):
    """The rule set."""

    enabled: bool
    """It acts on mail (`profiles.enabled`)."""
    shipped: bool
    """It is the one that came with the product: nobody has saved one of their own."""
    digest: str
    """Names this version: `If-Match` of what changes it."""
    rules: dict[str, Any]
    """As their files have it (manual, page rules): `common`, `personal`, `profiles`, lists, `settings`."""
    problems: list[RuleProblem]


class RulesOrder(Ask, frozen=True):
    """A set to be saved."""

    rules: dict[str, Any]
    """All of it, as getRules shows it."""
    comment: Text = ""
    """For the history."""


class RulesSaved(Told, frozen=True):
    """What was done."""

    number: int
    """Of the version; 0 = there was nothing to change."""
    diff: str
    answer: str
    problems: list[RuleProblem]


def _all(_: Asked) -> dict[str, Any]:
    return {"full": True}


OPERATIONS: Final = (
    Operation(
        name="getRules",
        method="GET",
        path="/rules",
        call="profiles.show",
        right=Right.CONFIGURATION,
        summary="Show profiles and rules",
        answer=Rules,
        build=_all,
        tags_version=True,
    ),
    Operation(
        name="saveRules",
        method="PUT",
        path="/rules",
        call="profiles.save",
        right=Right.CONFIGURE,
        summary="Save and compile profiles and rules",
        detail="The whole set. One with a fault, or one that the gateway does not take, changes nothing.",
        body=RulesOrder,
        answer=RulesSaved,
        build=with_digest,
        body_limit=RULES_LIMIT,
        takes_version=True,
        example={
            "rules": {
                "common": [{"file": "own"}],
                "profiles": {
                    "own": {
                        "name": "Own",
                        "rule": [{"if": [{"test": "size_over", "number": 20000}], "then": [{"do": "skip"}]}],
                    }
                },
            },
            "comment": "large mail is left alone",
        },
    ),
    Operation(
        name="listRulesVersions",
        method="GET",
        path="/rules/versions",
        call="profiles.history",
        right=Right.CONFIGURATION,
        summary="List the versions of profiles and rules",
        query=HistoryLimit,
        answer=SavedVersions,
        shape=named("items"),
    ),
    Operation(
        name="getRulesVersion",
        method="GET",
        path="/rules/versions/{number}",
        call="profiles.history",
        right=Right.CONFIGURATION,
        summary="Show a version of profiles and rules, and what it changed",
        answer=SavedVersion,
        build=with_number,
        shape=first,
        names_one=True,
    ),
    Operation(
        name="rollBackRules",
        method="POST",
        path="/rules/versions/{number}/rollback",
        call="profiles.rollback",
        right=Right.CONFIGURE,
        summary="Go back to a version of profiles and rules",
        body=ChangeReason,
        answer=RulesSaved,
        build=with_number_and_digest,
        names_one=True,
        takes_version=True,
        example={"comment": "the new rules were too strict"},
    ),
)
