"""The resume file of a long loop: its whole state, kept beside the workflow's outputs and never among them."""

from __future__ import annotations

import errno
import logging
from collections import OrderedDict
from pathlib import Path
from typing import Any

from dfml.errors import DfmlError
from dfml.files.arrays import open_archive
from dfml.files.atomic import atomic_write
from dfml.files.reading import open_ordinary

log = logging.getLogger(__name__)

_FORMAT = "dfml.checkpoint"
_VERSION = 4
_SCALARS = (bool, int, float, str, type(None))


class Checkpoint:
    """Saves and restores the state of a loop, bit for bit.

    The state is a dict of nested dicts, lists and tuples of tensors, numbers, strings and None;
    a torch generator goes in as `generator.get_state()`, a numpy one as
    `rng.bit_generator.state`.

    Args:
        path: The resume file; None keeps nothing.
        digest: Identifies everything that led to the state: settings, inputs and code. A file with another
            digest belongs to another run and is not used.
    """

    def __init__(self, path: Path | None, digest: str) -> None:
        self.path = path
        self.digest = digest

    def load(self) -> dict[str, Any] | None:
        """Return the saved state with tensors on the CPU, None if there is none to be used.

        Raises:
            DfmlError: the system does not give the file, which may be whole: nothing is started over it.
            MemoryError: it does not fit.
        """
        if self.path is None or not self.path.exists():
            return None
        import torch

        try:
            with open_ordinary(self.path) as stream:
                # Torch allocates whatever the archive claims, and does not look at its checksums.
                with open_archive(stream) as archive:
                    if archive.testzip() is not None:
                        raise ValueError("a checksum is wrong")
                stream.seek(0)
                content = torch.load(stream, map_location="cpu", weights_only=True)
            known = (content["format"], content["version"]) == (_FORMAT, _VERSION)
            digest, state = content["digest"], dict(content["state"])
        except MemoryError:
            raise
        except Exception as error:  # a damaged file fails in as many ways as it has bytes
            # Archives send their readers to places that are not in the file.
            if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
                raise DfmlError(
                    f"{self.path} cannot be read ({error.strerror}); make it readable, or delete it to start afresh"
                ) from error
            log.warning("cannot read %s, starting afresh (%s)", self.path, type(error).__name__)
            return None
        if not known or digest != self.digest:
            log.warning("%s belongs to another run, starting afresh", self.path)
            return None
        log.info("continuing from %s", self.path)
        return state

    def save(self, state: dict[str, Any]) -> None:
        """Replace the resume file by `state`, atomically.

        Raises TypeError for a value that `load` could not bring back, DfmlError on a full disk.
        """
        if self.path is None:
            return
        import torch

        _check(state, "state", torch.Tensor)
        content = {"format": _FORMAT, "version": _VERSION, "digest": self.digest, "state": state}
        atomic_write(self.path, lambda path: torch.save(content, path))

    def remove(self) -> None:
        """Delete the resume file, once the result it led to is written."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def _check(value: Any, where: str, tensor: type) -> None:
    # Exact types: numpy.float64 is a float too, but not one that a safe load accepts.
    if type(value) in (dict, OrderedDict):
        for key, item in value.items():
            _check(key, f"a key of {where}", tensor)
            _check(item, f"{where}[{key!r}]", tensor)
    elif type(value) in (list, tuple):
        for index, item in enumerate(value):
            _check(item, f"{where}[{index}]", tensor)
    elif type(value) not in _SCALARS and not isinstance(value, tensor):
        raise TypeError(f"{where} is a {type(value).__name__}; make it a tensor or a plain value")


def resume_path(folder: Path) -> Path:
    """The resume file of the job that makes ``results/{experiment}/…``: ``results/{experiment}/resume/….pt``.

    No parameter of the job, whose value would name the experiment: the cache between workflows goes by parameters, and
    experiments are to share what is equal.
    """
    results, experiment, *rest = folder.parts
    return Path(results, experiment, "resume", *rest[:-1], f"{rest[-1]}.pt")
