"""``Plot``: a finished plot, as SVG markup for pages or as a file for papers, with the common colors.

Equal input gives equal bytes.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from colorbench.storage import write_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLORS: Mapping[str, tuple[str, str]] = {
    "s0": ("#c2410c", "#fb923c"),
    "s1": ("#1d6fb8", "#6cb6ff"),
    "s2": ("#a21a72", "#f285c6"),
    "s3": ("#4d7c0f", "#a3d94e"),
    "s4": ("#0e7490", "#4fd1e5"),
    "s5": ("#92590a", "#e0b463"),
    "s6": ("#6d4aff", "#b3a1ff"),
    "s7": ("#b3123c", "#ff8ba0"),
    "sx": ("#9a9aa4", "#6d6d77"),  # models beyond the eighth
    "gray": ("#71717a", "#a1a1aa"),
    "constant": ("#7c3aed", "#c4b5fd"),
    "truth": ("#0f766e", "#5eead4"),
    "reference": ("#8a8a94", "#8a8a95"),
    "reference1": ("#8a8b94", "#8a8b95"),
    "reference2": ("#8b8a94", "#8b8a95"),
    "reference3": ("#8b8b94", "#8b8b95"),
    "ink": ("#55555c", "#a4a4ad"),
    "line": ("#dedee2", "#35353a"),
}
"""Name of a color -> its value on a light and on a dark page; light values are unique."""
FORMATS = ("pdf", "svg")
"""File formats that ``--figures`` writes."""
_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"


@dataclass
class Plot:
    """A finished plot."""

    title: str
    figure: Figure
    notes: dict[str, str] = field(default_factory=dict)
    """Id of an element -> text that a browser shows on hover."""
    banded: bool = False
    """Whether a line has a band, which the page explains."""
    keys: dict[str, str] = field(default_factory=dict)
    """Label -> color of each line, for a legend that the page shows; empty if the plot has its own."""
    groups: tuple[int, ...] = ()
    """Groups of a board's columns that a plot of several groups shows."""

    def svg(self) -> str:
        """Return SVG markup for pages with ``page_style``: without style attributes, scripts and absolute size."""
        markup = self._bytes("svg", background="none")
        root = ElementTree.fromstring(markup)
        # Ids must be unique among the plots of a page.
        digest = sha256(markup + repr((self.title, self.notes)).encode()).hexdigest()[:8]
        variables = {light: f"var(--{name}, {light})" for name, (light, _) in COLORS.items()}
        used = set()
        for element in root.iter():
            # Content policies may forbid style attributes; each of these properties is also an SVG attribute.
            for declaration in element.attrib.pop("style", "").split(";"):
                name, _, value = (part.strip() for part in declaration.partition(":"))
                if name and name != "font-family":
                    element.set(name, variables.get(value, value))
            used |= {value[1:] for key, value in element.attrib.items() if key.endswith("href")}
            used |= {value[5:-1] for value in element.attrib.values() if value.startswith("url(#")}
        drawn = ElementTree.Element("svg", {"viewBox": root.attrib["viewBox"], "role": "img", "class": "plot"})
        drawn.attrib |= {"stroke-linejoin": "round", "stroke-linecap": "butt"}
        ElementTree.SubElement(drawn, "title").text = self.title
        ElementTree.SubElement(drawn, "desc").text = "; ".join(self.notes.values())[:2000]
        drawn.extend(child for child in root if child.tag.endswith("}g") or child.tag.endswith("}defs"))
        for element in drawn.iter():
            element.tag = element.tag.removeprefix(f"{{{_SVG}}}")
            element.text, element.tail = (element.text or "").strip("\n "), ""
            name = element.attrib.pop("id", "")
            if name in used:
                element.set("id", f"{digest}-{name}")
            if name in self.notes:
                note = ElementTree.Element("title")
                note.text = self.notes[name]
                element.insert(0, note)
            for key, value in list(element.attrib.items()):
                if key == f"{{{_XLINK}}}href":
                    del element.attrib[key]
                    element.set("href", f"#{digest}-{value[1:]}")
                elif value.startswith("url(#"):
                    element.set(key, f"url(#{digest}-{value[5:]}")
        for parent in [one for one in drawn.iter() if one.find("style") is not None]:
            parent.remove(parent.find("style"))  # type: ignore[arg-type]
        return ElementTree.tostring(drawn, encoding="unicode").replace("\n", " ")

    def write(self, path: Path) -> None:
        """Write the plot in the format of the suffix: ``.pdf``, ``.svg`` or ``.png``."""
        write_atomic(path, self._bytes(path.suffix[1:]), durable=False)

    def _bytes(self, kind: str, *, background: str = "white") -> bytes:
        from matplotlib.backends.backend_svg import FigureCanvasSVG

        buffer = io.BytesIO()
        no_date: dict[str, Any] = {
            "svg": {"Date": None, "Creator": None},
            "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
        }
        with style():
            engine = self.figure.get_layout_engine()
            if engine is not None:
                # Each layout starts from the previous one; a single layout makes all outputs equal.
                engine.execute(self.figure)
                self.figure.set_layout_engine("none")
            self.figure.set_facecolor(background)
            if kind == "svg":  # savefig would lay it out twice
                canvas: Any = FigureCanvasSVG(self.figure)
                canvas.print_svg(buffer, metadata=no_date[kind])
            else:
                self.figure.savefig(buffer, format=kind, dpi=160, metadata=no_date.get(kind))
        return buffer.getvalue()


def page_style() -> str:
    """Return the CSS of plots in pages: the colors as variables, for light and dark screens."""
    light, dark = ("; ".join(f"--{name}: {both[i]}" for name, both in COLORS.items()) for i in (0, 1))
    return (
        f":root {{ {light}; }}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark}; }} }}\n"
        "svg.plot { display: block; width: 100%; max-width: 40rem; height: auto; "
        'font-family: system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }\n'
        "ul.legend { grid-column: 1 / -1; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; margin: 0; padding: 0; "
        "list-style: none; font-size: .85rem; }\n"
        "ul.legend svg { display: inline-block; vertical-align: middle; margin-right: .45rem; }\n"
    )


def write_figures(plots: Mapping[str, Plot], folder: Path) -> list[Path]:
    """Write plots for a paper as files, each as PDF and SVG.

    Args:
        plots: name of the file without suffix -> plot.
        folder: output folder, created if missing.

    Returns:
        The written files.

    Raises:
        UserError: if they cannot be written.
    """
    files = []
    for name, one in plots.items():
        for kind in FORMATS:
            files.append(folder / f"{file_name(name)}.{kind}")
            one.write(files[-1])
    return files


def file_name(text: str) -> str:
    """Convert a plot's title to a file name of letters, digits, ``.``, ``_`` and ``-``, at most 120 characters."""
    kept = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "._") else "-" for letter in text)
    return "-".join(part for part in kept.split("-") if part)[:120].strip(".-") or "figure"


def one_line(text: str, longest: int) -> str:
    """Return one line of printable characters, since names and titles may come from untrusted files."""
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    line = " ".join(line.split())
    return line if len(line) <= longest else f"{line[: longest // 2]}…{line[-(longest - longest // 2 - 1) :]}"


@contextmanager
def style() -> Iterator[None]:
    """Apply matplotlib settings in a context, so that files of plots are reproducible and text stays text."""
    import matplotlib as mpl

    settings: Any = {
        "svg.hashsalt": "colorbench",  # ids are random otherwise
        "svg.fonttype": "none",  # text stays text
        "pdf.fonttype": 42,  # TrueType, as journals ask for
        "text.parse_math": False,  # a "$" in a name is not a formula
        "axes.autolimit_mode": "round_numbers",
        "axes.xmargin": 0,
        "axes.ymargin": 0,
    }
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    with mpl.rc_context(settings), warnings.catch_warnings():
        # Browsers have glyphs that matplotlib's font lacks.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        yield
