"""The repository as tests see it: its root and the files that are, or are about to be, committed."""

import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@cache
def committed_files() -> tuple[Path, ...]:
    """Every file git tracks or would add, sorted; in an unpacked archive, all but the environment."""
    if (ROOT / ".git").exists():
        command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, check=True, capture_output=True).stdout.decode()
        paths = {ROOT / name for name in listed.split("\0") if name}
    else:
        paths = {
            path
            for path in ROOT.rglob("*")
            if not any(part in {".venv", ".uv", ".snakemake"} for part in path.relative_to(ROOT).parts)
        }
    return tuple(sorted(path for path in paths if path.is_file()))


@cache
def committed_texts() -> dict[str, str]:
    """Text of every committed file by its path from the root; files that are not UTF-8 text are left out."""
    texts = {}
    for path in committed_files():
        try:
            texts[path.relative_to(ROOT).as_posix()] = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
    return texts
