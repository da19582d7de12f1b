"""`python -m gatepost.antispam.ocr.trial [DIRECTORY]`: says on one line why words in pictures cannot be read with the
language data there ("": where Debian has it), and nothing when they can.

Started by `doctor.recognition`: data that is damaged is read by no process that must live.
"""

import sys
from typing import Final

from gatepost.antispam.ocr.language_data import find_data, find_languages
from gatepost.antispam.ocr.recogniser import SAMPLE, draw_sample, load_recogniser

PICTURE_S: Final = 20.0
"""For the sample: a busy machine is no damage."""
_ENGLISH: Final = "eng"


def find_damage(directory: str) -> str:
    """Return why the data is of no use, "" when it reads a sample. Other languages need not know its letters."""
    place = find_data(directory)
    reader = load_recogniser(directory, lambda: 0.0, PICTURE_S)
    if place is None or reader is None:
        return "the library cannot load it"
    read = set(" ".join(reader.read([draw_sample()])).split())
    if _ENGLISH in find_languages(place) and not read & set(SAMPLE.split()):
        return f"the words {SAMPLE!r} in a picture were not read with it"
    return ""


if __name__ == "__main__":
    print(find_damage(sys.argv[1] if len(sys.argv) > 1 else ""))
