"""The filter by name and by type (rows F-AV-14 to F-AV-16), compiled for use.

Asked twice: by the anti-virus stage before anything is scanned, for what every group of a message filters, and by
`policy.decide`, group by group. Pure.
"""

import re
from functools import lru_cache

import msgspec

from gatepost.config.masks import MaskSet
from gatepost.model.finding import ObjectFilterSpec, ObjectKind, ObjectReport

_TEXT_BODIES = frozenset(("text/plain", "text/html"))
"""Types of the parts people write their text in; without a file name such a part is no attachment."""
_DEFAULT_TYPES = {ObjectKind.PART: "text/plain", ObjectKind.BLOCK: "application/octet-stream"}
"""Type of an object that declares none: RFC 2045 §5.2 for a part; an encoded block is a file (text around
the parts of a multipart is a block too, and declared as text)."""
_NOT_STORED = re.compile(r"(?::{1,2}\$DATA|[. ])+\Z", re.IGNORECASE)
"""What Windows drops from the end of a file name."""
_NO_MASKS = MaskSet(())
_HEADER, _MEMBER = ObjectKind.HEADER, ObjectKind.MEMBER


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

    def matches(self, report: ObjectReport, *, doubtful: bool = True) -> bool:
        """Tell whether an object is filtered; what stands for the message never is.

        Of an object with several names, of which the filter takes only some, `doubtful` decides: programs differ in
        which name they take, so it is stopped as the one, and not exempted for the other.
        """
        kind, declared = report.kind, report.content_type
        if self.matches_object(kind, report.name, declared):
            if report.other_names and not doubtful:
                others = report.other_names
                return all(self.matches_object(kind, name, declared) for name in others)
        elif not doubtful or not any(self.matches_object(kind, name, declared) for name in report.other_names):
            return False
        return not stands_for_message(report)

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
        stored = _NOT_STORED.sub("", name)
        if not self.include_names.matches(name) and (stored == name or not self.include_names.matches(stored)):
            return False
        return not self.exclude_names.matches(name) or (stored != name and not self.exclude_names.matches(stored))


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
