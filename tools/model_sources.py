"""What the base model is made of: real mail whose licence allows it, and written examples of today's mail.

Used by `tools/build_model.py` and `tools/accuracy.py`. Real mail is read in place from the corpora (`GATEPOST_SHARED`
or `../shared`); written examples are `tools/model_texts/*.txt`, put together by `model_texts.py`.
"""

import csv
import os
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parent.parent
PERMITTED = ("spamassassin-2002", "inbox-2023-2025")
"""Sets that may be used for what is shipped: the SpamAssassin public corpus (Apache-2.0), the inbox set (MIT, free)."""
EVALUATION_ONLY = ("modern-2019-2024",)
"""For non-commercial use: measured, never shipped nor trained on for a figure."""
_PROVENANCE = re.compile(
    rb"phishing@pot|rodrigo[- ]f[- ]p|usrp-users|blinux-list|ettus|via usrp-users|^(Subject:.*)\[[\w .-]{1,30}\] ?"
    rb"|_{20,}\r?\n.{0,40} mailing list.*",
    re.IGNORECASE | re.MULTILINE,
)
_KEPT = (b"from", b"reply-to", b"subject", b"date", b"mime-version")


class Mail(msgspec.Struct, frozen=True):
    """One labelled message of a set."""

    spam: bool
    source: str
    """Sub-corpus."""
    name: str
    content: bytes


def shared() -> Path:
    """Return the folder of the corpora."""
    return Path(os.environ.get("GATEPOST_SHARED", ROOT.parent / "shared"))


def read_set(name: str) -> Iterator[Mail]:
    """Yield the messages of a set in order of receipt."""
    with tarfile.open(shared() / "corpora" / "spam" / f"{name}.tar.gz", "r:gz") as archive:
        contents = {}
        index = b""
        for member in archive:
            stream = archive.extractfile(member)
            if stream is None:
                continue
            path = member.name.removeprefix("./").removeprefix(f"{name}/")
            if path == "index.tsv":
                index = stream.read()
            else:
                contents[path] = stream.read()
    for row in csv.DictReader(index.decode().splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE):
        content = contents[row["id"]]
        if "mboxfrom" in row["flags"]:
            content = content.split(b"\n", 1)[1]
        yield Mail(row["label"] == "spam", row["source"], row["id"], content)


def cleaned(content: bytes) -> bytes:
    """Return a message without what tells only where it was collected: of its header only what people wrote."""
    head, gap, body = content.partition(b"\r\n\r\n" if b"\r\n\r\n" in content[:65536] else b"\n\n")
    kept = []
    for field in re.split(rb"\r?\n(?![ \t])", head):
        name = field.partition(b":")[0].strip().lower()
        if name in _KEPT or name.startswith(b"content-"):
            kept.append(field)
    end = b"\r\n" if gap.startswith(b"\r") else b"\n"
    return _PROVENANCE.sub(lambda match: (match[1] or b"") + b"xx", end.join(kept) + gap + body)


def group_of(text: str) -> int:
    """Return a number that near-duplicates share: of the longest words, numbers and names of people aside."""
    words = sorted(set(re.findall(r"[^\W\d_]{5,}", text.lower())), key=lambda word: (-len(word), word))[:12]
    return zlib.crc32(" ".join(words).encode())
