"""What Snakemake's command line says of the configuration, looked at before Snakemake does.

It reads the files of `--configfile` before anything of ours runs, and ends with a traceback where one cannot be read.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from unicodedata import category

from dfml.config.load import check_files
from dfml.errors import ConfigError
from dfml.files.yaml_files import given_twice

# Snakemake gives the interpreter's path to a shell without quotes; PATH is split at colons. The same are in run.sh.
_UNSAFE = frozenset(" \"$&'()*:;<>?`{|}[]\\")


def check_words(words: Sequence[str]) -> None:
    """Refuse files of `--configfile` that cannot be read, and keys given twice there or in `--config`.

    Raises:
        ConfigError: every problem on a line.
    """
    wrong = list(_repeated(list(_values_of(("--config", "-C"), words))))
    try:
        check_files(_values_of(("--configfile", "--configfiles"), words))
    except ConfigError as error:
        wrong.append(str(error))
    if wrong:
        raise ConfigError("\n".join(wrong))


def check_place(root: Path, here: Path, interpreter: str) -> None:
    """Refuse to run where the repository's files are not, or with an interpreter that a shell cannot be told.

    A folder with links to them will do.

    Raises:
        ConfigError: says where to call it from.
    """
    parts = [] if here.samefile(root) else ["config", "resources"]
    if not all((here / part).exists() and (here / part).samefile(root / part) for part in parts):
        raise ConfigError(
            f"Snakemake works in {here}, but has to in {root}, where config/ and resources/ are: call {root}/run.sh "
            "snakemake …, or snakemake in that folder and without --directory; `experiment` keeps results apart"
        )
    odd = next((sign for sign in interpreter if sign in _UNSAFE or category(sign) in ("Cc", "Cs")), None)
    if odd is not None:
        raise ConfigError(
            f"the path of the environment's Python has the character {odd!r} in it, with which no job could be "
            f"started; make the environment in a folder with another path: {interpreter}"
        )


def _values_of(options: Sequence[str], words: Sequence[str]) -> Iterator[str]:
    """The values of options that take several."""
    taking = False
    for word in words:
        if word.startswith("-"):
            option, joined, value = word.partition("=")
            taking = option in options and not joined
            if option in options and joined:
                yield value
        elif taking:
            yield word


def _repeated(entries: Sequence[str]) -> Iterator[str]:
    """Lines on keys of `KEY=VALUE` that stand twice: only sections are merged, of other values the last would win."""
    first: dict[str, str] = {}
    for entry in entries:
        key, _, value = entry.partition("=")
        yield from (f"--config {entry}: {line}" for line in given_twice(value, key))
        if key in first and not (_is_section(value) and _is_section(first[key])):
            yield f"--config gives `{key}` twice, as `{first[key]}` and as `{value}`; keep one of them"
        first[key] = value


def _is_section(value: str) -> bool:
    return value.lstrip().startswith("{")


if __name__ == "__main__":
    try:
        check_words(sys.argv[1:])
    except ConfigError as error:
        sys.exit(str(error))
