"""The filter by name and by type (rows F-AV-14 to F-AV-16), compiled for use.

Asked twice: by the anti-virus stage before anything is scanned, for what every group of a message filters, and by
`policy.decide`, group by group. Pure.
"""

import re
from collections.abc import Iterator
from functools import lru_cache

import msgspec

from gatepost.config.masks import MaskSet
from gatepost.model.finding import ObjectFilterSpec, ObjectKind, ObjectReport

_TEXT_BODIES = frozenset(("text/plain", "text/html"))
"""Types of the parts people write their text in; without a file name such a part is no attachment."""
_DEFAULT_TYPES = {ObjectKind.PART: "text/plain", ObjectKind.BLOCK: "application/octet-stream"}
"""Type of an object that declares none: RFC 2045 §5.2 for a part; an encoded block is a file (text around
the parts of a multipart is a block too, and declared as text)."""
_NOT_STORED = re.compile(r"(?:ATAD\$::?|[. ])*+", re.IGNORECASE)
"""What Windows drops from the end of a file name, from the end: so it is looked for in one place only."""
_NO_MASKS = MaskSet(())
_HEADER, _MEMBER, _PART = ObjectKind.HEADER, ObjectKind.MEMBER, ObjectKind.PART


def stands_for_message(report: ObjectReport) -> bool:
    """Tell whether an object is no element but the message itself: what could not be read to its end, or not at all.

    Its range, if it has one, is all of the message, header included, so it is neither filtered nor edited as an object.
    """
    return report.parent < 0 and report.kind is ObjectKind.PART and not report.fields and report.body == report.whole


class ObjectFilter(msgspec.Struct, frozen=True):
    """One group's filter. Each half works only where it is configured."""

    names: bool = False
    """The half by name is active."""
    types: bool = False
    """The half by MIME type is active."""
    include_names: MaskSet = _NO_MASKS
    exclude_names: MaskSet = _NO_MASKS
    include_types: MaskSet = _NO_MASKS
    exclude_types: MaskSet = _NO_MASKS
    inside: bool = False
    """Members of archives are filtered by name, too."""

    @property
    def active(self) -> bool:
        """Whether it can filter anything."""
        return self.names or self.types

    def matches(self, report: ObjectReport) -> bool:
        """Tell whether an object is filtered by each of its names and types; what stands for the message never is."""
        return all(self._judgements(report)) and not stands_for_message(report)

    def matches_reading(self, report: ObjectReport) -> bool:
        """Tell whether an object is filtered by one of several names or types. Readers of mail differ in which they
        take, so it is to be stopped as the one, and not exempted for the other.
        """
        if not report.other_names and not report.other_types:
            return False
        return any(self._judgements(report)) and not stands_for_message(report)

    def _judgements(self, report: ObjectReport) -> Iterator[bool]:
        kind = _PART if report.in_mail else report.kind
        for name in (report.name, *report.other_names):
            for content_type in (report.content_type, *report.other_types):
                yield self.matches_object(kind, name, content_type)

    def matches_object(self, kind: ObjectKind, name: str, content_type: str) -> bool:
        """Tell whether an object of this file name and declared type is filtered. The header block never is.

        An object without a name goes by the empty name, which only masks such as `*` match; the text of a message is
        no attachment and so has no name to match. Members have a name only: their types are often the openers' words.
        """
        if kind is _MEMBER:
            return self.inside and self.names and self._matches_name(name.replace("\\", "/").rpartition("/")[2])
        if kind is _HEADER:
            return False
        content_type = content_type or _DEFAULT_TYPES[kind]
        if self.names and (name or content_type not in _TEXT_BODIES) and self._matches_name(name):
            return True
        return self.types and self.include_types.matches(content_type) and not self.exclude_types.matches(content_type)

    def _matches_name(self, name: str) -> bool:
        """Match the name as it stands, and as Windows stores it."""
        if self.include_names.matches(name) and not self.exclude_names.matches(name):
            return True
        dropped = _NOT_STORED.match(name[::-1])
        stored = name[: len(name) - dropped.end()] if dropped is not None else name
        return stored != name and self.include_names.matches(stored) and not self.exclude_names.matches(stored)


@lru_cache(maxsize=64)
def compile_filter(spec: ObjectFilterSpec) -> ObjectFilter:
    """Compile a filter's masks; remembered, for the same few come with every message."""
    return ObjectFilter(
        names=spec.names,
        types=spec.types,
        include_names=MaskSet(spec.include_names),
        exclude_names=MaskSet(spec.exclude_names),
        include_types=MaskSet(spec.include_types),
        exclude_types=MaskSet(spec.exclude_types),
        inside=spec.inside,
    )
