"""Writes what is made from the models: the JSON schema for editors, the reference of every key, DVC's lists of keys.

`python -m dfml.config.reference` rewrites all of them, `--check` only says whether they are up to date.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from dfml.config.stages import stages
from dfml.config.tree import Key, children, describe, keys, section_of, tree
from dfml.errors import ConfigError

INTRODUCTION = """\
# Every key of the configuration

<!-- Made by `python -m dfml.config.reference` from the models: change the descriptions there, not here. -->

What the files in `config/` are and how one is laid over another says [config/README.md](../config/README.md). The
default is what holds when no file and no option gives the key. First come the keys of the whole experiment, then data,
networks, pools, zoo, inversion, evaluation and how jobs run, then one section for each method that has settings.

Numbers such as F08 mark the options in which published code departs from the method as it is described: F of FREE in
[deviations.md](deviations.md), other letters of other methods in `docs/methods/`. `free.profile: official` sets those
of FREE as published; any key given beside it overrides that one choice.
"""


def reference() -> str:
    """The whole document in Markdown."""
    top = children(tree())
    sections = [name for name, node in top.items() if children(node)]
    parts = [INTRODUCTION, "Sections: " + " · ".join(f"[{name}](#{name})" for name in sections) + "\n"]
    parts.append("## Top level\n\n" + _table([Key((name,), node) for name, node in top.items()]))
    for name in sections:
        parts.append(f"## `{name}`\n\n{top[name]['description']}\n\n" + _table(list(keys(top[name], (name,)))))
    return "\n".join(parts)


def _table(rows: list[Key]) -> str:
    lines = ["| key | takes | default | what it is |", "|---|---|---|---|"]
    for key in rows:
        cells = (f"`{key.dotted}`", describe(key.node), _default(key.node), _about(key.node))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _default(node: dict[str, Any]) -> str:
    if "default" not in node:
        return ""
    dumped = yaml.safe_dump([node["default"]], default_flow_style=True, sort_keys=False, width=10_000)
    return f"`{dumped.strip()[1:-1]}`"


def _about(node: dict[str, Any]) -> str:
    section = section_of(node)
    text = node.get("description") or (section or {}).get("description", "")
    return " ".join(text.split()).replace("|", "\\|")


SCHEMA = Path("workflow/schemas/config.schema.json")
REFERENCE = Path("docs/configuration.md")


def schema() -> str:
    """The JSON schema (draft 2020-12), closed at every level, with default and description of every key."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Configuration of dfml"}
    return json.dumps({**head, **tree()}, indent=1, ensure_ascii=False) + "\n"


def generated(root: Path) -> dict[Path, str]:
    """Text of every generated file by its path from the root of the repository."""
    return {SCHEMA: schema(), REFERENCE: reference(), **dict(stages(root))}


def stale(root: Path) -> list[Path]:
    """Generated files that are missing or differ from what the models say."""
    return [
        path
        for path, text in generated(root).items()
        if not (root / path).is_file() or (root / path).read_text(encoding="utf-8") != text
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Rewrite the files that are not up to date, or with `--check` return 1 if there are any."""
    parser = argparse.ArgumentParser(prog="python -m dfml.config.reference", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file is not up to date")
    parser.add_argument("--root", type=Path, default=Path(), help="root of the repository (default: here)")
    options = parser.parse_args(arguments)
    try:
        found = stale(options.root)
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if options.check:
        for path in found:
            sys.stderr.write(f"{path} is not up to date: run `python -m dfml.config.reference`\n")
        return int(bool(found))
    for path in found:
        (options.root / path).parent.mkdir(parents=True, exist_ok=True)
        (options.root / path).write_text(generated(options.root)[path], encoding="utf-8")
        sys.stdout.write(f"wrote {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
