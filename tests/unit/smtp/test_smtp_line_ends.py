"""Line ends around the borders of the slices in which they are looked for."""

import re

import pytest

from gatepost.smtp.lines import has_bare_line_ends

BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")
SLICE = 16 * 1024


@pytest.mark.parametrize("offset", range(-3, 4))
@pytest.mark.parametrize("ending", [b"\r\n", b"\r", b"\n", b"\r\r\n", b"\n\r", b"\r\n\r\n"])
@pytest.mark.parametrize("slices", [1, 2])
def test_border_hides_nothing_and_invents_nothing(offset: int, ending: bytes, slices: int) -> None:
    data = b"x" * (slices * SLICE + offset) + ending + b"y" * 100 + b"\r\n"
    assert has_bare_line_ends(data) == bool(BARE.search(data))
