"""The curves that `dvc.yaml` declares: `dvc plots show` makes a page of histories as they are written."""

import re
import subprocess
import sys

import yaml

from dfml.methods.history import write_history
from support.repository import ROOT

DECLARED = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["plots"]


def test_a_page_shows_every_declared_curve(tmp_path):
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text((ROOT / ".dvc/config").read_text(encoding="utf-8"))
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"plots": DECLARED}))
    plots = [facts for plot in DECLARED for facts in plot.values()]
    files = sorted({file for facts in plots for file in facts["y"]})
    for number, file in enumerate(files):
        rows = [{"iteration": 1, "seconds": 0.5}, {"iteration": 2, "seconds": 1.5, "replay_accuracy": 70.125 + number}]
        write_history(tmp_path / file, rows)
    command = [sys.executable, "-m", "dvc", "plots", "show", "-o", "page"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "failed" not in done.stderr, done.stderr
    page = (tmp_path / "page/index.html").read_text(encoding="utf-8")
    shown = set(re.findall(r'"replay_accuracy": "?([0-9.]+)', page))
    assert shown == {str(70.125 + number) for number in range(len(files))}
    assert {facts["x"] for facts in plots} == {"iteration", "seconds"} and len(files) == 3
