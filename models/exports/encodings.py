"""Bytes of a text export -> text: byte order marks, UTF-16, UTF-8, then what an 8-bit text most likely is.

CP932 (Japanese), EUC-JP and Windows-1252 (western) share their bytes, so the words of a file are read in each of them
and the reading that is the least strange is taken. A word is what stands between characters under "@", which no
character of the three has a part in; it counts once, however many rows repeat it, and again in the first lines: a
weekday or a unit after every time says no more than once, and a header says more than a row.

Strange in Japanese: a rare kanji, a private character, one half-width katakana alone (° or ² in a western text), one
kanji glued to a letter. Strange in western text: an undefined byte, a quotation mark or dash where none can stand, a
symbol beside an accented letter, capitals inside a word.
"""

# ruff: noqa: RUF001, RUF002 - quotation marks, dashes and signs that look like ASCII are its subject

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from models.contract import DataError

SAMPLE_BYTES = 1 << 18
WORDS_BYTES = 1 << 24  # of a file in which words are collected, more of it where there are none
HEADER_LINES = 10  # the first lines, of which words count again
WORDS_MAX = 5_000  # that are weighed
WORD = re.compile(rb"[\x40-\xff]+")

WIDE = "\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\uff01-\uff60"  # kana, kanji, full-width forms
HALF = "\uff61-\uff9f"  # half-width katakana: one byte each in CP932
RUN = re.compile(f"[{WIDE}{HALF}]+")
HALF_RUN = re.compile(f"[{HALF}]+")
HALF_FORMS = "".join(map(chr, range(0xFF61, 0xFFA0)))
MARKS = "ｰﾞﾟ"  # of half-width katakana, which begin no word
COMMON_BELOW = b"\x98\x73"  # in CP932; from here on kanji are rare (JIS level 2, then those of vendors)
DAMAGED_RATIO = 2  # sound characters to each broken byte from which a text is damaged UTF-8 rather than another code
IMPOSSIBLE = 3  # times as strange as what is merely rare

OPENING, CLOSING = "“‘„‚‹«»¿¡", "”’›»«“‘…™€‰®"
PUNCTUATION = "€‚ƒ„…†‡ˆ‰‹‘’“”•–—˜™›"  # which Windows-1252 has where other codes have control characters
LATE_LETTERS = "ŠšŽžŒœŸ"  # and the letters among it
ACCENTS = re.compile(f"[À-ÖØ-öø-ÿ{LATE_LETTERS}]+")
SYMBOL = re.compile("[¢-ª¬-º¼-¾×÷]")
SIGNS = "¢£¤¥¦§¨©ª¬®¯°±´¶¸¹º×÷"  # that stand beside no other sign
UNDEFINED = re.compile("[\udc80-\udcff]")  # a byte without a character, as it is decoded by "surrogateescape"


def decode(raw: bytes, path: Path, encoding: str | None = None) -> tuple[str, bool, str | None]:
    """Name of the encoding of a whole file, whether that was a guess, and its text (None where it is UTF-8 already).

    In this order: what is given, byte order marks, UTF-16 by its zero bytes, UTF-8, then the likeliest 8-bit code.

    >>> decode("時刻,圧力".encode("cp932"), Path("a.csv"))
    ('cp932', True, '時刻,圧力')
    >>> decode("Temp °C;Größe m³".encode("cp1252"), Path("a.csv"))
    ('cp1252', True, 'Temp °C;Größe m³')
    """
    name, guess = (encoding, False) if encoding else _encoding_of(raw)
    try:
        if _is_utf8(name):
            _check_utf8(raw)
            return "utf-8", guess, None
        return name, guess, raw.decode(name).removeprefix("\ufeff")
    except LookupError:
        raise DataError(f"{path.name}: unknown --encoding {name!r}; expected such as utf-8, utf-16, cp932") from None
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path.name}: line {line}: byte 0x{raw[error.start]:02x} is not {name} text; name its --encoding"
        ) from None


def _is_utf8(name: str) -> bool:
    return name.lower().replace("_", "-") in {"utf-8", "utf8", "utf-8-sig", "ascii", "us-ascii"}


def _check_utf8(raw: bytes) -> None:
    if not raw.isascii():
        raw.decode("utf-8")


def _encoding_of(raw: bytes) -> tuple[str, bool]:
    if raw.startswith(b"\xef\xbb\xbf"):
        return "utf-8", False
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16", False
    sample = raw[:SAMPLE_BYTES]
    if sample.count(0) > len(sample) // 4:
        return ("utf-16-le" if sample[1::2].count(0) > sample[0::2].count(0) else "utf-16-be"), False
    try:
        _check_utf8(raw)
        return "utf-8", False
    except UnicodeDecodeError:
        return ("utf-8", False) if _is_damaged_utf8(raw) else (_eight_bit(raw), True)


def _is_damaged_utf8(raw: bytes) -> bool:
    """Whether most of what is not ASCII is UTF-8, which no other code looks like: a few bytes of it are cut or changed.

    >>> _is_damaged_utf8("時刻,圧力".encode() + b"\\xe6"), _is_damaged_utf8("時刻,圧力".encode("cp932"))
    (True, False)
    """
    text = raw[:SAMPLE_BYTES].decode("utf-8", "surrogateescape")
    broken = sum(map(len, UNDEFINED.findall(text)))
    return len(text) - len(text.encode("ascii", "ignore")) - broken > DAMAGED_RATIO * broken


def _eight_bit(raw: bytes) -> str:
    """CP932, EUC-JP where it cannot be that, or a western code, whichever reads the least strange."""
    japanese = next((code for code in ("cp932", "euc_jp") if _decodes(raw, code)), None)
    western = "cp1252" if _decodes(raw, "cp1252") else "latin-1"
    if japanese is None:
        return western
    words = _words(raw)
    return japanese if _total(words, japanese, strange_japanese) < _total(words, "cp1252", strange_western) else western


def _decodes(raw: bytes, code: str) -> bool:
    try:
        raw.decode(code)
        return True
    except UnicodeDecodeError:
        return False


def _words(raw: bytes) -> list[bytes]:
    """Words that are not ASCII, each once; those of the first lines twice."""
    head = b"\n".join(raw[:SAMPLE_BYTES].split(b"\n")[:HEADER_LINES])
    body = _distinct(raw[:WORDS_BYTES]) or _distinct(raw)
    return _distinct(head) + body[:WORDS_MAX]


def _distinct(raw: bytes) -> list[bytes]:
    return [word for word in dict.fromkeys(WORD.findall(raw)) if not word.isascii()]


def _total(words: list[bytes], code: str, strange: Callable[[str], int]) -> int:
    """How strange words are in a code; a byte that it does not define is a surrogate."""
    return sum(strange(word.decode(code, "surrogateescape")) for word in words)


def strange_japanese(word: str) -> int:
    """How unlikely a word is as Japanese.

    >>> [strange_japanese(word) for word in ("圧力", "日", "A相電流", "ﾎﾟﾝﾌﾟ", "ｰC", "d饕it")]
    [0, 0, 0, 0, 3, 2]
    """
    codes = [c.encode("cp932", "replace") for c in word if not c.isascii() and c not in HALF_FORMS]
    common = sum(b"\x81" <= code < COMMON_BELOW for code in codes)
    private = IMPOSSIBLE * sum("\ue000" <= c <= "\uf8ff" or "\x7f" < c <= "\xa0" for c in word)
    rare = private + max(len(codes) - 2 * common, 0)
    return rare + sum(_oddity(run[0], *_beside(word, run)) for run in RUN.finditer(word))


def _oddity(run: str, before: str, after: str) -> int:
    """How unlikely Japanese characters are between two others, "" at the edge of the word."""
    glued = _is_plain(before) or _is_plain(after)
    if not HALF_RUN.fullmatch(run):
        return int(len(run) == 1 and glued)
    inside = len(run) == 2 and _is_plain(before) and _is_plain(after)
    return (len(run) == 1) * (1 + glued) + (run[0] in MARKS) + inside


def _beside(word: str, run: re.Match[str]) -> tuple[str, str]:
    return word[: run.start()][-1:], word[run.end() :][:1]


def strange_western(word: str) -> int:
    """How unlikely a word is as western text.

    >>> [strange_western(word) for word in ("Größe", "m³", "l’entrée", "“Temp”", "“ú", "—Ç", "ŒŽ", "ÀÏÑ")]
    [0, 0, 0, 0, 1, 1, 3, 2]
    """
    around = f" {word}  "
    odd = sum(_odd(around[i], c, around[i + 2], around[i + 3]) for i, c in enumerate(word) if not c.isascii())
    runs = [len(run) for run in ACCENTS.findall(word)]
    crowded = sum(n - 2 for n in runs if n > 2)
    bare = sum(runs) > 1 and not any(_is_plain(c) for c in word)
    return odd + crowded + bare


def _odd(before: str, c: str, after: str, then: str) -> int:
    """How unlikely the character `c` is where it stands, a space being the edge of the word."""
    if UNDEFINED.match(c):
        return IMPOSSIBLE
    if c in LATE_LETTERS:
        return int(not (_is_plain(before) or _is_plain(after)) or before + then == "  ")
    if ACCENTS.match(c):
        return int(c.isupper() and _is_plain(before) and before.islower())
    if SYMBOL.match(c):
        return int(any(ACCENTS.match(n) or n in PUNCTUATION for n in (before, after)) or c != after in SIGNS)
    if c in OPENING and before == " ":
        return int(not (after.isalpha() and then.isalpha()))
    if c in CLOSING and after == " ":
        return int(not (before.isalnum() or before in "²³°%"))
    joins = c in "’–—" and before.isalpha() and after.isalpha()
    return int(c in PUNCTUATION and not joins)


def _is_plain(c: str) -> bool:
    return c.isascii() and c.isalpha()
