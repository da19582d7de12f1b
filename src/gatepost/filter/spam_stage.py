"""Anti-spam in the filters' template: `load_spam_stage`, imported only where some group checks for spam.

Called by `filter.template` before the walls go up; afterwards everything that the checks use is in memory.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from gatepost.antispam.check import Check
from gatepost.antispam.checks import build_checks, build_free_checks
from gatepost.antispam.classifier.learned import Learned, map_file
from gatepost.antispam.content import inspect_content
from gatepost.antispam.extract.parts import PictureReader
from gatepost.antispam.knowledge import load_packaged
from gatepost.antispam.ocr.recogniser import load_recogniser
from gatepost.feeds.cache import BasesNotLoaded
from gatepost.feeds.spam import load_knowledge
from gatepost.filter.settings import FilterSettings
from gatepost.mime.part import Message
from gatepost.model.spam import SpamFacts, SpamOptions


class SpamStage:
    """All content checks, ready to look at messages."""

    def __init__(self, checks: Sequence[Check], reader: PictureReader | None = None) -> None:
        """`reader`: of words in pictures."""
        self._checks = tuple(checks)
        self._reader = reader

    def inspect(self, message: Message, options: SpamOptions) -> SpamFacts:
        """Let every check look at a message."""
        return inspect_content(message, options, self._checks, self._reader)


def load_spam_stage(settings: FilterSettings) -> SpamStage:
    """Make the content checks, without databases those that need none (antispam.md §15). BasesNotLoaded."""
    bases = settings.spam_bases
    if bases is not None and not bases.sets:
        return SpamStage(build_free_checks())
    knowledge = load_packaged() if bases is None else load_knowledge(bases, Path(settings.bases_cache) / "spam")
    try:
        return SpamStage(build_checks(knowledge, _open_learned(settings.learned)), _load_reader(settings))
    except ValueError as error:
        raise BasesNotLoaded(f"anti-spam databases: {error}") from None


def _open_learned(path: str) -> Learned | None:
    """Map what was learned; the learner may write to it at any time, and it alone mends the file. None: nothing was
    learned, or the file cannot be used: mail is rated by the base model alone. The master sees that, too, and shows it.
    """
    if not path:
        return None
    try:
        return map_file(Path(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        told = f"gatepost filter template: {path} is not used, mail is rated by the base model alone: {error}"
        print(told, file=sys.stderr, flush=True)
        return None


def _load_reader(settings: FilterSettings) -> PictureReader | None:
    """Return what reads words in pictures, if it is wished for and installed: mail goes on without it."""
    if settings.recognise_text == "off":
        return None
    reader = load_recogniser(settings.recognise_text_data, time.monotonic)
    if reader is None and settings.recognise_text == "on":
        print(_NO_READER, file=sys.stderr, flush=True)
    return reader


_NO_READER = (
    "gatepost filter template: [antispam] recognise_text is on, but words in pictures are not read: the library "
    "tesserocr (gatepost[ocr]) or its language data is missing or damaged"
)
