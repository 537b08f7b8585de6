"""PURE: one spelling for texts that look alike, so that a list of words need not know every disguise.

`fold` makes of a text what a reader takes it for: compatibility forms, capitals, accents, invisible
characters and the common look-alikes of Latin letters are gone. `spellings` cuts what was folded into words,
and reads digits and signs as the letters that they stand for ("b4d"), words that are spelt out ("b a d") and
letters that are drawn out ("baaad").

The table of look-alikes is ours, and small: Latin letters as Unicode's Technical Standard 39
("confusables.txt") groups them with letters of Cyrillic, Greek, Armenian and Cherokee, phonetic ones and
small capitals, as far as people use them. It is for lists of words, not for telling names apart: whole words
of those scripts may come out as Latin ones.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final

CACHED_MAX: Final = 16_384
"""Characters whose folding is remembered, about 2 MB; then all are forgotten and those in use come back."""

_LOOK_ALIKES: Final = {
    # Cyrillic
    **dict(zip("абвгеѕіјкмнорстухһԁԛԝӏѵ", "abbresijkmhopctyxhdqwlv", strict=True)),
    # Greek
    **dict(zip("αβγεζηικνορτυχωϲϳ", "abyeznikvoptuxwcj", strict=True)),
    # Armenian
    **dict(zip("աոսցօհզյ", "wnugohqj", strict=True)),
    # Cherokee, whose capitals are what people use
    **dict(zip("ꭺᏼꮯꭰꭼᏻꮋꭵꭻꮶꮮꮇꮲꭱꮪꭲꮩꮃꮓ", "abcdeghijklmprstvwz", strict=True)),
    # Phonetic letters, strokes, small capitals
    **dict(
        zip("ɑɒɓƃɔƈɖɗđəɛɠɡħıɩɨɟƙłɫɱɲŋøɵƥɼʂŧƫʉʋⱱʍʏƴƶʐ", "aabbccdddeegghiiijkllmnnooprsttuvvwyyzz", strict=True)
    ),
    **dict(zip("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡᴢ", "abcdefghijklmnoprstuvwz", strict=True)),
    "æ": "ae",
    "œ": "oe",
    "ꞵ": "b",
}
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"
_FRAMED: Final = ((0x1F150, 0x1F169), (0x1F170, 0x1F189), (0x1F1E6, 0x1F1FF))
"""Letters in black circles and squares, and those that flags are made of: Unicode says nothing of them."""
_MARKS: Final = (
    (0x0300, 0x036F),
    (0x1AB0, 0x1AFF),
    (0x1DC0, 0x1DFF),
    (0x20D0, 0x20FF),
    (0xFE00, 0xFE0F),
    (0xFE20, 0xFE2F),
    (0xE0100, 0xE01EF),
)
"""Marks that go onto any letter, and variation selectors. Marks of one script are letters to its readers."""
_BLANKS: Final = frozenset("\u115f\u1160\u17b4\u17b5\u3164\uffa0")
"""Letters that show nothing."""


class _Folding(dict[int, str]):
    """What each character becomes; made when it is first seen."""

    def __missing__(self, code: int) -> str:
        if len(self) >= CACHED_MAX:
            self.clear()
        folded = self[code] = _fold_character(chr(code))
        return folded


_FOLDING: Final = _Folding()


def fold(text: str) -> str:
    """A text as readers take it; folding it again changes nothing. Takes any text."""
    return text.lower() if text.isascii() else text.translate(_FOLDING)


def _fold_character(character: str) -> str:
    """Step by step until nothing changes: so each character that comes out is folded, and so is any text."""
    if unicodedata.category(character) == "Cf" or character in _BLANKS or _is_in(character, _MARKS):
        return ""
    step = _LOOK_ALIKES.get(character) or unicodedata.normalize("NFKD", character.casefold())
    for start, end in _FRAMED:
        if start <= ord(character) <= end:
            step = _LETTERS[ord(character) - start]
    if step == character:
        return character
    return "".join(map(_fold_character, step))


def _is_in(character: str, ranges: Sequence[tuple[int, int]]) -> bool:
    return any(start <= ord(character) <= end for start, end in ranges)


# -- words -----------------------------------------------------------------------------------------------

_WORD: Final = re.compile(r"[^\W_]+")
_SIGN: Final = re.compile(r"[0-9@$!|€+]")
_LETTER: Final = re.compile(r"[^\W\d_]")
_DRAWN_OUT: Final = re.compile(r"([^\W\d_])\1\1")
_DOUBLED: Final = re.compile(r"([^\W\d_])(?=\1)")
_TRIPLES: Final = tuple(letter * 3 for letter in _LETTERS)
_SIGNS: Final = "013456789@$!|€+"
_AS_I: Final = str.maketrans(_SIGNS, "oieasgtbgasiiet")
_AS_L: Final = str.maketrans(_SIGNS, "oleasgtbgasllet")
_TWO_WAYS: Final = re.compile(r"[1!|]")
_ENDS: Final = "!|+.,;:?)"
"""Signs that end a sentence rather than a word."""
_SPELT_OUT: Final = 3
"""Single letters in a row that make a word."""


def words(folded: str) -> list[str]:
    """The words of a folded text: letters and digits."""
    return _WORD.findall(folded)


def squeeze(text: str) -> str:
    """A text with every letter once where it stands several times in a row."""
    return _DOUBLED.sub("", text)


def spellings(folded: str) -> Iterator[tuple[list[str], bool]]:
    """Every way to read a folded text as words, the plain one first; 12 at most.

    Yields:
        The words, and whether those that were drawn out are so no more, as after `squeeze`.
    """
    # Most words are in all readings.
    shorter: dict[str, str] = {}
    for text in (folded, *_without_signs(folded)):
        plain = words(text)
        joined = _joined(plain)
        drawn_out = _is_drawn_out(text)
        yield plain, False
        if drawn_out:
            yield _squeezed(plain, shorter), True
        if joined is not None:
            yield joined, False
            if drawn_out or _is_drawn_out(" ".join(joined)):
                yield _squeezed(joined, shorter), True


def _squeezed(reading: Sequence[str], known: dict[str, str]) -> list[str]:
    """The same with those words shortened that are drawn out."""
    fresh = [word for word in dict.fromkeys(reading) if word not in known]
    known.update(zip(fresh, fresh, strict=True))
    drawn_out = [word for word in fresh if _DRAWN_OUT.search(word)]
    # All at once: a call costs more than a word.
    known.update(zip(drawn_out, squeeze(" ".join(drawn_out)).split(), strict=True))
    return [known[word] for word in reading]


class Readings:
    """Every way to read a folded text, and the words in all of them.

    Attributes:
        plain: readings as lists of words.
        squeezed: readings in which the words that were drawn out are so no more.
        plain_words: the different words of the first kind, in order.
        squeezed_words: those of the second.
    """

    __slots__ = ("plain", "plain_words", "squeezed", "squeezed_words")

    def __init__(self, folded: str) -> None:
        self.plain: list[list[str]] = []
        self.squeezed: list[list[str]] = []
        for reading, squeezed in spellings(folded):
            (self.squeezed if squeezed else self.plain).append(reading)
        # Dicts keep the order, so that what is found first does not depend on chance.
        self.plain_words = dict.fromkeys(chain.from_iterable(self.plain))
        self.squeezed_words = dict.fromkeys(chain.from_iterable(self.squeezed))


def _without_signs(folded: str) -> Iterator[str]:
    """The text with digits and signs as letters, in words that have letters; "1" is an i, or an l."""
    if _SIGN.search(folded) is None:
        return
    as_i: list[str] = []
    as_l: list[str] = []
    two_ways = changed = False
    for chunk in folded.split():
        bare = chunk if chunk.isalpha() else chunk.rstrip(_ENDS)
        if bare.isalpha() or _SIGN.search(bare) is None or _LETTER.search(bare) is None:
            as_i.append(chunk)
            as_l.append(chunk)
            continue
        changed = True
        two_ways = two_ways or _TWO_WAYS.search(bare) is not None
        as_i.append(bare.translate(_AS_I))
        as_l.append(bare.translate(_AS_L))
    if changed:
        yield " ".join(as_i)
    if two_ways:
        yield " ".join(as_l)


def _is_drawn_out(text: str) -> bool:
    if text.isascii():
        # Faster than one pattern that looks back.
        for triple in _TRIPLES:  # noqa: SIM110  thrice as fast as `any`
            if triple in text:
                return True
        return False
    return _DRAWN_OUT.search(text) is not None


def _joined(reading: Sequence[str]) -> list[str] | None:
    """The same with single letters that stand in a row as one word; None where there are none."""
    if [*map(len, reading)].count(1) < _SPELT_OUT:
        return None
    joined: list[str] = []
    row: list[str] = []
    found = False
    for word in (*reading, ""):
        if len(word) == 1:
            row.append(word)
            continue
        if len(row) >= _SPELT_OUT:
            found = True
            joined.append("".join(row))
        else:
            joined += row
        row.clear()
        if word:
            joined.append(word)
    return joined if found else None


def phrase_words(phrase: str) -> list[str]:
    """The words of a phrase of a list: one that is written with signs ("a$$") means its letters."""
    folded = fold(phrase)
    if any(sign in folded for sign in "@$!|€+"):
        return words(next(_without_signs(folded), folded))
    return words(folded)
