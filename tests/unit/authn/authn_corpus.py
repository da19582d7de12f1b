"""Files of the shared test material for protocols, read in place, and what tests of authentication share."""

import functools
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
from tests.support.zone import Zone

from gatepost.authn.arc import ArcResult, check_chain
from gatepost.authn.chain import read_chain
from gatepost.authn.dkim import check_signatures
from gatepost.authn.reading import read_signatures
from gatepost.authn.signed import SignedContent
from gatepost.mime.structure import parse
from gatepost.model.authn import DkimResult

SHARED = Path(os.environ.get("GATEPOST_SHARED", Path(__file__).parents[4] / "shared"))
_ARCHIVE = SHARED / "corpora/proto/proto-tests.tar.gz"


@functools.cache
def _read() -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with tarfile.open(_ARCHIVE) as archive:
        for entry in archive:
            file = archive.extractfile(entry) if entry.isfile() else None
            if file is not None:
                found[entry.name.partition("/")[2]] = file.read()
    return found


def corpus_names(folder: str) -> list[str]:
    """Return the files of a folder, none when the material is not here."""
    return sorted(name for name in _read() if name.startswith(folder)) if _ARCHIVE.is_file() else []


def corpus_file(name: str) -> bytes:
    """Return a file of the material."""
    if not _ARCHIVE.is_file():
        pytest.skip("the shared corpora are not here (set GATEPOST_SHARED)")
    return _read()[name]


def corpus_mail(name: str) -> bytes:
    """Return a message of the material with the line ends it was sent with."""
    return with_crlf(corpus_file(name))


def with_crlf(raw: bytes) -> bytes:
    return raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def corpus_yaml(name: str) -> list[dict[str, Any]]:
    """Return the documents of a YAML file."""
    yaml = pytest.importorskip("yaml", reason="needs PyYAML to read the suite")
    return [each for each in yaml.load_all(corpus_file(name), getattr(yaml, "CSafeLoader", yaml.SafeLoader)) if each]


def signed_content(content: bytes) -> SignedContent:
    root = parse(content).root
    return SignedContent(content, root.fields, root.body)


def dkim_results(content: bytes, zone: Zone, now: float = 0.0) -> tuple[DkimResult, ...]:
    return zone.run(check_signatures(read_signatures(signed_content(content)), now))


def arc_result(content: bytes, zone: Zone) -> ArcResult:
    return zone.run(check_chain(*read_chain(signed_content(content))))
