"""Writes what is made from the models: the JSON schema for editors and the reference of every key.

`python -m dfml.config.schema` rewrites both, `--check` only says whether they are up to date.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from dfml.config.reference import reference
from dfml.config.tree import tree

SCHEMA = Path("workflow/schemas/config.schema.json")
REFERENCE = Path("config/README.md")


def schema() -> str:
    """The JSON schema (draft 2020-12), closed at every level, with default and description of every key."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Configuration of dfml"}
    return json.dumps({**head, **tree()}, indent=1, ensure_ascii=False) + "\n"


def generated() -> dict[Path, str]:
    """Text of every generated file by its path from the root of the repository."""
    return {SCHEMA: schema(), REFERENCE: reference()}


def stale(root: Path) -> list[Path]:
    """Generated files that are missing or differ from what the models say."""
    return [
        path
        for path, text in generated().items()
        if not (root / path).is_file() or (root / path).read_text(encoding="utf-8") != text
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Rewrite the files that are not up to date, or with `--check` return 1 if there are any."""
    parser = argparse.ArgumentParser(prog="python -m dfml.config.schema", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file is not up to date")
    parser.add_argument("--root", type=Path, default=Path(), help="root of the repository (default: here)")
    options = parser.parse_args(arguments)
    found = stale(options.root)
    if options.check:
        for path in found:
            sys.stderr.write(f"{path} is not up to date: run `python -m dfml.config.schema`\n")
        return int(bool(found))
    for path in found:
        (options.root / path).parent.mkdir(parents=True, exist_ok=True)
        (options.root / path).write_text(generated()[path], encoding="utf-8")
        sys.stdout.write(f"wrote {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
