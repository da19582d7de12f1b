"""Samples that a set of databases carries: what it must find, and what it must find nothing in.

A set's author puts them below `trial/found` and `trial/clean` of its sources; `gatepost feed build` takes them into the
set, `cli.sample_trial` tries them before a set is published or installed. Filters in service never read them. In a set
they are base64, so that other scanners of the host let the directory be, and nobody starts one by accident.
"""

import base64
import binascii
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Final

import msgspec

from gatepost.antivirus.sources import Source
from gatepost.feeds.manifest import TRIAL, BadSet, DatabaseSet, Kind, read_trial

FOUND: Final = f"{TRIAL}found/"
CLEAN: Final = f"{TRIAL}clean/"
SUFFIX: Final = ".b64"
SAMPLES_LIMIT: Final = 200
"""Of one set: each is an inspection at every installation, before each update of the set."""
BYTES_LIMIT: Final = 8 * 1024 * 1024
"""Of all samples of a set."""
_MAIL: Final = ".eml"
_LINE: Final = 76
_HEADER: Final = (
    b"From: anna@sender.example\r\nTo: user@recipient.example\r\nDate: Mon, 02 Mar 2026 10:00:00 +0000\r\n"
    b"Message-ID: <sample@sender.example>\r\nMIME-Version: 1.0\r\nSubject: sample\r\n"
)


class TrialSample(msgspec.Struct, frozen=True):
    """One of them."""

    name: str
    """Path below `trial`."""
    found: bool
    """The set must find something in it; else nothing."""
    data: bytes

    def as_mail(self, kind: Kind) -> bytes:
        """Return a mail with it: itself when it is one, else one with it as its file, or as its text for anti-spam."""
        name = PurePosixPath(self.name).name
        if name.endswith(_MAIL):
            return self.data
        if kind is Kind.ANTISPAM:
            return _HEADER + b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + self.data
        fields = f'Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename="{name}"\r\n'
        return _HEADER + fields.encode("ascii") + b"Content-Transfer-Encoding: base64\r\n\r\n" + wrap_sample(self.data)


def wrap_sample(data: bytes) -> bytes:
    """Return a sample as it stands in a set."""
    text = base64.b64encode(data)
    return b"".join(text[at : at + _LINE] + b"\r\n" for at in range(0, len(text), _LINE))


def unwrap_samples(sources: Iterable[Source]) -> tuple[TrialSample, ...]:
    """Return the samples of files below `trial`, in the order of their names. BadSet."""
    samples: list[TrialSample] = []
    room = BYTES_LIMIT
    for source in sorted(sources, key=lambda each: each.path):
        found = source.path.startswith(FOUND)
        if not source.path.endswith(SUFFIX) or not (found or source.path.startswith(CLEAN)):
            raise BadSet(f"{source.path}: samples are {FOUND}NAME{SUFFIX} and {CLEAN}NAME{SUFFIX}, in base64")
        try:
            data = base64.b64decode(b"".join(source.data.split()), validate=True)
        except binascii.Error as error:
            raise BadSet(f"{source.path}: no base64: {error}") from None
        room -= len(data)
        samples.append(TrialSample(source.path.removeprefix(TRIAL).removesuffix(SUFFIX), found, data))
    if len(samples) > SAMPLES_LIMIT or room < 0:
        raise BadSet(f"more than {SAMPLES_LIMIT} trial samples in a set, or more than {BYTES_LIMIT} bytes of them")
    return tuple(samples)


def read_samples(database: DatabaseSet) -> tuple[TrialSample, ...]:
    """Return the samples of a set. BadSet."""
    return unwrap_samples(read_trial(database))
