"""Zip archives that may be damaged or hostile: what their directory claims is held against the file."""

from __future__ import annotations

import os
import zipfile
from typing import BinaryIO

# Ours are not compressed, but for the embedded images: 12 MiB each.
LARGEST_INFLATED = 256 * 2**20


def open_archive(stream: BinaryIO) -> zipfile.ZipFile:
    """Open an archive whose members, all together, are no more than the file can hold.

    Members that are compressed may inflate to `LARGEST_INFLATED`.

    Raises:
        ValueError: members overlap, share a name, are encrypted, or inflate to more.
        Exception: whatever `zipfile` makes of damaged bytes.
    """
    archive = zipfile.ZipFile(stream)
    members = archive.infolist()
    if len({member.filename for member in members}) < len(members):
        raise ValueError("two members of one name")
    stored = [member for member in members if member.compress_type == zipfile.ZIP_STORED]
    packed = [member for member in members if member.compress_type == zipfile.ZIP_DEFLATED]
    if len(stored) + len(packed) < len(members) or any(member.flag_bits & 1 for member in members):
        raise ValueError("members are encrypted or packed in an unusual way")
    if any(member.file_size != member.compress_size for member in stored):
        raise ValueError("a member's two sizes differ")
    if sum(member.compress_size for member in members) > os.fstat(stream.fileno()).st_size:
        raise ValueError("its members would not fit into the file")
    if sum(member.file_size for member in packed) > LARGEST_INFLATED:
        raise ValueError(f"it inflates to more than {LARGEST_INFLATED >> 20} MiB")
    return archive
