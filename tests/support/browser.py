"""A page that somebody opened in a real browser."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

PATIENCE = 60_000
"""Longest time that an action may take on a busy machine, in milliseconds."""
WIDTHS = (390, 768, 1280)
"""Of a phone, a tablet and a computer, in CSS pixels."""
SCHEMES = ("light", "dark")


def page_faults(page: Any, widths: Sequence[int] = WIDTHS) -> list[str]:
    """Return what axe finds and whether the page scrolls sideways, at these widths and in both color schemes."""
    from axe_playwright_python.sync_playwright import Axe

    faults = []
    for width in widths:
        page.set_viewport_size({"width": width, "height": 900})
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            found = Axe().run(page).response["violations"]
            faults += [f"{width} {scheme}: {one['id']}: {one['nodes'][0]['html'][:200]}" for one in found]
        wider = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        faults += [f"{width}: {wider} px too wide"] * (wider > 0)
    return faults


class OpenedPage:
    """A page that somebody opened with the network off; errors of its script and all requests are noted."""

    def __init__(self, browser: Any, address: str, **window: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, "offline": True, **window})
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.address = address
        self.troubles: list[str] = []
        self.requests: list[str] = []
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("console", lambda m: m.type in ("error", "warning") and self.troubles.append(m.text))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address)

    @property
    def url(self) -> str:
        """The address now, read in the page: the driver's own copy follows a script's change with a delay."""
        address: str = self.page.evaluate("location.href")
        return address

    def foreign(self) -> list[str]:
        """Return the requests for anything but the page itself and what is embedded in it."""
        own = self.address.partition("?")[0].partition("#")[0].rstrip("/")
        return [url for url in self.requests if not url.startswith((own, "data:", "blob:"))]
