"""The remote engines of a configuration. Called once by the template process."""

from collections.abc import Callable, Iterable

from gatepost.antivirus.clamd import ClamdDialogue
from gatepost.antivirus.command import CommandDialogue
from gatepost.antivirus.icap import IcapDialogue
from gatepost.antivirus.remote import Dialogue, Remote
from gatepost.config.engines import EngineKind, EngineTable

_DIALOGUES: dict[EngineKind, Callable[[EngineTable], Dialogue]] = {
    EngineKind.CLAMD: ClamdDialogue,
    EngineKind.ICAP: IcapDialogue,
    EngineKind.COMMAND: CommandDialogue,
}


def make_remotes(engines: Iterable[EngineTable]) -> list[Remote]:
    """Make them, in their order; each still needs its way to connections (`Remote.attach`)."""
    return [Remote(engine, _DIALOGUES[engine.kind]) for engine in engines]
