"""Parse HTML pages, and open them in a browser that records log messages, errors and requests."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser

import cv2
import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Browser, Locator
from playwright.sync_api import Page as Tab

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


class ParsedPage(HTMLParser):
    """Parse a page into its elements, as (tag, attributes), and the text of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] == "script":
            self.scripts[-1] += data

    def handle_endtag(self, tag: str) -> None:
        self.elements.append((f"/{tag}", {}))

    def of_class(self, name: str) -> list[dict[str, str]]:
        return [attributes for _, attributes in self.elements if name in attributes.get("class", "").split()]


@contextmanager
def open_checked(browser: Browser, address: str, width: int = 1280) -> Iterator[Tab]:
    """Open the page at a file's address; at the end check that it logged nothing and requested nothing but itself."""
    context = browser.new_context(viewport={"width": width, "height": 900})
    page = context.new_page()
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(address)
    yield page
    context.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "blob:", "data:"))] == []
    assert {url.partition("#")[0] for url in requests if url.startswith("file:")} == {address}


def drawn_pixels(frame: Locator) -> NDArray[np.uint8]:
    """Return the pixels that the browser draws for a frame, after its picture is decoded."""
    frame.evaluate(
        """async (frame) => {
            const sprite = new Image();
            sprite.src = getComputedStyle(frame).backgroundImage.slice(5, -2);
            await sprite.decode();
        }"""
    )
    picture = cv2.imdecode(np.frombuffer(frame.screenshot(), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert picture is not None
    return picture.astype(np.uint8)


def check_policy(page: ParsedPage) -> None:
    """Check that the page's policy allows its one script, and that no address on it leads anywhere."""
    policy = next(a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(page.scripts[-1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    for _, attributes in page.elements:
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("#", "data:"))
