"""PDF files without what acts: `cure_pdf`.

Called by `plan`. Scripts, actions that start, fetch or send something, embedded files, forms that carry scripts (XFA),
and pictures that are programs (rich media) go; pages, links to addresses and jumps inside the document stay. What is
written holds only what the document still refers to: nothing of older revisions is left. A signature does not hold
over a changed file, so signed fields lose it, and the words say so.
"""

import hashlib
import io
import warnings
from collections.abc import Sequence
from typing import Final

import pikepdf

from gatepost.antivirus.cure.cured import BadMember, Cured, Uncurable, build_cured

OBJECTS: Final = 300_000
"""Of one document: a thousand pages have some ten thousand."""
_DEPTH: Final = 60
"""Arrays and dictionaries inside each other, in one object."""
_KEPT_ACTIONS: Final = frozenset(
    {"/GoTo", "/URI", "/Named", "/Thread", "/Hide", "/ResetForm", "/SetOCGState", "/Trans", "/GoTo3DView"}
)
_ACTION_WORDS: Final = {
    "/JavaScript": "JavaScript",
    "/Launch": "action that starts a program",
    "/SubmitForm": "action that sends the form",
    "/ImportData": "action that reads a file",
    "/GoToE": "jump into an embedded file",
    "/GoToR": "jump into another file",
    "/Rendition": "media action",
    "/Movie": "media action",
    "/Sound": "media action",
    "/RichMediaExecute": "media action",
}
_SCHEMES_REFUSED: Final = (b"javascript:", b"vbscript:", b"data:", b"file:", b"\\\\")
_PROGRAM_ANNOTATIONS: Final = {
    "/RichMedia": "rich media",
    "/Screen": "media",
    "/Movie": "media",
    "/3D": "3D model",
    "/FileAttachment": "attached file",
}


def cure_pdf(data: bytes, bad: Sequence[BadMember] = ()) -> Cured | None:
    """Return the document without what acts, None when it cannot be read without a password, or there is nothing.

    `bad`: streams of the document known to be bad are emptied.
    """
    try:
        with warnings.catch_warnings(action="ignore"), pikepdf.open(io.BytesIO(data)) as document:
            removed = _Disarm(document, {each.digest for each in bad}).run()
            if not removed:
                return None
            out = io.BytesIO()
            document.save(out, deterministic_id=True)
            pikepdf.open(out).close()  # of a damaged file something may be left that nobody can open
        return build_cured(out.getvalue(), removed)
    except (pikepdf.PdfError, pikepdf.PasswordError, Uncurable, LookupError, ValueError, TypeError, RuntimeError):
        return None  # the library's own, and what it says of names that are no text and of files it gives up


class _Disarm:
    def __init__(self, document: pikepdf.Pdf, bad: set[bytes]) -> None:
        self._document = document
        self._objects = list(document.objects)
        self._bad = bad
        self._removed: list[str] = []

    def run(self) -> list[str]:
        """Change the document in memory; return what was taken out."""
        document = self._document
        if len(self._objects) > OBJECTS:
            raise Uncurable("too many objects")
        for item in self._objects:
            self._visit(item, 0)
        root = document.Root
        names = root.get("/Names")
        if isinstance(names, pikepdf.Dictionary):
            self._delete(names, "/JavaScript", "JavaScript")
            self._delete(names, "/EmbeddedFiles", "embedded files")
        self._delete(root, "/Collection", "portfolio of files")
        self._delete(root, "/AF", "embedded files")
        form = root.get("/AcroForm")
        if isinstance(form, pikepdf.Dictionary):
            self._delete(form, "/XFA", "XFA form")
            if self._removed:
                self._unsign(form)
        if self._removed and "/Perms" in root:
            del root["/Perms"]
            self._removed.append("digital signature")
        return self._removed

    def _delete(self, owner: pikepdf.Object, key: str, words: str) -> None:
        if key in owner:
            del owner[key]
            self._removed.append(words)

    def _visit(self, item: pikepdf.Object, depth: int) -> None:
        """Make one object harmless, with what lies directly in it. Indirect objects are visited on their own."""
        if depth > _DEPTH:
            raise Uncurable("an object that is nested too deep")
        if isinstance(item, pikepdf.Array):
            for each in item.as_list():
                self._visit_inner(each, depth)
            return
        if not isinstance(item, pikepdf.Dictionary | pikepdf.Stream):
            return
        self._disarm(item)
        for key in list(item.keys()):
            self._visit_inner(item.get(key), depth)

    def _visit_inner(self, item: pikepdf.Object | None, depth: int) -> None:
        if isinstance(item, pikepdf.Array | pikepdf.Dictionary) and not item.is_indirect:
            self._visit(item, depth + 1)

    def _disarm(self, item: pikepdf.Object) -> None:
        """Take what acts out of one dictionary."""
        self._delete(item, "/AA", "action on an event")
        for key in ("/A", "/OpenAction", "/Next", "/PA"):
            action = item.get(key)
            if action is not None and not self._is_kept(action, key):
                del item[key]
        if "/JS" in item or (self._kind(item) in _ACTION_WORDS and "/P" not in item):  # with a parent: structure
            self._empty_action(item)
        self._delete(item, "/EF", "embedded file")
        if "/Annots" in item:
            self._drop_annotations(item)
        if isinstance(item, pikepdf.Stream) and (self._bad or self._text(item.get("/Type")) == "/EmbeddedFile"):
            self._empty_stream(item)

    def _drop_annotations(self, page: pikepdf.Object) -> None:
        """Take annotations that carry files or programs off a page."""
        annotations = page.get("/Annots")
        if not isinstance(annotations, pikepdf.Array):
            return
        kept = []
        for each in annotations.as_list():
            kind = self._text(each.get("/Subtype")) if isinstance(each, pikepdf.Dictionary) else ""
            if kind in _PROGRAM_ANNOTATIONS:
                self._removed.append(_PROGRAM_ANNOTATIONS[kind])
            else:
                kept.append(each)
        if len(kept) < len(annotations):
            page["/Annots"] = pikepdf.Array(kept)

    def _is_kept(self, action: pikepdf.Object, key: str) -> bool:
        """Tell whether an action may stay; if not, say so in the words."""
        if isinstance(action, pikepdf.Array):
            if key == "/Next":
                return all(self._is_kept(each, key) for each in action.as_list())
            return True  # OpenAction: a place in the document
        if not isinstance(action, pikepdf.Dictionary):
            return True
        kind = self._kind(action)
        if "/S" not in action and "/JS" not in action:
            return True  # a number tree or an appearance under the same key
        if "/JS" in action or kind not in _KEPT_ACTIONS:
            self._removed.append(_ACTION_WORDS.get(kind, "action"))
            return False
        address = action.get("/URI")
        if isinstance(address, pikepdf.String):
            raw = bytes(address).lstrip(b"\0\t\n\r\f ").lower()
            if raw.startswith(_SCHEMES_REFUSED):
                self._removed.append("link that runs something")
                return False
        return True

    def _empty_action(self, action: pikepdf.Object) -> None:
        """Leave nothing of an action that is referred to in a way not known here."""
        self._removed.append(_ACTION_WORDS.get(self._kind(action), "JavaScript"))
        if isinstance(action, pikepdf.Stream):
            raise Uncurable("an action that is a stream")
        for key in list(action.keys()):
            del action[key]

    def _empty_stream(self, stream: pikepdf.Stream) -> None:
        if self._text(stream.get("/Type")) == "/EmbeddedFile":
            stream.write(b"")
            del stream["/Type"]  # what else refers to it keeps it in the document
            self._removed.append("embedded file")
            return
        try:
            content = stream.read_bytes()
        except pikepdf.PdfError:
            content = stream.read_raw_bytes()
        if hashlib.sha256(content).digest() in self._bad:
            stream.write(b"")
            self._removed.append("stream with malware")

    def _unsign(self, form: pikepdf.Object) -> None:
        """Take the values of signature fields: they no longer hold."""
        if "/SigFlags" not in form:
            return
        del form["/SigFlags"]
        for field in self._objects:
            if isinstance(field, pikepdf.Dictionary) and self._text(field.get("/FT")) == "/Sig" and "/V" in field:
                del field["/V"]
                self._removed.append("digital signature")

    def _kind(self, action: pikepdf.Object) -> str:
        return self._text(action.get("/S"))

    @staticmethod
    def _text(item: pikepdf.Object | None) -> str:
        return str(item) if isinstance(item, pikepdf.Name) else ""
