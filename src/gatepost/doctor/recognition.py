"""Words in pictures: are they read where the administrator wishes for it?"""

import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final

from gatepost.config.schema import Config
from gatepost.doctor.finding import Finding, State

TRIAL_S: Final = 60.0
"""For reading a sample, which takes a third of a second of an idle machine."""
_KEY: Final = "recognition"
_MISSING: Final = (
    "install gatepost[ocr] and language data (Debian: tesseract-ocr-eng), then `gatepost reload`; or set "
    '`[antispam] recognise_text = "auto"`'
)
_DAMAGED: Final = (
    "install the language data again (Debian: `apt-get install --reinstall tesseract-ocr-eng`), then `gatepost reload`"
)


def check_recognition(config: Config, _now: float) -> Iterator[Finding]:
    """Look for what reading them needs, and try it. `auto` is content without."""
    if config.antispam.recognise_text != "on":
        return
    # A master else carries none of anti-spam.
    from gatepost.antispam.ocr.language_data import SUFFIX, find_data, find_lack  # noqa: PLC0415

    text, mend = find_lack(config.antispam.recognise_text_data), _MISSING
    place = find_data(config.antispam.recognise_text_data)
    if not text and place is not None:
        damage = _try_data(place, SUFFIX)
        text, mend = f"the language data in {place} is damaged: {damage}" if damage else "", _DAMAGED
    if text:
        yield Finding(_KEY, "databases", State.WARNING, f"words in pictures are not read: {text}", mend)


def _try_data(place: Path, suffix: str) -> str:
    """Return what is wrong with the data, "" when nothing is or a busy machine does not say; then it is asked again."""
    try:
        stats = [(path.name, path.stat()) for path in sorted(place.glob(f"*{suffix}"))]
        return _read_sample(place, tuple((name, facts.st_size, facts.st_mtime_ns) for name, facts in stats))
    except (subprocess.TimeoutExpired, OSError):
        return ""


@lru_cache(maxsize=1)
def _read_sample(place: Path, _stamp: tuple[tuple[str, int, int], ...]) -> str:
    """As `_try_data`, once for data that stays as it is. TimeoutExpired, OSError: not known."""
    command = [sys.executable, "-m", "gatepost.antispam.ocr.trial", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TRIAL_S, check=False)  # noqa: S603 - ourselves
    return done.stdout.strip() if done.returncode == 0 else f"the library ends with it (code {done.returncode})"
