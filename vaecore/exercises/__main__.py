"""`python -m vaecore.exercises --list [--json]`: each exercise, its chapter, and how many wrong answers are known."""

import argparse
import json

from . import EXERCISES


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m vaecore.exercises", description="The exercises that check knows.")
    parser.add_argument("--list", action="store_true", help="list them")
    parser.add_argument("--json", action="store_true", help="as JSON")
    options = parser.parse_args()
    if not options.list:
        parser.error("nothing to do: give --list")
    rows = [dict(chapter=e.chapter, name=e.name, known_wrong_answers=len(e.wrong)) for e in EXERCISES.values()]
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    print(f"{'chapter':>7}  {'name':24} known wrong answers")
    for row in rows:
        print(f"{row['chapter']:>7}  {row['name']:24} {row['known_wrong_answers']}")


if __name__ == "__main__":
    main()
