"""What reading words in pictures needs: the optional library `gatepost[ocr]`, and Tesseract's language data (Debian's
package `tesseract-ocr-eng`). Looks for both and loads neither, so whoever only asks whether they are there pays little.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Final

LIBRARY: Final = "tesserocr"
DATA_ROOT: Final = Path("/usr/share")
DATA_PATTERN: Final = "tesseract-ocr/*/tessdata"
"""Where Debian's packages put language data, below `DATA_ROOT`."""
SUFFIX: Final = ".traineddata"
LANGUAGES_LIMIT: Final = 4
"""Languages read at once: each costs some 10 MB, and its share of the time of every line."""


def find_data(directory: str = "") -> Path | None:
    """Return the directory with language data: the one named, or the newest of Debian's; None when it has none."""
    places = [Path(directory)] if directory else sorted(DATA_ROOT.glob(DATA_PATTERN), reverse=True)
    return next((place for place in places if find_languages(place)), None)


def find_languages(directory: Path) -> list[str]:
    """Return the languages in a directory, English first, then in order of their names."""
    names = [path.name.removesuffix(SUFFIX) for path in directory.glob(f"*{SUFFIX}")]
    # "osd" tells how a page lies and reads nothing.
    return sorted((name for name in names if name != "osd"), key=lambda name: (name != "eng", name))[:LANGUAGES_LIMIT]


def find_lack(directory: str = "") -> str:
    """Return in words what is missing of library and language data, "" when both are there."""
    if find_spec(LIBRARY) is None:
        return f"the library {LIBRARY} is not installed"
    if find_data(directory) is None:
        return f"there is no language data of Tesseract in {directory or DATA_ROOT / DATA_PATTERN}"
    return ""
