"""Rule sets in the documented XML, written: `build_xml_set`. Pure; called by `gatepost rules export` and the console.

What this writes reads back by `config.profiles_xml` to an equal set, in every documented encoding: what an encoding has
no byte for is written as a character reference.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from gatepost.config.profiles_xml_reading import CODECS
from gatepost.config.profiles_xml_words import ACTIONS, CONDITIONS, FOLDERS, LISTS, SUFFIX, Folder, Word
from gatepost.model.profile import (
    UPDATE_MARKER,
    Action,
    AddressList,
    Condition,
    DnsList,
    NetworkList,
    Profile,
    ProfileRef,
    RuleSet,
    RuleSettings,
    Sample,
)

_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
"""XML 1.0 has no way to write these, not even as references (§2.2)."""
_INDENT: Final = "  "


class UnwritableError(Exception):
    """A set has something that XML cannot hold."""


def build_xml_set(rules: RuleSet, encoding: str = "utf-8") -> dict[str, bytes]:
    """Return the files of a set by their paths below the directory of rules. UnwritableError; ValueError: no such
    encoding.
    """
    if encoding not in CODECS:
        raise ValueError(f"{encoding!r} is none of {', '.join(CODECS)}")
    files = {"profiles.xml": _profiles_index(rules), "settings.xml": _settings(rules.settings)}
    files |= {f"profiles/{stem}{SUFFIX}": profile_text(profile) for stem, profile in rules.profiles.items()}
    if rules.hidden is not None:
        files[f"hidden/formal{SUFFIX}"] = profile_text(rules.hidden)
    for folder in FOLDERS:
        lists: dict[str, AddressList | NetworkList | DnsList] = getattr(rules, folder.member)
        files[folder.index] = _list_index(folder, lists)
        files |= {f"{folder.directory}/{stem}{SUFFIX}": _list(folder, each) for stem, each in lists.items()}
    files["samples.xml"] = _samples_index(rules.samples)
    raw = {path: _encode(text, encoding, path) for path, text in files.items()}
    return raw | {f"samples/{stem}.txt": _encode_sample(stem, sample) for stem, sample in rules.samples.items()}


def build_xml_profile(profile: Profile, encoding: str = "utf-8") -> bytes:
    """Return the file of one profile. UnwritableError."""
    return _encode(profile_text(profile), encoding, profile.name)


def _encode(text: str, encoding: str, path: str) -> bytes:
    odd = _UNWRITABLE.search(text)
    if odd is not None:
        raise UnwritableError(f"{path}: the character U+{ord(odd[0]):04X} cannot be written in XML")
    head = f'<?xml version="1.0" encoding="{encoding}"?>\n'
    return (head + text).encode(CODECS[encoding], "xmlcharrefreplace")


def _encode_sample(stem: str, sample: Sample) -> bytes:
    try:
        return sample.text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UnwritableError(f"sample {stem}: a lone surrogate at character {error.start} is no text") from None


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;")


def _quote(text: str) -> str:
    """Return a value as an attribute; line ends and tabs would be read as blanks."""
    escaped = _escape(text).replace('"', "&quot;").replace("\n", "&#10;").replace("\t", "&#9;")
    return f'"{escaped}"'


def _tag(name: str, attributes: Iterable[tuple[str, str]] = ()) -> str:
    """Return what stands between < and >; attributes without a value are left out."""
    return name + "".join(f" {key}={_quote(value)}" for key, value in attributes if value)


def _text_element(name: str, text: str) -> str:
    """Return an element that holds text; one with blanks around its text says that they count."""
    kept = (("xml:space", "preserve"),) if text != text.strip() else ()
    return f"<{_tag(name, kept)}>{_escape(text)}</{name}>"


def _join(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _profiles_index(rules: RuleSet) -> str:
    def refs(part: str, rows: tuple[ProfileRef, ...]) -> Iterator[str]:
        yield f"{_INDENT}<{part}>"
        for ref in rows:
            profile = rules.profiles.get(ref.file)
            attributes = (
                ("file", ref.file + SUFFIX),
                ("name", "" if profile is None else profile.name),
                ("active", "yes" if ref.active else "no"),
                ("comment", ref.comment),
            )
            yield f"{_INDENT * 2}<{_tag('ProfileRef', attributes)}/>"
        yield f"{_INDENT}</{part}>"

    return _join(["<Profiles>", *refs("Common", rules.common), *refs("Personal", rules.personal), "</Profiles>"])


def profile_text(profile: Profile) -> str:
    """Return a profile's file without its first line, which tells the encoding."""
    attributes = (
        ("name", profile.name),
        ("description", profile.description),
        ("rcpt", _addresses(profile.recipients, profile.name)),
        ("rcptlist", profile.recipient_list and profile.recipient_list + SUFFIX),
    )
    return _join(
        [
            *([f"<!-- {UPDATE_MARKER} -->"] if profile.comment.startswith(UPDATE_MARKER) else []),
            f"<{_tag('Profile', attributes)}>",
            *_comment(profile.comment),
            *(line for rule in profile.rules for line in _rule(rule.comment, rule.conditions, rule.actions)),
            "</Profile>",
        ]
    )


def _comment(comment: str, depth: int = 1) -> list[str]:
    return [_INDENT * depth + _text_element("Comment", comment)] if comment else []


def _rule(comment: str, conditions: tuple[Condition, ...], actions: tuple[Action, ...]) -> Iterator[str]:
    yield f"{_INDENT}<Rule>"
    yield from _comment(comment, 2)
    yield f"{_INDENT * 2}<Conditions>"
    for condition in conditions:
        yield f"{_INDENT * 3}<{_condition(condition)}/>"
    yield f"{_INDENT * 2}</Conditions>"
    yield f"{_INDENT * 2}<Actions>"
    for action in actions:
        yield f"{_INDENT * 3}<{_members(ACTIONS[action.do], action)}{_tag('', [('comment', action.comment)])}/>"
    yield f"{_INDENT * 2}</Actions>"
    yield f"{_INDENT}</Rule>"


def _condition(condition: Condition) -> str:
    more = (("not", "yes" if condition.negated else ""), ("comment", condition.comment))
    suffix = SUFFIX if condition.test in LISTS else ""
    return _members(CONDITIONS[condition.test], condition, suffix) + _tag("", more)


def _members(word: Word, value: Condition | Action, suffix: str = "") -> str:
    text = word.tag
    for attribute, member in word.attributes:
        held = getattr(value, member)
        told = _addresses(held, word.tag) if isinstance(held, tuple) else f"{held}{suffix}"
        text += f" {attribute}={_quote(told)}"  # also an empty one: as a sender it is the null sender
    return text


def _addresses(addresses: tuple[str, ...], place: str) -> str:
    for address in addresses:
        if not address or re.search(r"[;,\s]", address):
            raise UnwritableError(f"{place}: {address!r} cannot stand in a list of addresses in XML")
    return ";".join(addresses)


def _list_index(folder: Folder, lists: dict[str, AddressList | NetworkList | DnsList]) -> str:
    rows = (
        f"{_INDENT}<{_tag(folder.ref, [('file', stem + SUFFIX), ('name', each.name)])}/>"
        for stem, each in lists.items()
    )
    return _join([f"<{folder.root}>", *rows, f"</{folder.root}>"])


def _list(folder: Folder, value: AddressList | NetworkList | DnsList) -> str:
    rows: Iterator[str]
    if isinstance(value, DnsList):
        rows = (
            f"{folder.item} {folder.attribute}={_quote(each.zone)}" + _tag("", [("description", each.description)])
            for each in value.services
        )
    else:
        lines: tuple[str, ...] = getattr(value, folder.field)
        rows = (f"{folder.item} {folder.attribute}={_quote(line)}" for line in lines)
    head = _tag(folder.element, [("name", value.name), ("description", value.description)])
    items = (f"{_INDENT}<{row}/>" for row in rows)
    return _join([f"<{head}>", *_comment(value.comment), *items, f"</{folder.element}>"])


def _samples_index(samples: dict[str, Sample]) -> str:
    rows = (
        _tag(
            "SampleRef",
            [("file", f"{stem}.txt"), ("category", sample.category), ("description", sample.description)],
        )
        for stem, sample in samples.items()
    )
    return _join(["<Samples>", *(f"{_INDENT}<{row}/>" for row in rows), "</Samples>"])


def _settings(settings: RuleSettings) -> str:
    return _join(
        [
            "<Settings>",
            _INDENT + _text_element("BounceMessage", settings.bounce_text),
            f"{_INDENT}<RejectMessage text={_quote(settings.reject_text)}/>",
            "</Settings>",
        ]
    )
