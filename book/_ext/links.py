"""Asks for every address outside the book that its pages link to: `python book/_ext/links.py FOLDER_OF_PAGES`.

Needs a network. Ends with status 1 where an address is dead. A server that answers but will not talk to a program is
listed and not counted as dead.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

TIMEOUT = 20  # seconds
UNWILLING = (401, 403, 405, 406, 429, 999)  # there, but not for programs, or not so often
NO_ANSWER = "no answer"


class Links(HTMLParser):
    """The addresses on other machines that a page links to, without the place in the page there."""

    def __init__(self, page):
        super().__init__()
        self.found = set()
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        address = dict(attributes).get("href") or ""
        if tag == "a" and address.startswith(("http://", "https://")):
            self.found.add(address.partition("#")[0])


def external(folder):
    """Each address with the pages that link to it."""
    pages_of = {}
    for page in sorted(folder.glob("*.html")):
        for address in sorted(Links(page.read_text(encoding="utf-8")).found):
            pages_of.setdefault(address, []).append(page.name)
    return pages_of


def ask(address):
    """The status with which the address answers; a sentence where none comes."""
    try:
        with urlopen(Request(address, headers={"User-Agent": "Mozilla/5.0 (link check)"}), timeout=TIMEOUT) as answer:
            return answer.status
    except HTTPError as error:
        return error.code
    except (OSError, HTTPException, ValueError) as error:
        return f"{NO_ANSWER} ({getattr(error, 'reason', error)})"


def main(folder):
    pages_of = external(folder)
    if not pages_of:
        sys.exit(f"links: no page in {folder} links to another machine; build the book first.")
    with ThreadPoolExecutor(8) as pool:
        answers = dict(zip(pages_of, pool.map(ask, pages_of), strict=True))
    if all(str(answer).startswith(NO_ANSWER) for answer in answers.values()):
        sys.exit(f"links: none of {len(answers)} addresses answered; checking them needs a network.")
    dead = [address for address, answer in answers.items() if answer not in (200, *UNWILLING)]
    for address, pages in pages_of.items():
        print(f"{answers[address]}  {address}  ({', '.join(pages)})")
    if dead:
        sys.exit(f"links: {len(dead)} of {len(answers)} addresses are dead: {' '.join(dead)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
