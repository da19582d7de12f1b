"""Cures behind the walls of a filter: everything they need is there, and nothing is left open."""

import base64
import gzip
import io
import json
import lzma
import subprocess
import sys
import tarfile

from tests.unit.antivirus import cure_samples as samples
from tests.unit.antivirus import test_cure_pdf as pdfs

BAD = b"the worm"
WALLED = """
import base64, hashlib, json, math, os, sys
from gatepost.antivirus.budget import Budget
from gatepost.antivirus.builtin import BuiltinEngine
from gatepost.antivirus.cure import BadMember, plan_cure
from gatepost.antivirus.engine import ScanObject
from gatepost.antivirus.kinds import Kind
from gatepost.antivirus.loading import warm_up
from gatepost.filter.sandbox import Sandbox, Walls, enter
from gatepost.model.finding import ScanOptions

warm_up([BuiltinEngine()])
cases = {kind: base64.b64decode(data) for kind, data in json.load(sys.stdin).items()}
bad = [BadMember("w", hashlib.sha256(b"the worm").digest())]
threads = len(os.listdir("/proc/self/task"))
sandbox = Sandbox(Walls(512 * 1024 * 1024, 65534, 65534))
child = os.fork()
if not child:
    enter(sandbox, frozenset({1, 2}), os.getppid())
    cured = {
        kind: plan_cure(ScanObject(data, "x", kind=Kind(kind)), bad, Budget(ScanOptions(), math.inf), note="gone")
        for kind, data in cases.items()
    }
    os.write(1, json.dumps([threads, sorted(kind for kind, each in cured.items() if each is None)]).encode())
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in (("a", b"hello"), ("w", BAD)):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def test_every_cure_works_behind_the_walls() -> None:
    cases = {
        "zip": samples.package(("a.txt", "hello"), ("w", BAD)),
        "tar": tar(),
        "gzip": gzip.compress(tar()),
        "xz": lzma.compress(tar()),
        "ole": samples.compound(samples.Node("Workbook", 2, samples.macro_workbook())),
        "ooxml": samples.docm(samples.field(" DDEAUTO cmd ")),
        "odf": samples.odt(),
        "pdf": pdfs.pdf_of(pdfs.add_open_script),
        "html": "<meta charset=utf-8><p>Grüße</p><script>x</script>".encode(),
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>',
    }
    encoded = json.dumps({kind: base64.b64encode(data).decode() for kind, data in cases.items()})
    done = subprocess.run(
        [sys.executable, "-c", WALLED], input=encoded, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "[1, []]"), done.stderr[-2000:]
