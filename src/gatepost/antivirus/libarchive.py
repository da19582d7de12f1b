"""libarchive, as much of it as reading an archive in memory needs: `ArchiveReader`.

Called by `openers.archive` and `openers.stream`. The library is the one that comes in the wheel `archive-r-python`.
Formats and filters are named by the caller, one by one: what the content was recognised as, never whatever the library
might try. Results are values; only `Broken` is raised.
"""

import ctypes
import functools
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Self

import msgspec

OK: Final = 0
EOF: Final = 1
WARN: Final = -20
FAILED: Final = -25

REGULAR: Final = 0o100000
LINK: Final = 0o120000
FOLDER: Final = 0o040000
_TYPE_MASK: Final = 0o170000
_LAST_FILTER: Final = -1
"""The filter nearest to the data, where several unpack one after the other."""

_FOLDER_OF_WHEEL: Final = "archive_r_python.libs"
_SYSTEM_LIBRARY: Final = "libarchive.so.13"


class LibraryMissing(ImportError):  # noqa: N818 - what is the matter
    """No libarchive can be loaded: archives could not be opened, so nothing may start."""


class Broken(Exception):  # noqa: N818 - what the archive is
    """The archive cannot be read, or not further. The text is the library's."""


class Entry(msgspec.Struct, frozen=True):
    """One entry as its header states it."""

    name: str
    """Path inside the archive, "" when it states none."""
    kind: int
    """REGULAR, FOLDER, LINK or another file type of stat(2); 0 when the archive states none."""
    encrypted: bool
    sparse_size: int = 0
    """Bytes of a file with holes, the last of which is no block; 0 for others."""
    trouble: str = ""
    """What the library did not like about the header, and could pass over."""


def _load() -> ctypes.CDLL:
    spec = find_spec("archive_r")
    if spec is not None and spec.origin:
        for path in sorted((Path(spec.origin).parent / _FOLDER_OF_WHEEL).glob("libarchive-*.so*")):
            return ctypes.CDLL(str(path), use_errno=True)
    try:
        return ctypes.CDLL(_SYSTEM_LIBRARY, use_errno=True)
    except OSError as error:
        raise LibraryMissing(f"libarchive is not installed: {error}") from None


class _Functions:
    """The functions used, with their types."""

    def __init__(self) -> None:
        library = _load()
        pointer, number, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
        out = ctypes.POINTER

        def bind(name: str, result: Any, *arguments: Any) -> Any:
            function = library["archive_" + name]
            function.restype, function.argtypes = result, list(arguments)
            return function

        self.bind = bind
        self.read_new = bind("read_new", pointer)
        self.read_free = bind("read_free", number, pointer)
        self.open_memory = bind("read_open_memory", number, pointer, pointer, ctypes.c_size_t)
        self.next_header = bind("read_next_header", number, pointer, out(pointer))
        self.read_block = bind(
            "read_data_block", number, pointer, out(pointer), out(ctypes.c_size_t), out(ctypes.c_int64)
        )
        self.error = bind("error_string", text, pointer)
        self.bytes_read = bind("filter_bytes", ctypes.c_int64, pointer, number)
        self.add_passphrase = bind("read_add_passphrase", number, pointer, text)
        self.set_options = bind("read_set_options", number, pointer, text)
        self.file_type = bind("entry_filetype", number, pointer)
        self.size = bind("entry_size", ctypes.c_int64, pointer)
        self.holes = bind("entry_sparse_count", number, pointer)
        self.path = bind("entry_pathname", text, pointer)
        self.path_utf8 = bind("entry_pathname_utf8", text, pointer)
        self.is_encrypted = bind("entry_is_encrypted", number, pointer)

    @functools.cache  # noqa: B019 - one instance for the life of the process
    def supporting(self, what: str) -> Any:
        """Return the function that switches one format or filter on, for example "format_cab"."""
        return self.bind(f"read_support_{what}", ctypes.c_int, ctypes.c_void_p)


@functools.cache
def load_library() -> _Functions:
    """Load the library, once. LibraryMissing: there is none."""
    return _Functions()


class ArchiveReader:
    """One walk through one archive. Use as a context manager; the data must not change meanwhile."""

    def __init__(
        self, data: bytes, start: int, supports: tuple[str, ...], options: str = "", password: bytes = b""
    ) -> None:
        """`start`: where in `data` the archive begins. `supports`: formats and filters, as in "format_tar"."""
        self._library = library = load_library()
        self._data = data  # the library reads in place
        self._handle = library.read_new()
        if not self._handle:
            raise MemoryError
        for what in supports:
            library.supporting(what)(self._handle)
        if options:
            library.set_options(self._handle, options.encode("ascii"))
        if password:
            library.add_passphrase(self._handle, password)
        address = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0
        self._header = ctypes.c_void_p()
        self._buffer = ctypes.c_void_p()
        self._size = ctypes.c_size_t()
        self._offset = ctypes.c_int64()
        self.warning = ""
        """What was wrong with the blocks of this entry although they could be read: a checksum."""
        self._opened = library.open_memory(self._handle, address + start, len(data) - start)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._library.read_free(self._handle)
        self._handle = None

    @property
    def consumed(self) -> int:
        """How many bytes of the archive have been read."""
        return int(self._library.bytes_read(self._handle, _LAST_FILTER))

    def next_entry(self) -> Entry | None:
        """Go to the next entry; None at the end. Broken."""
        if self._opened < WARN:
            raise Broken(self._words())
        library = self._library
        self.warning = ""
        # Where a name cannot be converted the library ends the process if `errno` is ENOMEM, whoever left it there.
        ctypes.set_errno(0)
        result = library.next_header(self._handle, ctypes.byref(self._header))
        if result == EOF:
            return None
        if result < WARN:
            raise Broken(self._words())
        trouble = self._words() if result != OK else ""
        header = self._header
        ctypes.set_errno(0)
        return Entry(
            name=_decode(library.path_utf8(header) or library.path(header) or b""),
            kind=library.file_type(header) & _TYPE_MASK,
            encrypted=library.is_encrypted(header) > 0,
            sparse_size=library.size(header) if library.holes(header) > 0 else 0,
            trouble=trouble,
        )

    def read_block(self) -> tuple[int, bytes] | None:
        """Return (offset in the entry, bytes) of the entry's next block, None at its end. Offsets rise; gaps are zeros
        that were never written. Broken.
        """
        result = self._library.read_block(
            self._handle, ctypes.byref(self._buffer), ctypes.byref(self._size), ctypes.byref(self._offset)
        )
        if result == EOF:
            return None
        if result != OK:
            if result < WARN:
                raise Broken(self._words())
            self.warning = self._words()
        size = self._size.value
        return self._offset.value, ctypes.string_at(self._buffer.value or 0, size) if size else b""

    def _words(self) -> str:
        words = self._library.error(self._handle)
        return words.decode("ascii", "replace") if words else "the archive is damaged"


def _decode(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")
