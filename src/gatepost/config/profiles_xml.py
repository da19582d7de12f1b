"""Rule sets in the documented XML, read: `read_xml_set` gives the values of `model.profile`, or says what is wrong.

Specification configuration.md §5.3, rows F-ASP-13 and F-ASP-14. Called by `gatepost rules import` and the console
(`master.profiles`); `config.profiles_xml_writing` is the way back. Nothing is lost in silence: comments become the
comments of what they stand in front of, and what a rule set of ours has no place for is named with file and line. A
condition or an action that is not known, or not whole, is an error: without it the rule would say something else.
"""

import posixpath
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from gatepost.config.problem import Problem
from gatepost.config.profiles_xml_notes import XmlNotes, comment_of, join, text_of
from gatepost.config.profiles_xml_reading import CODECS, Element, XmlError, find_encoding, parse_xml
from gatepost.config.profiles_xml_rules import ProfileReader
from gatepost.config.profiles_xml_words import FOLDERS, SUFFIX, Folder
from gatepost.model.profile import (
    AddressList,
    DnsList,
    DnsService,
    NetworkList,
    Profile,
    ProfileRef,
    RuleSet,
    RuleSettings,
    Sample,
)

FILES_LIMIT: Final = 10_000
"""Files of a set: a thousand profiles with lists of their own has fewer."""
PROBLEMS_LIMIT: Final = 1000
"""Told of one set; a file of another kind would fill the screen."""

_MISSING_MEND: Final = "Put it there, or take the line out"
_SAMPLE_SUFFIXES: Final = (".txt", ".eml", ".msg", SUFFIX)


class Imported(msgspec.Struct, frozen=True):
    """What came of reading."""

    rules: RuleSet | None
    """None when there is any error."""
    problems: tuple[Problem, ...] = ()
    categories: tuple[tuple[str, str], ...] = ()
    """Of `catlist.xml`: (id, title). They belong to the databases and are no part of a set."""


def read_xml_set(files: Mapping[str, bytes]) -> Imported:
    """Return the set in `files`, by their paths below the directory of rules (`profiles/x.xml`)."""
    notes = XmlNotes()
    reader = _Reader(files, notes)
    rules = reader.read()
    return Imported(None if notes.broken else rules, tuple(notes.problems[:PROBLEMS_LIMIT]), reader.categories)


def read_xml_profile(raw: bytes, file: str) -> tuple[Profile | None, tuple[Problem, ...]]:
    """Return one profile of its own file."""
    notes = XmlNotes()
    profile = _Reader({file: raw}, notes).read_profile(file)
    return None if notes.broken else profile, tuple(notes.problems[:PROBLEMS_LIMIT])


class _Reader:
    """One set on its way."""

    def __init__(self, files: Mapping[str, bytes], notes: XmlNotes) -> None:
        self._files = files
        self._notes = notes
        self._profiles = ProfileReader(notes)
        self._seen: set[str] = set()
        self.categories: tuple[tuple[str, str], ...] = ()

    def read(self) -> RuleSet:
        if len(self._files) > FILES_LIMIT:
            self._notes.error("", 0, f"{len(self._files)} files: a set has {FILES_LIMIT} at most")
            return RuleSet()
        profiles: dict[str, Profile] = {}
        common, personal = self._order(profiles)
        for path in sorted(self._files):
            if posixpath.dirname(path) == "profiles" and path.endswith(SUFFIX) and path not in self._seen:
                stem = posixpath.basename(path).removesuffix(SUFFIX)
                found = self.read_profile(path)
                if found is not None and self._notes.check_name(path, 0, stem):
                    profiles[stem] = found
                    self._notes.note(path, 0, "in no order of profiles.xml: kept, and never run")
        hidden = self.read_profile("hidden/formal.xml") if "hidden/formal.xml" in self._files else None
        lists: dict[str, dict[str, Any]] = {folder.member: self._lists(folder) for folder in FOLDERS}
        samples, settings = self._samples(), self._settings()
        self.categories = self._categories()
        for path in sorted(self._files.keys() - self._seen):
            self._notes.note(path, 0, "is no file of a rule set: left out")
        if not self._seen:
            self._notes.error("", 0, "no rule files here", "Name the directory that holds profiles.xml")
        return RuleSet(
            hidden=hidden,
            common=common,
            personal=personal,
            profiles=profiles,
            samples=samples,
            settings=settings,
            **lists,
        )

    def _parse(self, path: str, *roots: str) -> Element | None:
        """Return the root of a file, when it is one of `roots` (none = any)."""
        self._seen.add(path)
        try:
            root = parse_xml(self._files[path])
        except XmlError as error:
            self._notes.error(path, error.line, str(error))
            return None
        if roots and root.name not in {each.lower() for each in roots}:
            self._notes.error(path, root.line, f"begins with <{root.tag[:40]}>, not with <{roots[0]}>")
            return None
        return root

    def _order(self, profiles: dict[str, Profile]) -> tuple[tuple[ProfileRef, ...], tuple[ProfileRef, ...]]:
        path = "profiles.xml"
        if path not in self._files:
            if any(name.startswith("profiles/") for name in self._files):
                self._notes.note(path, 0, "missing: no profile is in an order, so none will run")
            return (), ()
        root = self._parse(path, "Profiles")
        if root is None:
            return (), ()
        self._notes.left(path, root, ())
        self._notes.lose_comments(path, root.line, (*root.comments, *root.trailing))
        refs: dict[str, list[ProfileRef]] = {"common": [], "personal": []}
        for part in root.children:
            if part.name not in refs:
                self._notes.lose(path, part)
                continue
            self._notes.left(path, part, ())
            self._notes.lose_comments(path, part.line, (*part.comments, *part.trailing))
            for element in part.children:
                ref = self._profile_ref(path, element, profiles)
                if ref is not None:
                    refs[part.name].append(ref)
        return tuple(refs["common"]), tuple(refs["personal"])

    def _profile_ref(self, path: str, element: Element, profiles: dict[str, Profile]) -> ProfileRef | None:
        if element.name != "profileref":
            self._notes.lose(path, element)
            return None
        self._notes.left(path, element, ("file", "name", "active", "comment"))
        stem = self._notes.stem(path, element, element.attributes.get("file", ""))
        active = self._notes.switch(path, element, "active", default=True)
        if not stem:
            return None
        target = f"profiles/{stem}{SUFFIX}"
        if target not in self._files:
            self._notes.error(path, element.line, f"{target} is missing", _MISSING_MEND)
            return None
        if stem not in profiles:
            found = self.read_profile(target)
            if found is None:
                return None
            profiles[stem] = found
        name = element.attributes.get("name", "")
        if not profiles[stem].name:
            profiles[stem] = msgspec.structs.replace(profiles[stem], name=name)
        elif name and name != profiles[stem].name:
            self._notes.note(
                path, element.line, f"calls {stem} {name[:60]!r}, {target} says {profiles[stem].name[:60]!r}"
            )
        return ProfileRef(file=stem, active=active, comment=comment_of(element))

    def read_profile(self, path: str) -> Profile | None:
        root = self._parse(path, "Profile")
        return None if root is None else self._profiles.read(path, root)

    def _lists(self, folder: Folder) -> dict[str, Any]:
        found: dict[str, Any] = {}
        root = self._parse(folder.index) if folder.index in self._files else None
        if root is not None:
            self._notes.left(folder.index, root, ())
            self._notes.lose_comments(folder.index, root.line, (*root.comments, *root.trailing))
        for element in root.children if root is not None else ():
            if element.name != folder.ref.lower():
                self._notes.lose(folder.index, element)
                continue
            self._notes.left(folder.index, element, ("file", "name"))
            self._notes.lose_comments(folder.index, element.line, element.comments)
            stem = self._notes.stem(folder.index, element, element.attributes.get("file", ""))
            path = f"{folder.directory}/{stem}{SUFFIX}"
            if stem and path not in self._files:
                self._notes.error(
                    folder.index, element.line, f"{path} is missing", "Put it there, or take the line out"
                )
            elif stem and stem not in found:
                self._add_list(found, folder, path, stem, element.attributes.get("name", ""))
        for path in sorted(self._files):
            if posixpath.dirname(path) == folder.directory and path.endswith(SUFFIX) and path not in self._seen:
                stem = posixpath.basename(path).removesuffix(SUFFIX)
                if self._notes.check_name(path, 0, stem):
                    self._add_list(found, folder, path, stem, "")
                    self._notes.note(path, 0, f"not in {folder.index}: kept, behind the others")
        return found

    def _add_list(self, found: dict[str, Any], folder: Folder, path: str, stem: str, name: str) -> None:
        root = self._parse(path, folder.element)
        if root is None:
            return
        self._notes.left(path, root, ("name", "description", "comment"))
        own = root.attributes.get("name", "")
        if own and name and own != name:
            self._notes.note(path, root.line, f"calls itself {own[:60]!r}; {folder.index} says {name[:60]!r}")
        comments, lines = [comment_of(root)], []
        for child in root.children:
            comments += child.comments
            if child.name == "comment":
                comments.append(text_of(child))
            elif child.name != folder.item.lower():
                self._notes.lose(path, child)
            elif folder.attribute not in child.attributes:
                self._notes.error(path, child.line, f"<{child.tag}> lacks {folder.attribute}=")
            else:
                lines.append(self._line(path, folder, child))
        comments += root.trailing
        make: Callable[..., Any] = {"emails": AddressList, "iplists": NetworkList, "dnsbl": DnsList}[folder.member]
        found[stem] = make(
            name=own or name,
            description=root.attributes.get("description", ""),
            comment=join(comments),
            **{folder.field: tuple(lines)},
        )

    def _line(self, path: str, folder: Folder, element: Element) -> object:
        value = element.attributes[folder.attribute].strip()
        if folder.member == "dnsbl":
            self._notes.left(path, element, (folder.attribute, "description"))
            return DnsService(zone=value, description=element.attributes.get("description", ""))
        self._notes.left(path, element, (folder.attribute,))
        return value

    def _samples(self) -> dict[str, Sample]:
        index = "samples.xml"
        found: dict[str, Sample] = {}
        if index not in self._files:
            return found
        root = self._parse(index)
        if root is None:
            return found
        self._notes.left(index, root, ())
        self._notes.lose_comments(index, root.line, (*root.comments, *root.trailing))
        codec = CODECS[find_encoding(self._files[index])]
        for element in root.children:
            if element.name != "sampleref":
                self._notes.lose(index, element)
                continue
            self._notes.left(index, element, ("file", "category", "description"))
            self._notes.lose_comments(index, element.line, element.comments)
            file, category = element.attributes.get("file", ""), element.attributes.get("category", "")
            path = f"samples/{file}"
            stem = next((file.removesuffix(end) for end in _SAMPLE_SUFFIXES if file.endswith(end)), file)
            if not self._notes.check_name(index, element.line, stem):
                continue
            if path not in self._files or not category or stem in found:
                why = "is there twice" if stem in found else "has no category" if not category else "is missing"
                self._notes.error(index, element.line, f"{path} {why}", "Mend the line, or take it out")
                continue
            self._seen.add(path)
            text = _decode_sample(self._files[path], codec)
            found[stem] = Sample(category=category, description=element.attributes.get("description", ""), text=text)
        return found

    def _settings(self) -> RuleSettings:
        path = "settings.xml"
        root = self._parse(path, "Settings") if path in self._files else None
        settings = RuleSettings()
        if root is None:
            return settings
        self._notes.left(path, root, ())
        self._notes.lose_comments(path, root.line, (*root.comments, *root.trailing))
        for element in root.children:
            self._notes.lose_comments(path, element.line, element.comments)
            if element.name == "bouncemessage":
                self._notes.left(path, element, ("xml:space", "text"), text=True)
                text = text_of(element) or element.attributes.get("text", "")
                settings = msgspec.structs.replace(settings, bounce_text=text)
            elif element.name == "rejectmessage":
                self._notes.left(path, element, ("xml:space", "text"), text="text" not in element.attributes)
                text = element.attributes.get("text", text_of(element))
                settings = msgspec.structs.replace(settings, reject_text=text)
            else:
                self._notes.lose(path, element)
        return settings

    def _categories(self) -> tuple[tuple[str, str], ...]:
        path = "catlist.xml"
        root = self._parse(path, "Categories") if path in self._files else None
        if root is None:
            return ()
        self._notes.note(path, root.line, "is part of the databases, and read only: categories come with them")
        rows = (element.attributes for element in root.children if element.name == "category")
        return tuple((row.get("id", ""), row.get("title", "")) for row in rows)


def _decode_sample(raw: bytes, codec: str) -> str:
    for name in ("utf-8", codec):
        try:
            return raw.decode(name)
        except UnicodeDecodeError:
            continue
    return raw.decode("latin-1")
