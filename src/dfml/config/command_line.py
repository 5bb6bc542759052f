"""What Snakemake's command line says of the configuration, looked at before Snakemake does.

It reads `--configfile` and `--config` before anything of ours runs, ends with a traceback where it cannot, and of an
option that is given twice it forgets the first without a word.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from unicodedata import category

from dfml.config.load import check_files
from dfml.errors import ConfigError
from dfml.files.yaml_files import given_twice

# Snakemake gives the interpreter's path to a shell without quotes; PATH is split at colons. The same are in run.sh.
_UNSAFE = frozenset(" \"$&'()*:;<>?`{|}[]\\")


_OPTIONS = (("--configfile", "--configfiles"), ("--config", "-C"))
_FILES, _ENTRIES = _OPTIONS
# What Snakemake takes for a key.
_KEY = re.compile(r"[a-zA-Z_][\w-]*\w")


def check_words(words: Sequence[str]) -> None:
    """Refuse options given twice, files that cannot be read, and entries that are no key or one given twice.

    Raises:
        ConfigError: every problem on a line.
    """
    words = words[: words.index("--")] if "--" in words else words
    wrong = [line for options in _OPTIONS for line in _options_twice(options, words)]
    entries = list(_values_of(_ENTRIES, words))
    wrong += [*_unreadable(entries), *_repeated(entries)]
    try:
        check_files(_values_of(_FILES, words))
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
            option = _option_of(word)
            value = word.removeprefix(option).removeprefix("=")
            taking = option in options and not value
            if option in options and value:
                yield value
        elif taking:
            yield word


def _option_of(word: str) -> str:
    """The option of a word that may have its value in it, `--config=a=1` or `-Ca=1`."""
    return word[:2] if word.startswith("-C") else word.partition("=")[0]


def _options_twice(options: Sequence[str], words: Sequence[str]) -> Iterator[str]:
    given = [word for word in words if _option_of(word) in options]
    if len(given) > 1:
        yield f"{options[0]} is given {len(given)} times, and Snakemake keeps the last; put all behind one of them"


def _unreadable(entries: Sequence[str]) -> Iterator[str]:
    for entry in entries:
        key, equals, value = entry.partition("=")
        if not equals:
            yield f"--config {entry}: expected KEY=VALUE, such as ways=5; targets stand before options, or after --"
        elif "." in key and all(key.split(".")):
            section, *below = key.split(".")
            yield f"--config {entry}: give the section, as '{section}={_braces(below, value)}'"
        elif not _KEY.fullmatch(key):
            yield f"--config {entry}: `{key}` is no key"


def _braces(keys: Sequence[str], value: str) -> str:
    return f"{{{keys[0]}: {_braces(keys[1:], value)}}}" if keys else value


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
