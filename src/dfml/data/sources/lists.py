"""Files beside images that say which class each of them is of: CSV lists, and the labels of Flowers-102."""

import csv
import io
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

from dfml.data.sources.folder import is_image
from dfml.data.sources.store import Store
from dfml.errors import DataError, some
from dfml.files.reading import MEBIBYTE, read_at_most

LABELS = "imagelabels.mat"
LARGEST_LIST = 32 * MEBIBYTE
# Names of the columns that are understood.
IMAGE_COLUMNS = ("filename", "file", "image", "path")
CLASS_COLUMNS = ("label", "class", "class_name")


def read_rows(content: bytes, where: str, columns: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """The wanted columns of a CSV file whose first line names them, each of which may have several names.

    Raises:
        DataError: it is no such file; the message says which columns it needs.
    """
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{where} is no CSV file in UTF-8 ({error}); mend it") from error
    header = [name.strip().lower() for name in rows[0]] if rows else []
    found = [next((header.index(name) for name in names if name in header), None) for names in columns]
    if missing := [names[0] for names, place in zip(columns, found, strict=True) if place is None]:
        raise DataError(
            f"{where} has no column {' and no column '.join(map(repr, missing))} (its first line must name them: "
            f"{', '.join(names[0] for names in columns)}; it has {', '.join(header) or 'nothing'})"
        )
    short = [n for n, row in enumerate(rows[1:], 2) if row and len(row) != len(header)]
    if short:
        raise DataError(f"{where}: line {short[0]} has {len(rows[short[0] - 1])} values, not {len(header)}; mend it")
    return [tuple(row[place].strip() for place in found if place is not None) for row in rows[1:] if row]


def listed_classes(store: Store, tables: Mapping[str, str]) -> dict[str, dict[str, list[str]]]:
    """Images by part and class, as CSV lists ``filename,label`` name them.

    Args:
        store: Where lists and images are; images stand beside the lists or anywhere below under the name given.
        tables: Path of the list of each part.

    Returns:
        Paths in the store by part and class. Names of classes are in Unicode's form NFC, in which names of files are
        compared, too.

    Raises:
        DataError: a list is wrong, names an image twice or one that is not there, or the name is not the only one.
    """
    paths: dict[str, list[str]] = {}
    for file in store.files:
        if is_image(file.path):
            paths.setdefault(_nfc(file.path.rpartition("/")[2]), []).append(file.path)
    parts: dict[str, dict[str, list[str]]] = {}
    listed: set[str] = set()
    for part, table in tables.items():
        where = f"{store.where}/{table}"
        classes = parts.setdefault(part, {})
        missing = []
        for name, label in read_rows(_content(store, table), where, (IMAGE_COLUMNS, CLASS_COLUMNS)):
            wanted = _nfc(name)
            same = paths.get(wanted.rpartition("/")[2], [])
            exact = [path for path in same if f"/{path}".endswith(f"/{name}")]
            matches = exact or [path for path in same if f"/{_nfc(path)}".endswith(f"/{wanted}")]
            if not matches:
                missing.append(name)
            elif len(matches) > 1:
                raise DataError(
                    f"{where}: {name!r} is the name of several images ({', '.join(matches[:3])}); tell them apart"
                )
            elif matches[0] in listed:
                raise DataError(f"{where}: the image {name!r} is listed twice; list every image once")
            else:
                listed.add(matches[0])
                classes.setdefault(_nfc(label), []).append(matches[0])
        if missing:
            raise DataError(
                f"{where} lists images that are not there: {some(missing)}; add them, or take their lines out"
            )
        for images in classes.values():
            images.sort()
    return parts


def _nfc(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def flower_classes(store: Store) -> dict[str, list[str]] | None:
    """Images of Flowers-102 by class number, where they lie in one folder; None for any other layout.

    Image ``image_00001.jpg`` is the first one of ``imagelabels.mat``, which lies in the store or beside it.

    Raises:
        DataError: there are no labels, or not those of these images.
    """
    images = [file.path for file in store.files if is_image(file.path)]
    numbers = [re.fullmatch(r"image_(\d{5})\.jpg", path.rpartition("/")[2]) for path in images]
    if not images or not all(numbers) or len({path.rpartition("/")[0] for path in images}) > 1:
        return None
    numbered = {int(found[1]): path for found, path in zip(numbers, images, strict=True) if found}
    labels = _flower_labels(store)
    if sorted(numbered) != list(range(1, len(labels) + 1)):
        raise DataError(
            f"{store.where} has {len(numbered)} images image_NNNNN.jpg, but {LABELS} is for {len(labels)} that are "
            "numbered without a gap; get both anew"
        )
    classes: dict[str, list[str]] = {}
    for number, label in enumerate(labels, 1):
        classes.setdefault(str(label), []).append(numbered[number])
    return classes


def _flower_labels(store: Store) -> list[int]:
    inside = next((file.path for file in store.files if file.path.rpartition("/")[2] == LABELS), None)
    beside = store.where.parent / LABELS
    if inside is None and not beside.is_file():
        raise DataError(f"{store.where}: the images are in one folder, so {LABELS} is needed; put it beside")
    from scipy.io import loadmat  # slow to import, and for this data set alone

    try:
        content = _content(store, inside) if inside else read_at_most(beside, LARGEST_LIST)
        labels = loadmat(io.BytesIO(content), variable_names=["labels"])["labels"].ravel()
        return [int(label) for label in labels]
    except DataError:
        raise
    except Exception as error:  # a reader given damaged bytes raises almost anything
        raise DataError(f"{inside or beside} holds no labels ({type(error).__name__}: {error}); get it anew") from error


def _content(store: Store, path: str) -> bytes:
    size = next(file.size for file in store.files if file.path == path)
    if size > LARGEST_LIST:
        raise DataError(f"{store.where}/{path} is larger than {LARGEST_LIST // MEBIBYTE} MiB, which no list should be")
    ((_, content),) = store.read([path])
    return bytes(content)


def table_part(path: str) -> str:
    """What a CSV list is called without its folder and extension, in lower case; empty for any other file."""
    name = Path(path)
    return name.stem.lower() if name.suffix.lower() == ".csv" else ""
