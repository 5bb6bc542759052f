"""The public data sets that can be named as a source: what a whole copy holds, how it is split, how it is normalised.

Their images do not come with the repository. The classes of each split, and how many images every class of a whole copy
has, are in ``config/splits/{name}.json``. Torch-free: a configuration is checked against it before any image is there.
"""

from dataclasses import dataclass
from typing import NamedTuple


class SplitSize(NamedTuple):
    """Classes of one split, and images of its smallest class."""

    classes: int
    images: int


@dataclass(frozen=True)
class KnownDataset:
    """What is known of a data set before a copy of it is seen.

    Attributes:
        label: Its name in prose.
        side: Height and width in pixels that is used where the configuration gives none.
        sizes: Of each split in a whole copy.
        total: Images of all classes of the three splits in a whole copy.
        origin: Where the class split comes from.
        layouts: What `path` may name, in words.
        licence: On which terms the images may be used.
        page: The authors' page.
        normalisation: Published mean and standard deviation per channel, in units of [0, 1]; None where there is
            none, and that of the prepared meta-train images is used.
        depth: Folders that the name of a class is made of.
    """

    label: str
    side: int
    sizes: dict[str, SplitSize]
    total: int
    origin: str
    layouts: str
    licence: str
    page: str
    normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    depth: int = 1


def _sizes(train: tuple[int, int], val: tuple[int, int], test: tuple[int, int]) -> dict[str, SplitSize]:
    return {"meta_train": SplitSize(*train), "meta_val": SplitSize(*val), "meta_test": SplitSize(*test)}


_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_FOLDERS = "a folder or an archive (.zip, .tar, .tar.gz, .tgz) of class folders, also below `train`, `val` and `test`"

KNOWN = {
    "cifar_fs": KnownDataset(
        label="CIFAR-FS",
        side=32,
        sizes=_sizes((64, 600), (16, 600), (20, 600)),
        total=60_000,
        origin="Bertinetto et al. 2019 (arXiv:1805.08136); classes of CIFAR-100 by their fine names",
        layouts=f"`cifar-100-python.tar.gz`, or {_FOLDERS}",
        licence="CIFAR-100 has no stated licence; its authors ask for a citation (Krizhevsky 2009)",
        page="https://www.cs.toronto.edu/~kriz/cifar.html",
        normalisation=((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
    ),
    "mini_imagenet": KnownDataset(
        label="miniImageNet",
        side=84,
        sizes=_sizes((64, 600), (16, 600), (20, 600)),
        total=60_000,
        origin="Ravi and Larochelle 2017, by WordNet numbers",
        layouts=f"a folder or an archive with `images/` and `train.csv`, `val.csv`, `test.csv`, or {_FOLDERS}",
        licence="images of ImageNet: for research that is not commercial, on ImageNet's terms",
        page="https://image-net.org/",
        normalisation=_IMAGENET,
    ),
    "cub": KnownDataset(
        label="CUB-200-2011",
        side=84,
        sizes=_sizes((100, 44), (50, 41), (50, 48)),
        total=11_788,
        origin="class folders sorted by name: even places, places 1 of 4, places 3 of 4 (as in FREE's code)",
        layouts=f"`CUB_200_2011.tgz`, or {_FOLDERS}",
        licence="for research and education that is not commercial; the images belong to their photographers",
        page="https://www.vision.caltech.edu/datasets/cub_200_2011/",
        normalisation=_IMAGENET,
    ),
    "vgg_flower": KnownDataset(
        label="VGG Flower (Oxford Flowers-102)",
        side=84,
        sizes=_sizes((71, 40), (15, 41), (16, 40)),
        total=8_189,
        origin="Triantafillou et al. 2020 (arXiv:1903.03096), by class number",
        layouts=f"`102flowers.tgz` or its folder `jpg`, with `imagelabels.mat` beside, or {_FOLDERS} `1` to `102`",
        licence="no stated licence; the images belong to their photographers",
        page="https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
    ),
    "omniglot": KnownDataset(
        label="Omniglot",
        side=28,
        sizes=_sizes((1028, 20), (172, 20), (423, 20)),
        total=32_460,
        origin="Vinyals et al. 2016 (arXiv:1606.04080), as listed in torchmeta 1.8.0; characters, not turned",
        layouts="a folder with `images_background` and `images_evaluation`, or with their two .zip files",
        licence="MIT",
        page="https://github.com/brendenlake/omniglot",
        depth=2,
    ),
    "eurosat": KnownDataset(
        label="EuroSAT (RGB)",
        side=64,
        sizes=_sizes((3, 2000), (2, 2500), (5, 2500)),
        total=27_000,
        origin="no few-shot standard: drawn once with seed 0, with five classes for meta-test",
        layouts=_FOLDERS,
        licence="MIT; the images are Copernicus Sentinel-2 data, free and open",
        page="https://github.com/phelber/EuroSAT",
    ),
    "caltech101": KnownDataset(
        label="Caltech-101",
        side=84,
        sizes=_sizes((64, 31), (16, 39), (20, 34)),
        total=8_242,
        origin="no few-shot standard: drawn once with seed 0, without the background class and the easy faces, which "
        "are the pictures of the faces again",
        layouts=f"`caltech-101.zip` unzipped (its images are in an archive inside), or {_FOLDERS}",
        licence="CC BY 4.0",
        page="https://data.caltech.edu/records/mzrjq-6wc02",
    ),
}
