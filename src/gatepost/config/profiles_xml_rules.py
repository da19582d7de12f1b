"""Profiles in the documented XML, read: rules, conditions, actions. Pure; `config.profiles_xml` calls it.

A condition or an action that is not known, or not whole, is an error: without it the rule would say something else.
"""

import re
from collections.abc import Iterable
from typing import Any, Final

from gatepost.config.profiles_xml_notes import XmlNotes, comment_of, join, line_comment_of, text_of
from gatepost.config.profiles_xml_reading import Element
from gatepost.config.profiles_xml_words import ACTION_BY_TAG, ACTIONS, CONDITION_BY_TAG, CONDITIONS, LISTS, Word
from gatepost.model.profile import UPDATE_MARKER, Action, Condition, Profile, Rule

NUMBER_DIGITS: Final = 9
"""Of a number in a condition: a terabyte in KB has ten."""
_BETWEEN_ADDRESSES = re.compile(r"[;,\s]+")


class ProfileReader:
    """Reads profiles; what it finds wrong goes to `notes`."""

    def __init__(self, notes: XmlNotes) -> None:
        self._notes = notes

    def read(self, path: str, root: Element) -> Profile:
        """Return the profile of a file."""
        self._notes.left(path, root, ("name", "description", "rcpt", "rcptlist", "comment"))
        texts = {name: root.attributes.get(name, "") for name in ("name", "description", "rcpt", "rcptlist")}
        comments: list[str] = []
        rules = []
        for child in root.children:
            if child.name == "rule":
                rules.append(self._rule(path, child))
            elif child.name == "comment":
                comments.append(text_of(child))
                comments += child.comments
            elif child.name in texts and not texts[child.name]:
                texts[child.name] = text_of(child)
                comments += child.comments
            else:
                self._notes.lose(path, child)
        comment = join([root.attributes.get("comment", ""), *comments, *root.trailing])
        if texts["rcpt"] and texts["rcptlist"]:
            self._notes.error(path, root.line, "rcpt and rcptlist exclude each other", "Leave one of them out")
        listed = self._notes.stem(path, root, texts["rcptlist"]) if texts["rcptlist"] else ""
        return Profile(
            name=texts["name"],
            description=texts["description"],
            comment=_with_marker(comment, root.comments),
            recipients=split_addresses(texts["rcpt"]),
            recipient_list=listed,
            rules=tuple(rules),
        )

    def _rule(self, path: str, element: Element) -> Rule:
        self._notes.left(path, element, ("comment",))
        comments = [comment_of(element)]
        conditions: list[Condition] = []
        actions: list[Action] = []
        for part in element.children:
            if part.name == "comment":
                comments += [*part.comments, text_of(part)]
            elif part.name in {"conditions", "actions"}:
                self._notes.left(path, part, ())
                comments += part.comments
                for each in part.children:
                    if part.name == "conditions":
                        conditions += self._condition(path, each)
                    else:
                        actions += self._action(path, each)
                comments += part.trailing
            else:
                self._notes.lose(path, part)
        comments += element.trailing
        return Rule(comment=join(comments), conditions=tuple(conditions), actions=tuple(actions))

    def _condition(self, path: str, element: Element) -> list[Condition]:
        kind = CONDITION_BY_TAG.get(element.name)
        if kind is None:
            self._notes.error(path, element.line, f"<{element.tag[:40]}> is no condition", _known(CONDITIONS.values()))
            return []
        found = self._members(path, element, CONDITIONS[kind])
        if found is None:
            return []
        if kind in LISTS:
            found["value"] = self._notes.stem(path, element, found["value"])
        negated = self._notes.switch(path, element, "not", default=False)
        return [Condition(test=kind, negated=negated, comment=line_comment_of(element), **found)]

    def _action(self, path: str, element: Element) -> list[Action]:
        act = ACTION_BY_TAG.get(element.name)
        if act is None:
            self._notes.error(path, element.line, f"<{element.tag[:40]}> is no action", _known(ACTIONS.values()))
            return []
        found = self._members(path, element, ACTIONS[act])
        return [] if found is None else [Action(do=act, comment=line_comment_of(element), **found)]

    def _members(self, path: str, element: Element, word: Word) -> dict[str, Any] | None:
        """Return the members that the attributes of a condition or an action are; None: told what is wrong."""
        found: dict[str, Any] = {}
        for attribute, member in word.attributes:
            value = element.attributes.get(attribute)
            if value is None and len(word.attributes) == 1 and element.text.strip():
                value = element.text.strip()  # <DoSyslog>words</DoSyslog>
                element.text = ""
            if value is None:
                self._notes.error(path, element.line, f"<{element.tag}> lacks {attribute}=")
                return None
            if member == "number":
                if not (value.isascii() and value.isdigit() and len(value) <= NUMBER_DIGITS):
                    self._notes.error(
                        path, element.line, f'<{element.tag}>: {attribute}="{value[:40]}" is no whole number'
                    )
                    return None
                found[member] = int(value)
            else:
                found[member] = split_addresses(value) if member == "addresses" else value
        # What is left of it would say more about when it holds or what it does than is understood.
        known = {attribute for attribute, _ in word.attributes} | {"not", "comment"}
        unknown = sorted(element.attributes.keys() - known)
        if unknown or element.children:
            odd = f"{unknown[0]}=" if unknown else f"<{element.children[0].tag[:40]}>"
            self._notes.error(path, element.line, f"<{element.tag}>: {odd} is not known here")
            return None
        self._notes.left(path, element, known)
        return found


def _known(words: Iterable[Word]) -> str:
    return f"Known are {', '.join(word.tag for word in words)}"


def _with_marker(comment: str, in_front: list[str]) -> str:
    """Return a profile's comment with what stands in front of its file; the marker of updates comes first."""
    marked = any(each.startswith(UPDATE_MARKER) for each in in_front)
    others = [each for each in in_front if each != UPDATE_MARKER]
    if marked and not comment.startswith(UPDATE_MARKER) and not (others and others[0].startswith(UPDATE_MARKER)):
        others.insert(0, UPDATE_MARKER)
    return join([*others, comment] if marked else [comment, *others])


def split_addresses(text: str) -> tuple[str, ...]:
    """Return the addresses in an attribute; semicolons are documented, commas and blanks were written as well."""
    return tuple(filter(None, _BETWEEN_ADDRESSES.split(text)))
