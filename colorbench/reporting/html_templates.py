"""Jinja environment for the templates of all HTML pages."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from colorbench.reporting.plot_drawing import swatch
from colorbench.reporting.plot_files import page_style


def page_environment(package: str) -> Environment:
    """Return the environment that renders the HTML templates of ``package``.

    All text is escaped, since names, ids and reasons come from untrusted files. ``plot_style`` is the CSS of plots.
    """
    environment = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["plot_style"] = Markup(page_style())
    environment.filters["svg"] = lambda plot: Markup(plot.svg())
    environment.filters["swatch"] = lambda color: Markup(swatch(color))
    return environment
