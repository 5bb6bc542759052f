"""Networks of the user's own: files that the key `custom_networks` names, with classes ``Network`` and ``Options``.

What such a file has to provide, and why, is in docs/adding.md; :mod:`dfml.networks.trial` tries it.
"""

import threading
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ValidationError

from dfml.artefacts.zoo import FAMILIES, RESNETS, NetworkSpec
from dfml.errors import DfmlError
from dfml.files.user_code import load_file, said
from dfml.jobs.code_digest import file_digest
from dfml.networks.classifier import Classifier
from dfml.networks.settings import ArchitectureSettings

# Which files this process was told of: no other is ever run, whatever a manifest says.
_files: dict[str, Path] = {}
# Constructors draw from torch's global numbers, which all threads share.
_constructing = threading.Lock()


def register_networks(files: Mapping[str, str]) -> None:
    """Say in which file the network of each family is that the package does not have; raises DfmlError otherwise."""
    if not isinstance(files, Mapping):
        raise DfmlError(
            f"networks are given as names with their files, {{'mine': 'mine.py'}}, not as a {type(files).__name__}"
        )
    _files.update({family: Path(file).expanduser() for family, file in files.items()})


def describe(
    network: ArchitectureSettings, *, ways: int, side: int | None, stem_relu: bool = True, grid: int = 1
) -> NetworkSpec:
    """The description of a network with these settings.

    Args:
        network: its settings.
        ways: outputs.
        side: of the images in pixels; None for any.
        stem_relu: of a ResNet.
        grid: of a Conv4 for any side.

    Raises:
        DfmlError: it is of a family that nobody knows.
    """
    return NetworkSpec(
        family=network.family,
        width=network.width,
        ways=ways,
        side=side,
        stem_relu=stem_relu or network.family not in RESNETS,
        grid=grid,
        options=network.options,
        code=None if network.family in FAMILIES else _code(network.family),
    )


def build_own(spec: NetworkSpec, *, generator: torch.Generator | None, episodic: bool) -> Classifier:
    """Build a network of the user's own; arguments as of :func:`dfml.networks.build.build_network`.

    Its weights are what its constructor draws from torch's global numbers, which are seeded by ``generator`` before and
    put back after.

    Raises:
        DfmlError: its file is not known, is another one than ``spec`` was made with, or does not build it.
    """
    key, file = f"custom_networks.{spec.family}", _file(spec.family)
    if _code(spec.family) != spec.code:
        raise DfmlError(f"{key}: `{file}` is not the code that these weights were made with; give that")
    network, options = _classes(key, file, spec.code)
    try:
        given = options.model_validate(dict(spec.options))
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, ('options', *problem['loc'])))}: {problem['msg']}"
            for problem in error.errors(include_url=False)
        )
        raise DfmlError(f"{key}: {wrong}") from None
    with _constructing, torch.random.fork_rng(devices=[]):
        if generator is not None:
            torch.default_generator.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        try:
            built = network(given, width=spec.width, ways=spec.ways, side=spec.side, episodic=episodic)
        except DfmlError:
            raise
        except Exception as error:
            raise DfmlError(f"{key}: `{file}` does not build a network ({said(error)})") from error
    if not isinstance(built, Classifier):
        raise DfmlError(f"{key}: `Network` of `{file}` is no dfml.networks.classifier.Classifier; derive it from that")
    return built


def _file(family: str) -> Path:
    if family not in _files:
        raise DfmlError(
            f"the network `{family}` is no family of this package, and its file was not named: give it in "
            f"`custom_networks` of a configuration, or as --network {family}=FILE to a command"
        )
    return _files[family]


def _code(family: str) -> str:
    file = _file(family)
    try:
        return file_digest(file, None)
    except (OSError, SyntaxError, ValueError) as error:
        raise DfmlError(f"custom_networks.{family}: `{file}` cannot be read ({said(error)})") from None


@cache
def _classes(key: str, file: Path, code: str) -> tuple[Callable[..., Any], type[BaseModel]]:
    """`Network` and `Options` of a file; ``code`` voids the memo."""
    module = load_file(file, key=key)
    network, options = getattr(module, "Network", None), getattr(module, "Options", None)
    if not callable(network):
        raise DfmlError(f"{key}: `{file}` has no class `Network`")
    if not (isinstance(options, type) and issubclass(options, BaseModel)):
        raise DfmlError(f"{key}: `{file}` has no class `Options` derived from dfml.settings.Section")
    return network, options
