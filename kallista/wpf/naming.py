"""Which names C#, XAML, EF Core and file systems can bear, and how names are made from names."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from kallista.wpf.reserved import (
    FRAMEWORK_TYPES,
    GENERATED_TYPES,
    KEYWORDS,
    OTHER_FRAMEWORK_NAMES,
)

_DEVICES: Final = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$", "clock$"]
    + [f"{port}{digit}" for port in ("com", "lpt") for digit in "0123456789¹²³"]
)
"""File names that Windows keeps for devices, whatever their extension."""

MAX_LENGTH: Final = 60
"""The longest name: three of them in a path stay below the 260 characters of classic Windows."""


def identifier_problem(name: str) -> str | None:
    """Why a text cannot be the name of a type or member here, or None when it can."""
    if name in KEYWORDS:
        return "is a C# keyword"
    if not _is_identifier(name):
        return "is no C# identifier (letters, digits and underscores, not starting with a digit)"
    if not _is_capital(name[0]):
        return f"must start with a capital letter, such as {pascal(name)}"
    if len(name) > MAX_LENGTH:
        return f"is longer than {MAX_LENGTH} characters"
    if is_device(name):
        return "is a device on Windows, so its file could not be written there"
    return None


def namespace_problem(namespace: str) -> str | None:
    """Why a text cannot be the root namespace, or None when it can."""
    for part in namespace.split("."):
        if part in KEYWORDS:
            return f"has the part {part!r}, which is a C# keyword"
        if not _is_identifier(part):
            return f"has the part {part!r}, which is no C# identifier"
        if part in GENERATED_TYPES | FRAMEWORK_TYPES | OTHER_FRAMEWORK_NAMES:
            return f"has the part {part!r}, which is a name that the generated code uses"
    return "is longer than 120 characters" if len(namespace) > 120 else None


def _is_identifier(name: str) -> bool:
    return name.isidentifier() and unicodedata.is_normalized("NFC", name)


def _is_capital(letter: str) -> bool:
    """Whether a field can start with the small letter and its property with the capital again."""
    return letter.isalpha() and letter.lower().upper() == letter


def is_device(name: str) -> bool:
    """Whether Windows takes a file of this name, with any extension, for a device."""
    return name.split(".")[0].strip().casefold() in _DEVICES


def pascal(text: str) -> str:
    """The nearest name to a text: ``order line`` becomes ``OrderLine``."""
    words = re.findall(r"\w+", text)
    return "".join(word[0].upper() + word[1:] for word in words).lstrip("_0123456789") or "Name"


def camel(name: str) -> str:
    """A name that starts with a small letter: ``OrderLine`` becomes ``orderLine``."""
    return name[0].lower() + name[1:]


def field(name: str) -> str:
    """A private field's name: ``Name`` becomes ``_name``."""
    return f"_{camel(name)}"


def words(name: str) -> str:
    """A name as people read it: ``StockMovement`` becomes ``Stock movement``."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^A-Z_\d]+|\d+", name) or [name]
    later = [part if len(part) > 1 and part.isupper() else part.lower() for part in parts[1:]]
    return " ".join([parts[0], *later])


def lowered(text: str) -> str:
    """A title inside a sentence: ``Stock movement`` becomes ``stock movement``, ``SKU`` stays."""
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def one_line(text: str) -> str:
    """A text without line breaks."""
    return " ".join(text.split())


def sentence(text: str) -> str:
    """A text on one line that ends as a sentence does."""
    line = one_line(text)
    return line if line.endswith((".", "!", "?")) else f"{line}."


def plural(noun: str) -> str:
    """Several of them, by the regular rules of English."""
    lower = noun.lower()
    if lower.endswith("y") and lower[-2:-1] not in "aeiou":
        return noun[:-1] + "ies"
    if lower.endswith(("s", "x", "z", "ch", "sh")):
        return noun + "es"
    return noun + "s"
