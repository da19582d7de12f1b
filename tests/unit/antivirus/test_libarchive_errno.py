"""An error number that something else left behind does not end the process inside the library of archives."""

import subprocess
import sys

_OPEN = """
import base64, ctypes, errno
from gatepost.antivirus import libarchive

library = libarchive.load_library()
where = ctypes.CDLL(None).__errno_location
where.restype = ctypes.POINTER(ctypes.c_int)

def poisoned(function):
    def call(*arguments):
        where()[0] = errno.ENOMEM
        return function(*arguments)
    return call

for name in ("next_header", "path_utf8", "path"):
    setattr(library, name, poisoned(getattr(library, name)))
data = base64.b64decode(
    "UmFyIRoHAQDFGjMyAwEAAKQetHMuAgMiBwAAAgcBBAYH/wcG8QcBAKkBASEHnm9udGUsAAMBAAICBwAB/1swAQAAAA=="
)
with libarchive.ArchiveReader(data, 0, ("format_rar5",)) as reader:
    while reader.next_entry() is not None:
        pass
print("alive")
"""
"""A name that is no UTF-8, in a rar file."""


def test_an_old_error_number_is_not_taken_for_a_new_one() -> None:
    done = subprocess.run([sys.executable, "-c", _OPEN], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.returncode) == ("alive\n", 0), done.stderr
