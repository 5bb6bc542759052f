"""A network in a file of the user's own: the example of docs/adding.md, as it stands there."""

from pathlib import Path

from dfml.networks.custom import register_networks
from support.markdown import read_markdown
from support.repository import ROOT

SECTION = (ROOT / "docs/adding.md").read_text(encoding="utf-8").split("## A network\n")[1].split("\n## A method\n")[0]
EXAMPLE, *_ = (block.text for block in read_markdown(SECTION).blocks if block.language == "python")
FAMILY = "wide"


def own_network(folder: Path, code: str = EXAMPLE) -> Path:
    """Write the network into ``folder`` and make its family known to this process; returns the file."""
    file = folder / f"{FAMILY}.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{code}\n", encoding="utf-8")
    register_networks({FAMILY: str(file)})
    return file
