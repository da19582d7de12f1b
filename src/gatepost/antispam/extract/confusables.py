"""Letters that look like others: the table behind `fold`. Data and what follows from it at once; pure.

By hand, of what is used to disguise words: Cyrillic, Greek, Armenian, Cherokee, phonetic and small capital letters.
Full-width, circled and mathematical letters need no table: NFKC gives their plain form. Letters of living Latin
alphabets (Turkish, Polish, Hausa, Ewe) are no disguise and not here.
"""

# ruff: noqa: RUF001 - letters that look like others are the matter of this module

from typing import Final

_CYRILLIC: Final = {
    "а": "a", "в": "b", "с": "c", "ԁ": "d", "е": "e", "ё": "e", "ғ": "f", "ɡ": "g", "һ": "h", "н": "h",
    "і": "i", "ї": "i", "ј": "j", "к": "k", "ӏ": "l", "м": "m", "п": "n", "о": "o", "р": "p", "ԛ": "q",
    "г": "r", "ѕ": "s", "т": "t", "и": "u", "ѵ": "v", "ѡ": "w", "ԝ": "w", "х": "x", "у": "y", "ү": "y",
    "з": "3", "ь": "b", "ш": "w", "я": "r", "л": "n", "є": "e", "э": "e",
}  # fmt: skip
"""In lower case. Letters that look alike in one case only are here, too: a word must look so as a whole."""
_GREEK: Final = {
    "α": "a", "ά": "a", "β": "b", "γ": "y", "δ": "d", "ε": "e", "έ": "e", "ζ": "z", "η": "n", "ή": "n",
    "ι": "i", "ί": "i", "ϊ": "i", "ΐ": "i", "κ": "k", "λ": "l", "μ": "m", "ν": "v", "ο": "o", "ό": "o",
    "π": "n", "ρ": "p", "ϲ": "c", "σ": "o", "ς": "s", "τ": "t", "υ": "u", "ύ": "u", "χ": "x", "ω": "w",
    "ώ": "w", "ϳ": "j", "θ": "o",
}  # fmt: skip
_ODD: Final = {
    # phonetic letters, small capitals
    "ɑ": "a", "ᴀ": "a", "ʙ": "b", "ᴄ": "c", "ᴅ": "d", "ᴇ": "e", "ꜰ": "f", "ɢ": "g", "ʜ": "h", "ɦ": "h",
    "ɪ": "i", "ɩ": "i", "ᴊ": "j", "ȷ": "j", "ᴋ": "k", "ʟ": "l", "ɭ": "l", "ᴍ": "m", "ɴ": "n", "ᴏ": "o",
    "ᴘ": "p", "ꞯ": "q", "ʀ": "r", "ꜱ": "s", "ʂ": "s", "ᴛ": "t", "ʈ": "t", "ᴜ": "u", "ᴠ": "v", "ᴡ": "w",
    "ʏ": "y", "ᴢ": "z", "ʐ": "z", "ɠ": "g", "ɯ": "w", "ǃ": "l",
    # Armenian
    "ա": "w", "գ": "q", "զ": "q", "հ": "h", "յ": "j", "ո": "n", "ս": "u", "օ": "o", "ց": "g", "ք": "f",
    "ռ": "n", "լ": "l",
    # Cherokee, in lower case (Unicode folds to upper)
    "Ꭰ": "d", "Ꭱ": "r", "Ꭲ": "t", "Ꭵ": "i", "Ꭺ": "a", "Ꭻ": "j", "Ꭼ": "e", "Ꮃ": "w", "Ꮇ": "m", "Ꮋ": "h",
    "Ꮍ": "y", "Ꮐ": "g", "Ꮓ": "z", "Ꮞ": "4", "Ꮢ": "r", "Ꮥ": "s", "Ꮩ": "v", "Ꮪ": "s", "Ꮮ": "l", "Ꮯ": "c",
    "Ꮲ": "p", "Ꮶ": "k", "Ꮷ": "d", "Ᏼ": "b",
}  # fmt: skip

LOOKS_LATIN: Final[dict[str, str]] = {**_CYRILLIC, **_GREEK, **_ODD}
"""Foreign letter (case-folded) to the Latin one it is taken for."""
LATIN_TABLE: Final = str.maketrans(LOOKS_LATIN)
STYLED: Final = frozenset(_ODD)
"""Letters that hardly any language is written in: a disguise also where no other letter shows the script."""
TWINS: Final = frozenset("асеорхуіјѕԁһӏԛԝ")
"""Cyrillic letters that are drawn as Latin ones."""
NEAR_TWINS: Final = TWINS | frozenset("οαρνκι")
"""Foreign letters nobody can tell from Latin ones in lower case."""
COUSINS: Final = NEAR_TWINS | frozenset("ьϲɡɩкмոօтτυսѵωχγ")
"""Foreign letters a hasty reader takes for Latin ones in a name."""
LOOKS_CYRILLIC: Final[dict[str, str]] = {
    "a": "а", "b": "в", "c": "с", "e": "е", "h": "н", "i": "і",
    "j": "ј", "k": "к", "m": "м", "o": "о", "p": "р", "s": "ѕ",
    "t": "т", "x": "х", "y": "у", "u": "и", "r": "г", "n": "п", "3": "з", "0": "о", "6": "б",
}  # fmt: skip
"""Latin letter to the Cyrillic one it is taken for."""
CYRILLIC_TABLE: Final = str.maketrans(LOOKS_CYRILLIC)
SIGNS_FOR_LETTERS: Final = str.maketrans(
    {
        "0": "o",
        "1": "i",
        "3": "e",
        "4": "a",
        "5": "s",
        "7": "t",
        "8": "b",
        "9": "g",
        "@": "a",
        "$": "s",
        "!": "i",
        "|": "l",
    }
)
"""Digits and signs that stand for letters."""
