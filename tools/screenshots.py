"""Save every page, light and dark, wide and narrow, into _build/screenshots, for people to look at."""

import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

from benchmarks import chromium

ROOT = Path(__file__).parents[1]
HTML = Path(sys.argv[1]).absolute() if len(sys.argv) > 1 else ROOT / "_build" / "html"
TO = Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT / "_build" / "screenshots"


def main():
    TO.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = chromium.launch(playwright)
        for path in sorted(HTML.glob("*.html")):
            for theme in ("light", "dark"):
                for width in (390, 1400):
                    size = {"width": width, "height": 900}
                    page = browser.new_page(color_scheme=theme, viewport=size, reduced_motion="reduce")
                    page.goto(path.as_uri())
                    page.evaluate("() => window.MathJax?.startup?.promise")
                    page.screenshot(path=TO / f"{path.stem}-{theme}-{width}.png", full_page=True)
                    page.close()
        browser.close()
    print(f"Screenshots: {TO}")


if __name__ == "__main__":
    main()
