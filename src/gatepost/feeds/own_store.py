"""The administrator's own samples and images: `OwnStore`, one directory, changed by `gatepost spam sample` and `image`.

Each item is a file whose first line says its category; `compile` makes of all of them the files that filters read
(`feeds.own`). Whatever is written comes into its place by a rename and belongs to whom the state directory belongs, so
that it does not matter whether root or the gateway's user ran the command.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from gatepost.antispam.category import check_category
from gatepost.antispam.images.base import ImageBase, KnownImage, compile_images, parse_images, read_image
from gatepost.antispam.samples.base import SampleBase, compile_samples, parse_samples, sketch
from gatepost.antispam.samples.source import build_sample, parse_sample
from gatepost.feeds.own_items import OwnError, OwnItems, Sort
from gatepost.storage.whole_file import replace_file

ITEM_LIMIT = 16 * 1024 * 1024
"""Bytes of one item: beyond it no picture of a mail is looked at either."""
_MODE = 0o640
Parsed = TypeVar("Parsed")


class OwnStore(OwnItems):
    """Items and their compiled forms below one directory."""

    def add(self, sort: Sort, name: str, category: str, content: bytes, *, replace: bool = False) -> None:
        """Keep an item: the text of a sample in UTF-8, or a picture. OwnError, OSError."""
        if len(content) > ITEM_LIMIT:
            raise OwnError(f"{name}: longer than {ITEM_LIMIT} bytes")
        path = self._path(sort, name)
        if path.exists() and not replace:
            raise OwnError(f"there is {name} already; --replace puts this one in its place")
        try:
            check_category(category)
            if sort is Sort.SAMPLE:
                raw = build_sample(category, content.decode("utf-8", "replace"))
                sketch(parse_sample(name, raw).text)
            else:
                read_image(name, category, content)
                raw = f"= {category}\n".encode() + content
        except ValueError as error:
            raise OwnError(str(error)) from None
        self._write(path, raw)

    def compile(self) -> dict[Sort, int]:
        """Make the files that filters read; return how many items are in each. OwnError, OSError."""
        samples = [_parse(parse_sample, path) for path in self._files(Sort.SAMPLE)]
        images = [_parse(_read_picture, path) for path in self._files(Sort.IMAGE)]
        try:
            compiled = compile_samples(samples)
            SampleBase(parse_samples("own.samples", compiled))
            pictures = compile_images(images)
            ImageBase(parse_images("own.pictures", pictures))
        except ValueError as error:
            raise OwnError(str(error)) from None
        for name, raw, count in (("own.samples", compiled, len(samples)), ("own.pictures", pictures, len(images))):
            if count:
                self._write(self._place / name, raw)
            else:
                (self._place / name).unlink(missing_ok=True)
        return {Sort.SAMPLE: len(samples), Sort.IMAGE: len(images)}

    def _write(self, path: Path, raw: bytes) -> None:
        owner = self._place.parent.stat()
        for folder in (self._place, path.parent):
            if not folder.exists():
                folder.mkdir(0o750)
                self._give(folder, owner)
        replace_file(path, raw, mode=_MODE, owner=owner)

    def _give(self, path: Path, owner: os.stat_result) -> None:
        if os.geteuid() == 0:
            os.chown(path, owner.st_uid, owner.st_gid)


def _parse(parse: Callable[[str, bytes], Parsed], path: Path) -> Parsed:
    try:
        return parse(path.name, path.read_bytes())
    except ValueError as error:
        raise OwnError(f"{path}: {error}") from None


def _read_picture(name: str, raw: bytes) -> KnownImage:
    first, _, content = raw.partition(b"\n")
    return read_image(name, first.removeprefix(b"=").strip().decode("ascii", "replace"), content)
