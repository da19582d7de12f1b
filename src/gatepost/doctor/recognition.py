"""Words in pictures: are they read where the administrator wishes for it?"""

from collections.abc import Iterator

from gatepost.config.schema import Config
from gatepost.doctor.finding import Finding, State


def check_recognition(config: Config, _now: float) -> Iterator[Finding]:
    """Look for what reading them needs. `auto` is content without."""
    if config.antispam.recognise_text != "on":
        return
    from gatepost.antispam.ocr.language_data import find_lack  # noqa: PLC0415 - a master else carries none of anti-spam

    lack = find_lack(config.antispam.recognise_text_data)
    if lack:
        mend = (
            "install gatepost[ocr] and language data (Debian: tesseract-ocr-eng), then `gatepost reload`; or set "
            '`[antispam] recognise_text = "auto"`'
        )
        text = f"words in pictures are not read: {lack}"
        yield Finding("recognition", "databases", State.WARNING, text, mend)
