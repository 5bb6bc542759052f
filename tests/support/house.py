"""run.sh in a folder of its own, with stand-ins for uv and snakemake."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from support.repository import ROOT

UV = """#!/bin/sh
echo "uv $*" >>calls
case $1 in
  venv)
    sleep "${UV_SECONDS-0}"
    mkdir -p .venv/bin
    printf '#!/bin/sh\nexec "%s" "$@"\n' "$PYTHON" >.venv/bin/python
    chmod +x .venv/bin/python
    ;;
esac
"""

SNAKEMAKE = """#!/bin/sh
echo "snakemake $*" >>calls
exit "${SNAKEMAKE_STATUS-0}"
"""


class House:
    """A folder with run.sh and the little it reads."""

    def __init__(self, folder: Path):
        self.folder = folder
        (folder / "config").mkdir(parents=True)
        (folder / "config" / "config.yaml").write_text("seeds: [0]\nexperiment: toy  # its folder\n")
        (folder / "requirements.lock").write_text("one==1\n")
        (folder / "pyproject.toml").write_text("[project]\n")
        shutil.copy(ROOT / "run.sh", folder)
        self.executable(".uv/bin/uv", UV)
        self.executable("bin/snakemake", SNAKEMAKE)

    def executable(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def environment(self, **variables: str) -> dict[str, str]:
        own = {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "PYTHON": sys.executable}
        return os.environ | own | variables

    def run(self, *words: str, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.folder / "run.sh"), *words],
            cwd=cwd or self.folder,
            env=self.environment(**variables),
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def calls(self) -> list[str]:
        """What the stand-ins were asked since the last look, in short."""
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return [" ".join(line.split()[: 3 if "uv pip" in line else 2]) for line in lines]
