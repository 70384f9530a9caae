"""C# as text: literals, comments, initial values, validation attributes and sample values."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from kallista.wpf.design import Property
from kallista.wpf.naming import one_line, sentence
from kallista.wpf.specification import PropertyType

DECIMAL_LIMIT: Final = Decimal(922_337_203_685_477)
"""The largest decimal: amounts are kept as 64-bit integers of ten-thousandths."""

_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}

_LINE: Final = 100
"""How long an attribute may be before each of its arguments gets a line."""

_FORMAT_RULES: Final[dict[PropertyType, tuple[str, str]]] = {
    "email": ("EmailAddress", "must be an e-mail address."),
    "phone": ("Phone", "must be a phone number."),
    "url": ("Url", "must be a web address, such as https://example.com."),
}


def string(text: str) -> str:
    """A string literal."""
    return '"' + "".join(_char(char) for char in text) + '"'


def _char(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    # C# ends a line at the last three too, even inside a literal.
    if char < " " or char in "\x7f\x85\u2028\u2029":
        return f"\\u{ord(char):04x}"
    return char


def _doubled_braces(text: str) -> str:
    return one_line(text).replace("{", "{{").replace("}", "}}")


def format_string(text: str) -> str:
    """A string literal that a formatter reads."""
    return string(_doubled_braces(text))


def interpolated(text: str) -> str:
    """A text inside an interpolated string."""
    return string(_doubled_braces(text))[1:-1]


def doc(text: str) -> str:
    """A sentence inside an XML documentation comment."""
    return doc_words(sentence(text))


def doc_words(text: str) -> str:
    """Words inside an XML documentation comment."""
    return one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def sorted_usings(text: str) -> str:
    """A source file with its using directives in their usual order: System before the others."""
    lines = text.split("\n")
    count = next(i for i, line in enumerate(lines) if not line.startswith("using "))
    usings = sorted(lines[:count], key=_using_key)
    return "\n".join([*usings, *lines[count:]])


def _using_key(line: str) -> tuple[bool, list[str]]:
    parts = line.removeprefix("using ").rstrip(";").split(".")
    return parts[0] != "System", parts


def number(value: float | Decimal, cs_type: str) -> str:
    """A literal of a number, exact for a decimal."""
    exact = Decimal(str(value))
    if cs_type == "decimal":
        return f"{exact:f}m"
    if cs_type == "double":
        return f"{exact:f}d"
    return f"{int(exact)}L" if cs_type == "long" else str(int(exact))


def initial_value(prop: Property) -> str:
    """What follows a property of a model: `` = string.Empty``, or nothing when C# needs nothing."""
    value = _initial(prop)
    return f" = {value}" if value else ""


def _initial(prop: Property) -> str:
    default = prop.spec.default
    if default is None:
        return _natural(prop)
    if prop.is_text:
        return string(str(default))
    if prop.type == "bool":
        return "true" if default else "false"
    if prop.type == "enum":
        return f"{prop.cs_type}.{default}"
    return number(Decimal(str(default)), prop.cs_type)


def _natural(prop: Property) -> str:
    if not prop.required:
        return ""
    if prop.is_text:
        return "string.Empty"
    if prop.type == "date":
        return "DateOnly.FromDateTime(DateTime.Today)"
    return "DateTime.UtcNow" if prop.type == "datetime" else ""


def rules(prop: Property) -> list[str]:
    """The validation attributes of a form's field, without brackets."""
    made: list[str] = []
    if prop.required and (prop.is_text or prop.editor_type != prop.model_type):
        made.append(_rule("Required", prop, "is required."))
    if prop.is_text:
        message = f"can have at most {prop.max_length} characters."
        made.append(_rule("StringLength", prop, message, str(prop.max_length)))
    if prop.type in _FORMAT_RULES:
        attribute, message = _FORMAT_RULES[prop.type]
        made.append(_rule(attribute, prop, message))
    if prop.is_number:
        made.extend(_range(prop))
    return made


def _rule(attribute: str, prop: Property, message: str, *arguments: str) -> str:
    return _attribute(attribute, [*arguments, _error_message(prop, message)])


def _error_message(prop: Property, message: str) -> str:
    return f"ErrorMessage = {format_string(f'{prop.title} {message}')}"


def _attribute(name: str, arguments: Sequence[str]) -> str:
    line = f"{name}({', '.join(arguments)})"
    if len(line) <= _LINE:
        return line
    indented = ",\n        ".join(arguments)
    return f"{name}(\n        {indented})"


def _range(prop: Property) -> list[str]:
    low, high = prop.spec.minimum, prop.spec.maximum
    if prop.cs_type == "decimal":
        return [_decimal_range(prop)]
    if low is None and high is None:
        return []
    message = _range_message(low, high)
    if prop.cs_type == "long":
        bounds = [
            string(str(int(low)) if low is not None else str(-(2**63))),
            string(str(int(high)) if high is not None else str(2**63 - 1)),
        ]
        return [_rule("Range", prop, message, "typeof(long)", *bounds)]
    first = f"{prop.cs_type}.MinValue" if low is None else number(low, prop.cs_type)
    last = f"{prop.cs_type}.MaxValue" if high is None else number(high, prop.cs_type)
    return [_rule("Range", prop, message, first, last)]


def _decimal_range(prop: Property) -> str:
    low, high = prop.spec.minimum, prop.spec.maximum
    bounds = [
        string(f"{-DECIMAL_LIMIT if low is None else Decimal(str(low)):f}"),
        string(f"{DECIMAL_LIMIT if high is None else Decimal(str(high)):f}"),
    ]
    message = _range_message(low, high)
    invariant = ["ParseLimitsInInvariantCulture = true", "ConvertValueInInvariantCulture = true"]
    return _attribute(
        "Range", ["typeof(decimal)", *bounds, _error_message(prop, message), *invariant]
    )


def _range_message(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f"must be between {low} and {high}."
    if low is not None:
        return f"must be at least {low}."
    return f"must be at most {high}." if high is not None else "is too large."


def sample(prop: Property) -> str:
    """A valid value made from the variable ``number``, or nothing if the natural one will do."""
    if prop.type == "email":
        return '$"person{number}@example.com"'
    if prop.type == "phone":
        return '$"+1 555 {number}"'
    if prop.type == "url":
        return '$"https://example.com/{number}"'
    if prop.is_text:
        return f"Text({string(prop.title)}, number, {prop.max_length})"
    return _sample_number(prop) if prop.is_number else ""


def _sample_number(prop: Property) -> str:
    low, high = prop.spec.minimum, prop.spec.maximum
    start = Decimal(0)
    if low is not None:
        start = Decimal(str(low))
    elif high is not None:
        start = min(start, Decimal(str(high)) - 1000)
    value = f"{number(start, prop.cs_type)} + number"
    return value if high is None else f"Math.Min({number(high, prop.cs_type)}, {value})"
