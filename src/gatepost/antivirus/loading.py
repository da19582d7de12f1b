"""Engines by name, and everything warm before the walls go up.

Called once by the template process: afterwards the filters can open no file, so no module, codec or rule may be left
to load.
"""

import encodings
import math
import pkgutil
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import entry_points

from gatepost.antivirus.budget import Budget
from gatepost.antivirus.builtin import BuiltinEngine
from gatepost.antivirus.compiling import Image
from gatepost.antivirus.engine import Engine
from gatepost.antivirus.openers.document_samples import build_documents
from gatepost.antivirus.openers.samples import PASSWORD, build_samples
from gatepost.antivirus.opening import Opening
from gatepost.antivirus.stage import inspect
from gatepost.antivirus.unpack import open_container
from gatepost.model.finding import ScanOptions

ENGINE_GROUP = "gatepost.engines"

_SAMPLE = (
    b"From: a@example.org\r\nSubject: =?utf-8?B?w6TDtsO8?= =?iso-8859-15?Q?=A4?=\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\npreamble\r\n'
    b"--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\na=C3=A4=\r\n"
    b"\r\nbegin 644 x\r\n#86)C\r\n`\r\nend\r\n"
    b"--b\r\nContent-Type: application/zip; name*=utf-8''%C3%A4.zip\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    b"UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA==\r\n"
    b"--b\r\nContent-Type: application/gzip\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    b"H4sIAAAAAAAC/0tMSgYAwkEkNQMAAAA=\r\n"
    b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\nx\r\n--b--\r\nepilogue\r\n"
)


class EngineMissing(Exception):  # noqa: N818 - what is the matter
    """A named engine is not installed, or says that it cannot scan."""


def load_engines(names: Sequence[str], image: Image | None = None) -> list[Engine]:
    """Make the engines of these names: entry points of `gatepost.engines`, or `module:attribute`. EngineMissing.

    `image`: databases of the built-in engine; None = those the package carries.
    """
    if not names:
        raise EngineMissing("no engine is configured: nothing could be scanned")
    engines: list[Engine] = []
    for name in names:
        engine = BuiltinEngine(image) if name == BuiltinEngine.name else _make(name)
        reason = engine.health()
        if reason:
            raise EngineMissing(f"engine {name}: {reason}")
        engines.append(engine)
    return engines


def _make(name: str) -> Engine:
    module, colon, attribute = name.partition(":")
    if colon:
        engine: Engine = getattr(import_module(module), attribute)()
        return engine
    found = entry_points(group=ENGINE_GROUP, name=name)
    if not found:
        raise EngineMissing(f"engine {name} is not installed")
    made: Engine = next(iter(found)).load()()
    return made


def warm_up(engines: Sequence[Engine]) -> None:
    """Import every text codec and take one message through all of the code. No deadline: no timer thread may start."""
    for module in pkgutil.iter_modules(encodings.__path__):
        try:
            import_module(f"encodings.{module.name}")
        except ImportError:  # codecs of other operating systems
            continue
    options = ScanOptions()
    opening = Opening(Budget(options, math.inf), options, (PASSWORD,))
    for kind, archive in (*build_samples(), *build_documents()):
        for _ in open_container(archive, kind, "", opening):
            continue
    inspect(_SAMPLE, ScanOptions(cure=True), engines, math.inf)
