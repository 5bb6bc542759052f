"""Where real images lie: what the data-free wall stands around."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

EMBEDDED = Path("resources/embedded")


def real_image_folders(config: Mapping[str, Any], *, but: Collection[Path] = ()) -> list[Path]:
    """The embedded images, the prepared images of the experiment, and every folder a data set is read from.

    Args:
        config: The configuration as plain values (`dfml.config.Config`), with `experiment` and `datasets`.
        but: Prepared folders that may be read; then those of the other data sets are listed one by one.
    """
    folders = [Path(settings["path"]).expanduser() for settings in config["datasets"].values() if settings["path"]]
    prepared = Path("results", config["experiment"], "images")
    if but:
        return [EMBEDDED, *(prepared / name for name in config["datasets"] if prepared / name not in but), *folders]
    return [EMBEDDED, prepared, *folders]
