"""Compare the MIME tree with two other parsers on the whole MIME corpus, and write what differs into docs/mime.md.

Run without arguments from the checkout; needs the corpus beside it (`../shared`, or GATEPOST_SHARED). The unit test of
the same comparison imports this file: a difference outside the classes below fails it.
"""

import email
import email.message
import email.policy
import os
import pathlib
import re
import tarfile
import warnings
from collections import Counter
from collections.abc import Iterator

import fast_mail_parser

from gatepost.mime.decode import decode_body
from gatepost.mime.part import Message
from gatepost.mime.structure import parse

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "mime.md"
BEGIN = "<!-- differences: begin -->"
END = "<!-- differences: end -->"

PYTHON = (3, 11)
"""The Python whose parsers of mail the page counts: newer ones read odd mail otherwise."""

CLASSES = {
    "line-end": "the other parser drops, keeps or rewrites the last line end or all of them; ours keeps the bytes",
    "charset": "the other parser has turned the body into text and back",
    "white-space": "white space in or around the encoded text is treated differently; the visible bytes are the same",
    "prefix": "ours has the other's bytes and more: it goes on behind padding, garbage or an early end",
    "suffix": "the other's bytes are the end of ours: it takes the body to start later",
    "contained": "the other's bytes stand inside one of our objects, which is scanned whole",
    "not-decoded": "the other parser gives the bytes as they stand where ours decodes them or takes them for header",
    "empty": "the other parser makes an empty part where there are no bytes",
    "fragment": "the other parser opens message/partial; ours leaves the fragment whole, policy calls it protected",
    "escape": "invalid quoted-printable: ours keeps an escape it cannot read, and lets `=` TAB LF be a soft line break",
}

_KNOWN = {
    "gmime/partial/input/photo-discuss/message-partial.0.eml": "fragment",
    "mime4j/testmsgs/obsolete.msg": "not-decoded",
    "noxxi-mime-is-broken/hide-content/013-multipart-basic-singlepart-qph-basic-qp-allenc-cont-tab.eml": "escape",
    "noxxi-mime-is-broken/hide-content/024-multipart-basic-singlepart-qph-basic-qp-H2_aH.eml": "escape",
    "noxxi-mime-is-broken/hide-content/084-multipart-basic-singlepart-qph-basic-qp-_W_allenc-cont.eml": "escape",
}
"""Files whose differences were looked at one by one."""


def corpus_path() -> pathlib.Path | None:
    """Return the archive of test messages, None when it is not there."""
    shared = pathlib.Path(os.environ.get("GATEPOST_SHARED", ROOT.parent / "shared"))
    path = shared / "corpora" / "mime" / "mime-tests.tar.gz"
    return path if path.is_file() else None


def corpus_files(path: pathlib.Path) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of every file of the archive."""
    with tarfile.open(path, "r:gz") as archive:
        for member in archive:
            handle = archive.extractfile(member) if member.isfile() else None
            if handle is not None:
                yield member.name.removeprefix("mime-tests/"), handle.read()


def our_leaves(content: bytes) -> set[bytes]:
    """Return the decoded bytes of everything we would scan in a message."""
    message = parse(content)
    found = {decode_body(holder.content, part).data for holder, part in message.leaves()}
    return found | set(_containers(message))


def _containers(message: Message) -> Iterator[bytes]:
    pending = [message]
    while pending:
        holder = pending.pop()
        yield holder.content
        for part in holder.walk():
            if part.nested is not None:
                pending.append(part.nested)
            if not part.is_leaf:
                yield holder.content[part.body : part.end]


def _stdlib_leaves(content: bytes, policy: email.policy.Policy) -> Iterator[bytes]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        message: email.message.Message = email.message_from_bytes(content, policy=policy)
        for part in message.walk():
            if part.is_multipart():
                continue
            try:
                payload = part.get_payload(decode=True)
            except (ValueError, LookupError, AttributeError, AssertionError):
                continue
            if isinstance(payload, bytes):
                yield payload


def _fast_leaves(content: bytes) -> Iterator[bytes]:
    try:
        message = fast_mail_parser.parse_email(content)
    except fast_mail_parser.ParseError:
        return
    for attachment in message.attachments:
        yield bytes(attachment.content)


def other_leaves(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield (parser, decoded bytes) of every leaf the other parsers find."""
    for payload in _stdlib_leaves(content, email.policy.compat32):
        yield "email compat32", payload
    for payload in _stdlib_leaves(content, email.policy.default):
        yield "email default", payload
    for payload in _fast_leaves(content):
        yield "fast-mail-parser", payload


_SPACES = re.compile(rb"\s+")


def classify(wanted: bytes, ours: set[bytes], content: bytes) -> str:
    """Return "" when `wanted` is one of our objects, the class of the difference otherwise, "unexplained" at worst."""
    if wanted in ours:
        return ""
    if not wanted.strip():
        return "empty"
    plain = wanted.replace(b"\r\n", b"\n").rstrip(b"\r\n")
    normal = {each.replace(b"\r\n", b"\n").rstrip(b"\r\n") for each in ours}
    if plain in normal:
        return "line-end"
    if any(each.startswith(plain) for each in normal):
        return "prefix"
    if any(each.endswith(plain) for each in normal):
        return "suffix"
    if any(plain in each for each in normal):
        return "contained"
    squeezed = _SPACES.sub(b"", wanted)
    if any(squeezed in _SPACES.sub(b"", each) for each in ours):
        return "white-space"
    if b"\xef\xbf\xbd" in wanted or not wanted.isascii():
        return _classify_charset(wanted, ours)
    if squeezed in _SPACES.sub(b"", content):
        return "not-decoded"
    return "unexplained"


def _classify_charset(wanted: bytes, ours: set[bytes]) -> str:
    skeleton = bytes(each for each in wanted if 32 < each < 127)
    return "charset" if any(skeleton in bytes(b for b in each if 32 < b < 127) for each in ours) else "unexplained"


def compare(name: str, content: bytes) -> Iterator[tuple[str, str, str]]:
    """Yield (class, parser, file) of every leaf of another parser that is not one of our objects byte for byte."""
    ours = our_leaves(content)
    for parser, wanted in other_leaves(content):
        found = classify(wanted, ours, content)
        if found == "unexplained":
            found = _KNOWN.get(name, found)
        if found:
            yield found, parser, name


def table(path: pathlib.Path) -> str:
    """Return the table of differences over the corpus, in Markdown."""
    total: Counter[str] = Counter()
    count: Counter[tuple[str, str]] = Counter()
    example: dict[str, str] = {}
    files = 0
    for name, content in corpus_files(path):
        files += 1
        for parser, _wanted in other_leaves(content):
            total[parser] += 1
        for found, parser, file in compare(name, content):
            count[found, parser] += 1
            example.setdefault(found, file)
    parsers = sorted(total)
    lines = [
        f"{files} files; leaves found by " + ", ".join(f"{parser}: {total[parser]}" for parser in parsers) + ".",
        "",
        "| class | " + " | ".join(parsers) + " | why | example |",
        "|---|" + "---|" * len(parsers) + "---|---|",
    ]
    for found in [*CLASSES, "unexplained"]:
        if found in example:
            cells = " | ".join(str(count[found, parser]) for parser in parsers)
            lines.append(f"| {found} | {cells} | {CLASSES.get(found, '')} | `{example[found]}` |")
    return "\n".join(lines)


def main() -> None:
    path = corpus_path()
    if path is None:
        raise SystemExit("the MIME corpus is not beside the checkout: set GATEPOST_SHARED")
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{table(path)}\n{END}{after}")


if __name__ == "__main__":
    main()
