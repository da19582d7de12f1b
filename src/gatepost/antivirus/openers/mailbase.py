"""Mail inside mail: mbox folders and messages attached as files, every part of them a member (F-AV-04).

Called by `unpack` when mail bases are scanned. Messages are read by the parser that reads the mail itself, so all its
readings of doubtful messages are members, too.
"""

import re
from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.kinds import FRONTS, detect_kind
from gatepost.antivirus.openers.encoded import open_encoded
from gatepost.antivirus.openers.taking import take
from gatepost.antivirus.opening import Member, Opening
from gatepost.antivirus.page_archives import find_page_archive
from gatepost.mime.decode import decode_body
from gatepost.mime.line_ends import end_lines
from gatepost.mime.structure import parse

_FROM_LINE = re.compile(rb"^From [^\n]{0,1000}\n", re.MULTILINE)
_HEADER_TYPE: Final = "text/rfc822-headers"


def open_mail(data: bytes, name: str, opening: Opening) -> Iterator[Member]:
    """Yield header and every leaf of one message. OverBudget."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        data = data.decode("utf-16", "replace").encode("utf-8", "replace")
    if b"\n" not in data:
        data = end_lines(data)
    if detect_kind(data) in FRONTS:
        data = data[max(0, find_page_archive(data)) :]
    message = parse(data)
    yield take(opening, "header", data[message.root.start : message.root.body], _HEADER_TYPE)
    for place, part in message.leaves():
        content = decode_body(place.content, part).data
        if not content.strip() or content == data:  # without a header all of it is text: the same once more
            continue
        label = part.name or part.content_type.replace("/", "-")
        protected = part.content_type == "message/partial"
        member = take(opening, label, content, part.content_type)
        yield Member(member.name, content, protected, content_type=part.content_type) if protected else member
        yield from open_encoded(content, "", opening)
    if message.truncated:
        yield Member(
            "", trouble=f"{name or 'attached message'} was not read to its end: {', '.join(message.defects())}"
        )


def open_mbox(data: bytes, _name: str, opening: Opening) -> Iterator[Member]:
    """Yield the messages, each as a member. OverBudget.

    A line that starts with `From ` separates messages wherever it stands: writers should have escaped it, but who has
    not makes one message two, and both are looked at.
    """
    if b"\n" not in data:
        data = end_lines(data)
    starts = [(found.start(), found.end()) for found in _FROM_LINE.finditer(data)] or [(0, 0)]
    ends = [start for start, _ in starts[1:]] + [len(data)]
    for count, ((_, start), end) in enumerate(zip(starts, ends, strict=True), 1):
        yield take(opening, f"message {count}", data[start:end], "message/rfc822")
