"""The reference of every key, `config/README.md`, made from the models."""

from typing import Any

import yaml

from dfml.config.describe import describe
from dfml.config.tree import Key, children, keys, section_of, tree

INTRODUCTION = """\
# Configuration

<!-- Made by `python -m dfml.config.schema` from src/dfml/config: change the descriptions there, not here. -->

One file says what an experiment is; threads, memory and GPUs belong to the profile (`workflow/profiles`).

- `config/config.yaml` is what `snakemake` reads by itself: embedded images, a laptop without GPU, minutes.
- `config/smoke.yaml` runs every method on tiny sizes, to see that all is in place.
- `config/methods.yaml` runs every method on three kinds of pool at one CPU budget, in hours.
- `config/paper.yaml` has the sizes of the paper as far as the data sets go; it wants a GPU.
- `config/splits/` holds the class splits of the embedded data sets.

A file of your own holds only what differs:

```
snakemake --configfile config/smoke.yaml              # over config.yaml
snakemake --configfile config/paper.yaml mine.yaml    # over both, the last one wins
snakemake --config seeds=[0] 'zoo={models: 10}'       # over every file
snakemake -n                                          # checks the configuration and shows what would run
```

How they are laid over one another: keys of the same section are merged deeply, so `zoo: {models: 10}`
changes nothing else in `zoo`. Lists and single values are replaced as a whole: `seeds: [0]` leaves one seed.
What one file brings by name (`datasets`, `networks`, `pools`) another cannot take away, but `methods: []`
switches a pool off, and data sets and networks that no pool names cost nothing. Another value of `experiment`
keeps the results apart.

Every key has a default, so a file may leave out any. A misspelt key, a wrong type or values that do not fit
together are errors, all told at once before anything runs. YAML reads `1e-3` as text: write `1.0e-3` or
`0.001`. Editors that know the YAML language server complete and check keys through the first line of each
file, which names `workflow/schemas/config.schema.json`.

Numbers such as F08 mark the options in which the published code departs from the method as it is described;
[docs/deviations.md](../docs/deviations.md) lists them.
`free.profile: official` sets those of FREE as published; any key given beside it overrides that one choice.
"""


def reference() -> str:
    """The whole document in Markdown."""
    top = children(tree())
    parts = [INTRODUCTION, "## Top level\n\n" + _table([Key((name,), node) for name, node in top.items()])]
    for name, node in top.items():
        if children(node):
            parts.append(f"## `{name}`\n\n{node['description']}\n\n" + _table(list(keys(node, (name,)))))
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
