"""Damage inside safetensors, archives, arrays and pictures, all other things left right; a pickle that acts."""

import io
import json
import re
import struct
import zipfile
import zlib
from pathlib import Path
from random import Random
from typing import Any

from support.mutations import NUMBERS, TEXTS, change_bytes, change_json


class Trap:
    """Unpickling this leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return open, (str(self.path), "w")


# ---- safetensors

METADATA = "__metadata__"


def change_tensors(content: bytes, other: bytes, draws: Random) -> bytes:
    """Change shapes, offsets, types or names of the header, its length, or numbers of the weights."""
    length = struct.unpack("<Q", content[:8])[0]
    header, data = json.loads(content[8 : 8 + length]), bytearray(content[8 + length :])
    kind = draws.randrange(8)
    if kind == 0:
        raw = header_bytes(header)
        return struct.pack("<Q", draws.choice(NUMBERS) % 2**64) + raw + bytes(data)
    if kind == 1:
        raw = change_json(content[8 : 8 + length], other, draws)
        return struct.pack("<Q", len(raw)) + raw + bytes(data)
    name = draws.choice(sorted(header.keys() - {METADATA}))
    entry = header[name]
    if kind == 2:
        entry["shape"] = draws.choice((entry["shape"][::-1], [10**6, *entry["shape"]], [0], [2**62, 4], [-1], []))
    elif kind == 3:
        entry["data_offsets"] = draws.choice(([0, 4], [0, 2**63], entry["data_offsets"][::-1], [-1, 4], [0, len(data)]))
    elif kind == 4:
        entry["dtype"] = draws.choice(("F64", "F16", "BF16", "I64", "U8", "BOOL", "F8_E4M3", "F4", "C64", "F99"))
    elif kind == 5:
        header[draws.choice(TEXTS[1:4])] = header.pop(name)
    elif kind == 6:
        size = 4 * draws.randrange(1, 4)
        at = 4 * draws.randrange(max(1, len(data) // 4))
        data[at : at + size] = draws.choice((b"\x00\x00\x80\x7f", b"\x00\x00\xc0\xff", b"\xff\xff\x7f\x7f")) * (
            size // 4
        )
    else:
        # All tensors zero times as long, or many more of them, in a file that is whole.
        extra = draws.choice((1, 50))
        end = len(data)
        header |= {f"x{i}": {"dtype": "F32", "shape": [0, 10**9], "data_offsets": [end, end]} for i in range(extra)}
    raw = header_bytes(header)
    return struct.pack("<Q", len(raw)) + raw + bytes(data)


def change_metadata(content: bytes, other: bytes, draws: Random) -> bytes:
    """Change JSON that stands in the metadata of a safetensors file; the tensors stay."""
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    own = header[METADATA]
    key = draws.choice(sorted(own))
    own[key] = change_json(own[key].encode(), other, draws).decode("utf-8", "surrogatepass")
    raw = header_bytes(header)
    return struct.pack("<Q", len(raw)) + raw + content[8 + length :]


def header_bytes(header: dict[str, Any]) -> bytes:
    """A safetensors header, padded as the library does."""
    raw = json.dumps(header).encode("utf-8", "surrogatepass")
    return raw + b" " * (-len(raw) % 8)


# ---- zip archives: npz and torch's files


def change_archive(content: bytes, other: bytes, draws: Random) -> bytes:
    """Change a member, with a checksum that is right, or what the archive says of its members."""
    members = _members(content)
    foreign = _members(other)
    name = draws.choice(sorted(members))
    method = zipfile.ZIP_STORED
    kind = draws.randrange(10)
    renamed: dict[str, str] = {}
    twice = False
    if kind < 3:
        members[name] = change_bytes(members[name], foreign.get(name, b""), draws)
    elif kind < 6 and members[name].startswith(b"\x93NUMPY"):
        members[name] = change_npy(members[name], draws)
    elif kind == 6:
        members[name] = foreign.get(name, b"")
    elif kind == 7:
        renamed[name] = draws.choice(("../" + name, "/" + name, "a\\" + name, name.upper(), "x" * 60_000))
        twice = draws.random() < 0.5
    elif kind == 8:
        method = draws.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
        members[name] += bytes(draws.choice((0, 0, 3_000_000)))
    else:
        return _lying_directory(content, draws)
    return zip_bytes(members, method=method, renamed=renamed, twice=name if twice else None)


def zip_bytes(
    members: dict[str, bytes], *, method: int = 0, renamed: dict[str, str] | None = None, twice: str | None = None
) -> bytes:
    """An archive of these members; one of them may stand in it twice."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, value in members.items():
            info = zipfile.ZipInfo((renamed or {}).get(name, name))
            info.compress_type = method
            archive.writestr(info, value)
        if twice is not None:
            # Renamed afterwards, because writing a name twice warns.
            archive.writestr(zipfile.ZipInfo(twice[:-1] + "#"), members[twice])
    content = buffer.getvalue()
    return content if twice is None else content.replace(twice[:-1].encode() + b"#", twice.encode())


def _members(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def change_npy(content: bytes, draws: Random) -> bytes:
    """Change what the header of an array says of its type and shape; the numbers stay."""
    length = struct.unpack("<H", content[8:10])[0]
    header, data = content[10 : 10 + length].decode("latin1"), content[10 + length :]
    kind = draws.randrange(4)
    if kind == 0:
        shape = draws.choice(
            ("(10**9,)", "(1000000000, 1000)", f"({2**62}, 4)", "(-1,)", "(0, 1000000000)", "()", "(7,)")
        )
        header = re.sub(r"'shape': \([^)]*\)", f"'shape': {shape}", header)
    elif kind == 1:
        dtype = draws.choice(("|O", "<f8", "<U1", "<U100000000", "|V0", "|S0", "<M8[s]", ">i8", "|b1", "<f4", "<c16"))
        header = re.sub(r"'descr': '[^']*'", f"'descr': '{dtype}'", header)
    elif kind == 2:
        header = header.replace("False", draws.choice(("True", "None", "0", "[" * 500, "__import__('os')")))
    else:
        data = data[: draws.randrange(len(data) + 1)] + draws.randbytes(draws.choice((0, 4, 64)))
    raw = header.encode("latin1")
    return content[:8] + struct.pack("<H", min(len(raw), 65_535)) + raw + data


def _lying_directory(content: bytes, draws: Random) -> bytes:
    """Write extreme numbers over fields of the central directory, its end record, or a local header."""
    changed = bytearray(content)
    signature = draws.choice((b"PK\x01\x02", b"PK\x01\x02", b"PK\x05\x06", b"PK\x03\x04"))
    starts = [match.start() for match in re.finditer(re.escape(signature), content)]
    if starts:
        at = draws.choice(starts) + draws.randrange(4, 46)
        size = draws.choice((1, 2, 4))
        changed[at : at + size] = (draws.choice(NUMBERS) % 2 ** (8 * size)).to_bytes(size, "little")
    return bytes(changed)


# ---- pictures


def change_png(content: bytes, other: bytes, draws: Random) -> bytes:
    """Change one chunk of a PNG file, the size of the picture more often than not, with a checksum that is right."""
    chunks, at = [], 8
    while at < len(content):
        size = struct.unpack(">I", content[at : at + 4])[0]
        chunks.append([content[at + 4 : at + 8], content[at + 8 : at + 8 + size]])
        at += 12 + size
    chosen = chunks[0] if draws.random() < 0.6 else draws.choice(chunks)
    if chosen[0] == b"IHDR" and draws.random() < 0.7:
        width, height = (draws.choice((0, 1, 16, 9_000, 30_000, 65_536, 2**31 - 1)) for _ in range(2))
        chosen[1] = struct.pack(">II", width, height) + chosen[1][8:]
    else:
        chosen[1] = change_bytes(chosen[1], other, draws)
    if draws.random() < 0.2:
        chunks.insert(1, [b"iTXt", b"a\x00\x01\x00\x00\x00" + zlib.compress(bytes(2_000_000))])
    parts = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return content[:8] + b"".join(parts)
