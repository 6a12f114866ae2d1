"""Formatting of untrusted text and numbers for display: short, printable, and never markup."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

from colorbench.reporting import format_difference, format_interval, format_number

LONGEST = 2000
"""Maximum length of a text on the page, in characters."""
LONGEST_NAME = 120
_ADDRESS = re.compile(r"https?://[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]{3,500}")
_TEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "%": r"\%",
    "#": r"\#",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "–": "--",
    "Δ": r"$\Delta$",
    "λ": r"$\lambda$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "×": r"$\times$",
    "·": r"\textperiodcentered{}",
}


def clean(text: object, longest: int = LONGEST) -> str:
    """Return untrusted text as one line without control characters.

    No character remains that moves the cursor, changes the direction or is unassigned.
    """
    signs = (" " if sign.isspace() else sign for sign in str(text)[: 4 * longest])
    shown = "".join(sign if unicodedata.category(sign)[0] != "C" else "\ufffd" for sign in signs)
    line = " ".join(shown.split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def name_of(text: object) -> str:
    """Return an untrusted name as text for a table."""
    return clean(text, LONGEST_NAME) or "(no name)"


def stated(value: Any, longest: int = 160) -> str:
    """Return a parameter's untrusted value as text; hashes are shortened."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    return clean(re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1…", text), longest)


def figure(value: float | None, unit: str, *, signed: bool = False) -> str:
    """Format a value as text for a cell, with a minus sign instead of a hyphen."""
    return format_number(value, unit, signed=signed).replace("-", "−")


def span(low: float | None, high: float | None, unit: str, *, signed: bool = False) -> str:
    """Format an interval as the text ``[low, high]``; empty if there is no interval."""
    return format_interval(low, high, unit, signed=signed).replace("-", "−")


def difference(value: float, unit: str) -> str:
    """Format the size of a difference as text with its unit; percentages differ by points."""
    return format_difference(value, unit).replace("-", "−", 1)


def ranks(first: int | None, last: int | None) -> str:
    """Format ranks as the text ``2`` or ``1–3``; empty if there is no rank."""
    if first is None or last is None:
        return ""
    return str(first) if first == last else f"{first}–{last}"


def count(value: float) -> str:
    """Format a count as text with thin spaces between thousands: 1 000."""
    return f"{value:,.0f}".replace(",", "\u202f") if abs(value) < 1e15 else f"{value:.2e}"


def counted(number: int, one: str, many: str | None = None) -> str:
    """Format a number of things as text, such as ``1 image`` or ``2 images``; ``many``: an irregular plural."""
    return f"{count(number)} {one if number == 1 else many or f'{one}s'}"


def arrow(higher_is_better: bool | None) -> str:
    """Return the text of an arrow in the better direction; empty if there is none."""
    return {True: "↑", False: "↓", None: ""}[higher_is_better]


def address(text: str | None) -> str | None:
    """Return untrusted text if it is a plain web address; only those become links."""
    return text if text is not None and _ADDRESS.fullmatch(text) else None


def tex(text: object) -> str:
    """Escape untrusted text for LaTeX."""
    return "".join(_TEX.get(sign, sign) for sign in str(text))


def markdown(text: object) -> str:
    """Escape untrusted text for a cell of a Markdown table."""
    escaped = re.sub(r"([\\`*_{}\[\]()#+!|~$])", r"\\\1", str(text))
    escaped = escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # Renderers turn bare addresses and mentions into links.
    return escaped.replace("://", ":&#47;&#47;").replace("@", "&#64;").replace("www.", "www&#46;")


def spreadsheet(text: object) -> str:
    """Escape untrusted text for a CSV cell, so that spreadsheets do not evaluate it as a formula."""
    plain = str(text)
    return f"'{plain}" if plain[:1] in ("=", "+", "-", "@", "\t", "\r") else plain
