"""Safe reading of untrusted JSON: its size is limited before it is parsed, and its values are checked afterwards."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from colorbench.storage.limits import DEEPEST, LARGEST_INTEGER, LONGEST_TEXT, MOST_VALUES

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters that move a terminal's cursor or turn the reading direction."""
_SURROGATE = re.compile("[\ud800-\udfff]")


class InvalidJson(ValueError):
    """Untrusted JSON that is damaged, too large, or holds what no file of colorbench holds; the text is one line."""


def parse_json(data: bytes) -> Any:
    """Parse untrusted JSON in UTF-8.

    Time and memory are bounded by the size of ``data``: the number of values is counted before they are made.

    Raises:
        InvalidJson: for other bytes; too many values, too deep nesting or too long texts; a key that occurs twice; NaN,
            infinities and integers of more than 62 bits; control characters and lone surrogates.
    """
    if data.count(b",") + data.count(b"[") + data.count(b"{") > MOST_VALUES:
        raise InvalidJson(f"it holds more than {MOST_VALUES} values")
    try:
        value = json.loads(data.decode(), object_pairs_hook=_mapping, parse_constant=_not_finite, parse_int=_integer)
    except InvalidJson:
        raise
    except UnicodeDecodeError as error:
        raise InvalidJson("it is not text in UTF-8") from error
    except RecursionError as error:
        raise InvalidJson("it is nested too deeply") from error
    except ValueError as error:
        raise InvalidJson(f"it is not JSON: {error}"[:200]) from error
    _check(value)
    return value


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise InvalidJson("a key occurs twice in a mapping")
    return found


def _not_finite(name: str) -> NoReturn:
    raise InvalidJson(f"it contains {name}")


def _integer(digits: str) -> int:
    # The length is checked first: numbers with thousands of digits are not converted.
    if len(digits) > 20 or abs(value := int(digits)) > LARGEST_INTEGER:
        raise InvalidJson("it contains an integer of more than 62 bits")
    return value


def _check(value: Any) -> None:
    """Check texts, floats and the depth of parsed JSON."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > DEEPEST:
            raise InvalidJson("it is nested too deeply")
        inner: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                for key in one:
                    _check_text(key)
                inner += one.values()
            elif isinstance(one, list):
                inner += one
            elif isinstance(one, str):
                _check_text(one)
            elif isinstance(one, float) and not math.isfinite(one):
                raise InvalidJson("it contains a number that is too large")
        level = inner


def _check_text(text: str) -> None:
    if len(text) > LONGEST_TEXT:
        raise InvalidJson(f"it contains a text of {len(text)} characters")
    if _CONTROL.search(text):
        raise InvalidJson("it contains control characters")
    if _SURROGATE.search(text):
        raise InvalidJson("it contains a text that is not valid Unicode")
