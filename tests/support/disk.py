"""A small disk that can be filled up."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEBIBYTE = 2**20
# A mount namespace of one's own: for root, and for users where the kernel lets them have one.
ALLOWED = (["unshare", "--mount"], ["unshare", "--mount", "--user", "--map-root-user"])


class Disk:
    """A file system of a fixed size; ``folder`` is where it is seen."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    @property
    def free(self) -> int:
        """Bytes that can still be written."""
        return shutil.disk_usage(self.folder).free

    def leave(self, size: int) -> None:
        """Fill it up, but for ``size`` bytes."""
        with self._ballast.open("wb") as file:
            left = self.free - size
            while left > 0:
                left -= file.write(bytes(min(left, MEBIBYTE)))

    def clear(self) -> None:
        """Take away what it was filled up with."""
        self._ballast.unlink()


@contextmanager
def small_disk(place: Path, size: int) -> Iterator[Disk | None]:
    """A disk of ``size`` bytes; None where a user may not have one.

    It is mounted at ``place`` for one waiting process alone, whose end takes it away, and seen by everyone through that
    process's root. The process ends with this one, however that ends, since it waits for input from it.
    """
    place.mkdir()
    script = f'mount -t tmpfs -o size={size},mode=777 tmpfs "$0" && echo mounted && exec cat'
    for unshare in ALLOWED:
        holder = subprocess.Popen(
            [*unshare, "sh", "-c", script, str(place)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            if holder.stdout.readline() == "mounted\n":
                yield Disk(Path(f"/proc/{holder.pid}/root{place}"))
                return
        finally:
            holder.kill()
            holder.communicate()
    yield None
