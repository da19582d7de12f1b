"""From parts to the ranges an object report carries. Called by the filter, which alone has the tree."""

import msgspec

from gatepost.mime.part import Part
from gatepost.model.finding import Span


class PartSpans(msgspec.Struct, frozen=True, array_like=True):
    """The ranges of `ObjectReport` for one part of the received content (`Message.depth` 0, no reading).

    `fields` ends with the line that separates header and body, an empty range where it is missing: an edit strips all
    of `fields` and puts its own in the place of the last. When the header breaks off without a line end, its last
    field is stripped too, so that the place is always the beginning of a line.
    """

    whole: Span
    body: Span
    fields: tuple[Span, ...]
    delimiter: Span
    siblings: int


def part_spans(content: bytes, part: Part) -> PartSpans:
    """Return the ranges to edit `part` by; `content` is that of its message. For a preamble or an epilogue, `whole`
    is all there is to edit (`ObjectKind.BLOCK`).
    """
    parent = part.parent
    siblings = len(parent.children) if parent is not None and part.delimiter[1] else 1
    return PartSpans(
        Span(part.start, part.end),
        Span(part.body, part.end),
        _fields(content, part),
        Span(*part.delimiter),
        siblings,
    )


def _fields(content: bytes, part: Part) -> tuple[Span, ...]:
    start = part.body
    if content.endswith(b"\n", part.start, part.body):
        line = content.rfind(b"\n", part.start, part.body - 1) + 1 or part.start
        if not content[line : part.body].strip(b"\r\n"):
            start = line
    elif part.fields and part.fields[-1].end == part.body:
        start = part.fields[-1].start
    else:  # a line that is no field and does not end: what is put behind it would become part of it
        start = content.rfind(b"\n", part.start, part.body) + 1 or part.start
    spans = [Span(field.start, field.end) for field in part.fields if field.name[:8] == b"content-"]
    spans = [span for span in spans if span.start < start]
    spans.append(Span(start, part.body))
    return tuple(spans)
