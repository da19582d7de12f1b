"""Eastern encodings (F-AS-21): Chinese, Korean, Thai and Japanese charsets and letters. Facts only, no weight.

A group says whether they are suspicious. Charsets count in headers and parts, letters where they are more than a name.
"""

import re
from typing import Final

from gatepost.antispam.check import Notes
from gatepost.antispam.view import MailView

LETTERS = 3
"""Letters of a script from which a header or a text is written in it: fewer are a name or a mark."""
SHARE = 0.05
"""Share of a text's letters from which it is written in a script."""
TEXT_LIMIT = 8_000
"""Characters looked at."""

_CHARSETS: Final = {
    "gb2312": "chinese",
    "gbk": "chinese",
    "gb18030": "chinese",
    "hz-gb-2312": "chinese",
    "x-gbk": "chinese",
    "cn-gb": "chinese",
    "cp936": "chinese",
    "euc-cn": "chinese",
    "iso-2022-cn": "chinese",
    "big5": "chinese",
    "big5-hkscs": "chinese",
    "cn-big5": "chinese",
    "cp950": "chinese",
    "euc-tw": "chinese",
    "x-euc-tw": "chinese",
    "euc-kr": "korean",
    "ks_c_5601-1987": "korean",
    "ks_c_5601-1989": "korean",
    "ksc5601": "korean",
    "ksc_5601": "korean",
    "cp949": "korean",
    "uhc": "korean",
    "iso-2022-kr": "korean",
    "johab": "korean",
    "tis-620": "thai",
    "iso-8859-11": "thai",
    "windows-874": "thai",
    "cp874": "thai",
    "x-mac-thai": "thai",
    "iso-2022-jp": "japanese",
    "iso-2022-jp-1": "japanese",
    "iso-2022-jp-2": "japanese",
    "iso-2022-jp-3": "japanese",
    "csiso2022jp": "japanese",
    "shift_jis": "japanese",
    "shift-jis": "japanese",
    "sjis": "japanese",
    "x-sjis": "japanese",
    "cp932": "japanese",
    "windows-31j": "japanese",
    "euc-jp": "japanese",
    "x-euc-jp": "japanese",
}
_SCRIPTS: Final = (
    ("japanese", re.compile("[\u3041-\u30fa\u30fd-\u30ff\u31f0-\u31ff\uff66-\uff9d]")),
    ("korean", re.compile("[\uac00-\ud7a3\u1100-\u11ff\u3131-\u318e]")),
    ("thai", re.compile("[\u0e01-\u0e5b]")),
    ("chinese", re.compile("[\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0002a6df]")),
)
_ANY = re.compile("[\u0e01-\u0e5b\u1100-\u11ff\u3041-\U0002a6df]")
_WORD = re.compile(rb"=\?([!->@-~]{1,40})\?[bBqQ]\?")
_LETTERS = re.compile(r"[^\W\d_]")


def find_language(charset: str) -> str:
    """Return the Eastern language that a charset (lower case) is for; "" for all others."""
    return _CHARSETS.get(charset, "")


def find_scripts(text: str) -> set[str]:
    """Return the Eastern languages that a text is written in (Han beside kana or hangul is not Chinese)."""
    text = text[:TEXT_LIMIT]
    if text.isascii() or _ANY.search(text) is None:
        return set()
    letters = len(_LETTERS.findall(text))
    found: set[str] = set()
    for language, script in _SCRIPTS:
        if language == "chinese" and found & {"japanese", "korean"}:
            continue
        count = len(script.findall(text))
        if count >= LETTERS and count >= SHARE * letters:
            found.add(language)
    return found


class EasternCheck:
    """Notes Eastern charsets and scripts."""

    name = "eastern encodings"

    def inspect(self, view: MailView, notes: Notes) -> None:
        """Fill `notes.eastern`."""
        for part in view.message.walk():
            self._take(part.charset, notes)
        for field in view.fields:
            if b"=?" in field.raw:
                for charset in _WORD.findall(field.raw[:TEXT_LIMIT]):
                    self._take(charset.decode("ascii").partition("*")[0].lower(), notes)
        author = view.first("from")
        notes.eastern |= find_scripts(view.subject) | find_scripts(author.text if author else "")
        notes.eastern |= find_scripts(view.body)

    @staticmethod
    def _take(charset: str, notes: Notes) -> None:
        language = find_language(charset)
        if language:
            notes.eastern.add(language)
