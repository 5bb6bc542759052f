"""Where real images lie: what the data-free wall stands around."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

EMBEDDED = Path("resources/embedded")


def real_image_folders(config: Mapping[str, Any]) -> list[Path]:
    """The embedded images, the prepared images of the experiment, and every folder a data set is read from.

    Args:
        config: The configuration as plain values (`dfml.config.Config`), with `experiment` and `datasets`.
    """
    folders = [Path(settings["path"]).expanduser() for settings in config["datasets"].values() if settings["path"]]
    return [EMBEDDED, Path("results", config["experiment"], "images"), *folders]
