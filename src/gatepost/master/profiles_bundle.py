"""A whole rule set as one thing: text for the history, an archive of XML for people. Pure. For `master.profiles`."""

import io
import re
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Final

import msgspec

from gatepost.config.problem import Problem
from gatepost.config.profiles_check import FILE_NAME
from gatepost.config.profiles_files import build_files
from gatepost.config.profiles_xml import FILES_LIMIT, read_xml_profile, read_xml_set
from gatepost.config.profiles_xml_reading import FILE_LIMIT
from gatepost.config.profiles_xml_writing import UnwritableError, build_xml_profile, build_xml_set
from gatepost.model.profile import RuleSet

UNPACKED_LIMIT: Final = 64 * 1024 * 1024
"""Bytes that an archive may hold unpacked."""
_HEAD: Final = "## "
"""In front of a file's name: no line of a file that we write begins so."""
_MARK = re.compile(rf"^{_HEAD}(\S+)\n", re.MULTILINE)
_MOMENT: Final = (1980, 1, 1, 0, 0, 0)
"""Of all members: the same set is the same archive."""


def bundle(rules: RuleSet) -> str:
    """Return a set as one text, which can be compared line by line."""
    return "".join(f"{_HEAD}{name}\n{text}" for name, text in sorted(build_files(rules).items()))


def unbundle(text: str) -> dict[str, str]:
    """Return the files of a set that was made one text."""
    pieces = _MARK.split(text)
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


def pack(rules: RuleSet, encoding: str, file: str = "") -> tuple[str, bytes]:
    """Return name and content of a set as a .zip of XML; with `file` that profile as XML. ValueError."""
    try:
        if file:
            return f"{file}.xml", build_xml_profile(rules.profiles[file], encoding)
        files = build_xml_set(rules, encoding)
    except UnwritableError as error:
        raise ValueError(str(error)) from error
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, raw in files.items():
            archive.writestr(zipfile.ZipInfo(name, _MOMENT), raw, zipfile.ZIP_DEFLATED)
    return "rules.zip", out.getvalue()


def unpack(rules: RuleSet, name: str, raw: bytes) -> tuple[RuleSet | None, Sequence[Problem]]:
    """Return what an upload makes of a set, None when it has errors; with what is to be said of it. A .zip is a whole
    set in XML, another file one profile. ValueError: it is neither.
    """
    if raw.startswith(b"PK"):
        found = read_xml_set(_members(raw))
        return found.rules, found.problems
    stem = PurePosixPath(name.replace("\\", "/")).name.removesuffix(".xml")
    if FILE_NAME.match(stem) is None:
        raise ValueError(f"{name[:60]!r} is no name of a profile: letters, digits, - _ and . are")
    profile, problems = read_xml_profile(raw, name)
    if profile is None:
        return None, problems
    return msgspec.structs.replace(rules, profiles={**rules.profiles, stem: profile}), problems


def _members(raw: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
            if len(infos) > FILES_LIMIT or sum(info.file_size for info in infos) > UNPACKED_LIMIT:
                raise ValueError(f"more than {FILES_LIMIT} files or {UNPACKED_LIMIT // 1024**2} MiB")
            files = {}
            for info in infos:
                with archive.open(info) as member:
                    files[info.filename] = member.read(FILE_LIMIT + 1)  # one byte more: the reader says "too long"
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, zlib.error) as error:
        raise ValueError(f"not an archive that can be read: {error}") from error
    index = min((name for name in files if name.rpartition("/")[2] == "profiles.xml"), key=len, default="")
    top = index.removesuffix("profiles.xml")  # packed together with their directory
    return {name.removeprefix(top): content for name, content in files.items()}
