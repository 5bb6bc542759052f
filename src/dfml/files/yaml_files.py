"""Reading configuration files: what a plain YAML reader passes over in silence is an error here."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from dfml.errors import ConfigError
from dfml.files.reading import MEBIBYTE, read_at_most
from dfml.settings import nearest

# Limits far above any real configuration (every key spelled out is some 9 KiB). They stop a file whose YAML aliases
# repeat each other: ten such lines can stand for a billion values.
LARGEST_YAML = MEBIBYTE
MOST_VALUES = 100_000
DEEPEST_YAML = 64
# Digits of a whole number: Python refuses to print one of several thousand, even in an error message.
_LONGEST_NUMBER = 40


def read_yaml(path: Path) -> dict[str, Any]:
    """The keys of one YAML file.

    Raises:
        ConfigError: the file is missing, unreadable, empty, not YAML, not a mapping, gives a key twice, or holds
            too much; the message names the file and the line.
    """
    text = _read(path)
    try:
        loader = yaml.SafeLoader(text)
        try:
            root = loader.get_single_node()
            if root is not None:
                _check_size(root)
            twice = list(_given_twice(root, ()))
            values = None if root is None or twice else loader.construct_document(root)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise ConfigError(_explain(path, text, error)) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from None
    except Exception as error:  # the reader trusts that a value is what its form or its tag says, such as a date
        raise ConfigError(f"{path}: not valid YAML: {error}; check values and tags") from None
    if twice:
        raise ConfigError("\n".join(f"{path}, {line}" for line in twice))
    if values is None:
        raise ConfigError(f"{path}: the file is empty; give at least one key")
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected keys at the top level (`key: value`), got {_kind(values)}")
    return values


def given_twice(text: str, key: str) -> list[str]:
    """A line for every key that stands twice in a mapping of the text; ``key`` is where the text is the value of."""
    try:
        return list(_given_twice(yaml.compose(text, yaml.SafeLoader), (key,)))
    except yaml.YAMLError:
        return []  # Snakemake takes it for plain text


def _read(path: Path) -> str:
    try:
        text = read_at_most(path, LARGEST_YAML).decode("utf-8-sig")
        # JSON is YAML but for tabs, which may indent it and stand in no text of it.
        return text.replace("\t", " ") if path.suffix == ".json" else text
    except FileNotFoundError:
        others = [str(other) for other in sorted(path.parent.glob("*.y*ml"))] if path.parent.is_dir() else []
        meant = nearest(str(path), others)
        remedy = f"did you mean {meant}?" if meant else f"check the path; it is relative to {Path.cwd()}"
        raise ConfigError(f"{path}: there is no such configuration file; {remedy}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not a text file in UTF-8; save it as UTF-8 YAML") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); give a readable YAML file") from None


def _check_size(root: yaml.Node) -> None:
    """ValueError when the file stands for too many values, too deep a nesting or too long a number.

    Counted are the values that aliases stand for, each time.
    """
    waiting, count = [(root, 0)], 0
    while waiting:
        node, depth = waiting.pop()
        count += 1
        if count > MOST_VALUES or depth > DEEPEST_YAML:
            raise ValueError(f"more than {MOST_VALUES} values, or nested deeper than {DEEPEST_YAML} levels")
        if isinstance(node, yaml.SequenceNode):
            waiting += [(item, depth + 1) for item in node.value]
        elif isinstance(node, yaml.MappingNode):
            waiting += [(part, depth + 1) for pair in node.value for part in pair]
        elif node.tag == "tag:yaml.org,2002:int" and len(node.value) > _LONGEST_NUMBER:
            raise ValueError(f"a number of more than {_LONGEST_NUMBER} digits")


def _given_twice(node: yaml.Node | None, above: tuple[str, ...]) -> Iterator[str]:
    """A line for every key that stands twice in one mapping, at any depth."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _given_twice(item, above)
    if not isinstance(node, yaml.MappingNode):
        return
    first: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        name = key.value if isinstance(key, yaml.ScalarNode) else ""
        path = (*above, name)
        if name and name != "<<" and name in first:
            dotted = ".".join(path)
            yield f"line {line}: `{dotted}` is given twice, first in line {first[name]}; keep one of them"
        first.setdefault(name, line)
        yield from _given_twice(value, path)


def _explain(path: Path, text: str, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    number = mark.line + 1 if mark else 1
    line = "".join(text.splitlines()[number - 1 : number])
    problem = error.problem or error.context or "cannot be read"
    if "\t" in line[: len(line) - len(line.lstrip())] or "'\\t'" in problem:
        return f"{path}, line {number}: a tab in `{line.strip()}`; YAML wants spaces"
    quoted = f" in `{line.strip()}`" if line.strip() else ""
    remedy = "check indentation, quotes and brackets there and above"
    return f"{path}, line {number}: not valid YAML: {problem}{quoted}; {remedy}"


def _kind(value: Any) -> str:
    return "a list" if isinstance(value, list) else f"`{value}`"
