"""A judge's answers by the word in the subject, for mail systems that ask by milter: the same for each of them."""

import re

from gatepost.mime.field_edits import plan_field_edits
from gatepost.model.filtering import Deed, Part, Request, Ruling
from gatepost.model.reply import reply
from gatepost.model.verdict import Splice
from gatepost.service.judge import Unjudged
from tests.support.scripted_judge import ruling

STATUS = "X-SpamTest-Status"
LABEL = b"[SPAM] "
PLACEHOLDER = b"The message was infected. 100 % of it is gone.\r\n" * 3000
"""More than one packet, and more than Postfix's line buffer."""
REFUSAL = "554 5.7.1 It is infected: 100% sure"
_SUBJECT = re.compile(rb"^Subject:[ \t]*((\S+).*)$", re.MULTILINE)


def message(word: str, recipients: str = "anna@example.com", body: bytes = b"Hello,\r\nthis is it.\r\n") -> bytes:
    """A message that is answered by this word; its fields are written in ways that mail systems must keep."""
    return (
        b"Received: from a\r\n\tby b; Mon, 2 Jan 2023 10:00:00 +0000\r\nX-Tight:no blank\r\nX-Wide:  two blanks \r\n"
        b"X-Folded: one\r\n two\r\n\tthree\r\nX-Empty:\r\nX-Eight: gr\xc3\xbcn\r\nX-Twice: 1\r\nX-Twice: 2\r\n"
        b"From: sender@example.net\r\nTo: " + recipients.encode() + b"\r\nSubject: " + word.encode() + b" mail\r\n"
        b"Date: Mon, 2 Jan 2023 10:00:00 +0000\r\nMessage-ID: <" + word.encode() + b"@example.net>\r\n\r\n" + body
    )


def copy_of(content: bytes, prefix: bytes, *splices: Splice, recipients: tuple[str, ...] = ()) -> Part:
    """An edited copy, with the edits a judge makes of it."""
    splices = tuple(sorted(splices, key=lambda splice: splice.start))
    header_end = content.index(b"\r\n\r\n") + 2
    edits, body_changed = plan_field_edits(content, header_end, prefix, splices)
    return Part(recipients=recipients, prefix=prefix, splices=splices, field_edits=edits, body_changed=body_changed)


def copy_bytes(part: Part, content: bytes) -> bytes:
    """What the recipients get of it."""
    for splice in reversed(part.splices):
        content = content[: splice.start] + splice.data + content[splice.end :]
    return part.prefix + content


def answer(request: Request, content: bytes) -> Ruling | Exception:
    """What the word in front of the subject asks for."""
    told = request.recipients
    subject = _SUBJECT.search(content)
    assert subject is not None
    body = content.index(b"\r\n\r\n") + 4
    label = Splice(subject.start(1), subject.start(1), LABEL)
    status = STATUS.encode()
    match subject[2].decode():
        case "label":
            last = content.index(b"X-Twice: 2")
            gone = Splice(last, last + len(b"X-Twice: 2\r\n"), b"")
            return ruling(copy_of(content, status + b": spam\r\n", gone, label, recipients=told))
        case "placeholder":
            return ruling(copy_of(content, b"X-Gone: yes\r\n", label, Splice(body, len(content), PLACEHOLDER)))
        case "empty":
            return ruling(copy_of(content, b"", Splice(body, len(content), b"")))
        case "virus":
            return ruling(deed=Deed.REJECT, reply=reply(554, "5.7.1", "It is infected: 100% sure"), recipients=told)
        case "later":
            return ruling(deed=Deed.REJECT, reply=reply(451, "4.7.1", "Come again"), recipients=told)
        case "drop":
            return ruling(deed=Deed.DISCARD, reason="spam, kept in quarantine", recipients=told)
        case "groups":
            whole = copy_of(content, status + b": spam\r\n" + status + b": not detected\r\n", label, recipients=told)
            return Ruling(parts=(Part(recipients=told[:1]), Part(recipients=told[1:])), whole=whole)
        case "half":
            parts = (Part(recipients=told[:1]), Part(recipients=told[1:], deed=Deed.REJECT))
            return Ruling(parts=parts, whole=copy_of(content, status + b": spam\r\n", recipients=told[:1]))
        case "elsewhere":
            whole = Part(redirect=("post@example.com",), copies=("copy@example.com",))
            return Ruling(parts=(Part(recipients=told, redirect=whole.redirect, copies=whole.copies),), whole=whole)
        case "unjudged":
            return Unjudged("no filter in time")
    return ruling(copy_of(content, status + b": not detected\r\n", recipients=told))
