"""Every JSON file on the shelf: what is written is read, and anything else is refused with its name and a remedy."""

import copy
import json
import math

import pytest
from pydantic import ValidationError

from dfml.artefacts.base import Artefact, Closed
from dfml.artefacts.cell import CellFacts, Effort, Learning
from dfml.artefacts.images import Drawn, ImagesManifest, Wanted
from dfml.artefacts.inversion import InversionRecord
from dfml.artefacts.learner import LearnerManifest
from dfml.artefacts.metrics import Metrics
from dfml.artefacts.record import Record, Result
from dfml.errors import DataError, FileFormatError
from dfml.files.atomic import write_json
from dfml.results.collect import RESULT_COLUMNS
from support import manifests
from support.shelf import SPECIMENS

BY_MODEL = pytest.mark.parametrize("model", SPECIMENS, ids=lambda model: model.__name__)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file.json"


def refused(model, path):
    """The message with which the file is refused: one line, with its name and what to run."""
    with pytest.raises(FileFormatError) as caught:
        model.load(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    assert f"run {model.MAKER}" in message
    return message


def test_every_artefact_has_a_specimen_and_a_format_of_its_own():
    def below(model):
        return {model}.union(*(below(own) for own in model.__subclasses__()))

    assert below(Artefact) - {Artefact} == set(SPECIMENS)
    assert len({model.FORMAT for model in SPECIMENS}) == len(SPECIMENS)


@BY_MODEL
def test_what_is_written_is_read_and_written_again_to_the_byte(model, path, tmp_path):
    write_json(path, SPECIMENS[model])
    read = model.load(path)
    read.save(tmp_path / "again.json")
    again = json.loads((tmp_path / "again.json").read_bytes())
    assert again == SPECIMENS[model]
    assert list(again)[:2] == ["format", "version"]
    reread = model.load(tmp_path / "again.json")
    assert reread == read
    reread.save(path)
    assert path.read_bytes() == (tmp_path / "again.json").read_bytes()


@BY_MODEL
def test_a_key_too_many_is_named(model, path):
    write_json(path, SPECIMENS[model] | {"surprise": 1})
    assert "surprise: Extra inputs are not permitted" in refused(model, path)


@BY_MODEL
def test_missing_keys_are_named_but_not_endlessly(model, path):
    needed = [name for name, field in model.model_fields.items() if field.is_required()]
    for missing in needed:
        write_json(path, {key: value for key, value in SPECIMENS[model].items() if key != missing})
        assert f"{missing}: Field required" in refused(model, path)
    write_json(path, {"format": model.FORMAT, "version": model.VERSION})
    message = refused(model, path)
    assert message.count("Field required") == min(5, len(needed))
    assert ("more; delete it" in message) == (len(needed) > 5)


@BY_MODEL
def test_another_version_or_format_is_refused(model, path):
    write_json(path, SPECIMENS[model] | {"version": 99})
    assert f"{model.FORMAT} version 99, this program reads version {model.VERSION}" in refused(model, path)
    write_json(path, SPECIMENS[model] | {"format": "dfml.other"})
    assert f"is not a {model.FORMAT} file" in refused(model, path)


@BY_MODEL
@pytest.mark.parametrize("keep", [0, 1, 0.5, -3])
def test_damaged_json_is_refused(model, path, keep):
    write_json(path, SPECIMENS[model])
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if isinstance(keep, float) else keep])
    assert "is not whole JSON" in refused(model, path)
    path.unlink()
    assert "cannot read" in refused(model, path)


def test_numbers_that_are_none_are_not_written():
    content = manifests.fields(manifests.inversion())
    for wrong in (math.nan, math.inf, -1.0):
        with pytest.raises(ValidationError, match="seconds"):
            InversionRecord(**content | {"seconds": wrong})


def test_files_from_before_commands_were_kept_are_read_as_they_are(path):
    old = {"git_commit": None, "versions": {}, "host": "here", "device": None, "argv": ["train.py"]}
    for model, specimen in SPECIMENS.items():
        if "provenance" in specimen:
            write_json(path, specimen | {"provenance": old})
            provenance = model.load(path).provenance
            assert (provenance.argv, provenance.rule, provenance.inputs) == (["train.py"], None, {})
            assert "argv" not in provenance.model_dump()


def test_metrics(path):
    Metrics(manifests.metrics()).save(path)
    assert json.loads(path.read_bytes()) == manifests.metrics()
    assert Metrics.load(path).root == manifests.metrics()
    write_json(path, manifests.metrics(single={"free": {"1shot": {"emoji": {"finetune": 140.0}}}}))
    with pytest.raises(FileFormatError, match=r"file\.json: single\.free\.1shot\.emoji\.finetune: .*run the rule make"):
        Metrics.load(path)
    path.write_text("{")
    with pytest.raises(FileFormatError, match="run the rule make_results again"):
        Metrics.load(path)


def test_a_learner_and_its_record_share_their_fields():
    shared = LearnerManifest.model_fields.keys() & Record.model_fields.keys()
    assert shared == {*CellFacts.model_fields, *Learning.model_fields, "provenance"}
    record = Record(**manifests.fields(manifests.record()))
    assert record.fields_of(Effort) == {
        "train_seconds": 10.0,
        "teacher_passes": 200,
        "train_episodes": 3000,
        "bank_seconds": 5.0,
        "bank_passes": 120,
    }


def test_every_single_value_of_a_record_is_a_column():
    def single(model: type[Closed]):
        kinds = {name: str(field.annotation) for name, field in model.model_fields.items()}
        return {name for name, kind in kinds.items() if "list" not in kind and "dict" not in kind}

    asides = {"accuracies_digest", "iterate", "provenance"}
    added = {"over_best", "over_best_ci95", "record"}
    assert (single(Record) | single(Result)) - asides == set(RESULT_COLUMNS) - added
    published = """
        experiment pool method ways shots seed dataset rule batch_norm accuracy ci95 episodes over_best over_best_ci95
        selection train_seconds teacher_passes train_episodes bank_seconds bank_passes inference_macs peak_memory_mb
        split device config_digest git_commit episode_digest record
    """
    assert published.split() == RESULT_COLUMNS


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"minimum_classes": 3, "minimum_images": 2}, "meta_train has 2 classes, but 3 are needed; lower `ways`"),
        (
            {"minimum_classes": 2, "minimum_images": 3},
            r"at least 3 images; meta_train has too few in: bee \(2\)",
        ),
    ],
)
def test_prepared_images_that_are_too_few(path, limits, message):
    write_json(path, manifests.images())
    manifest = ImagesManifest.load(path)
    manifest.check_enough(minimum_classes=2, minimum_images=2)
    with pytest.raises(DataError, match=f"icons_colour: .*{message}"):
        manifest.check_enough(**limits)


@pytest.mark.parametrize(
    ("drawn", "said"),
    [
        (
            Drawn("meta_train", 1, 3, "supervised_anil.queries"),
            r"has too few in: .*bee \(2\).*lower `supervised_anil\.queries`",
        ),
        (
            Drawn("meta_test", 5, 90, "variants.supervised_maml-many.queries"),
            r"5 shots and 90 queries take 95 images.*meta_test",
        ),
        (Drawn("meta_val", 3, 15, "supervised_protonet.queries"), r"meta_val has too few in"),
    ],
)
def test_prepared_images_that_are_too_few_for_a_methods_episodes(path, drawn, said):
    write_json(path, manifests.images())
    manifest = ImagesManifest.load(path)
    manifest.check_episodes([Drawn("meta_train", 1, 1, "x")])
    with pytest.raises(DataError, match=f"icons_colour: .*{said}"):
        manifest.check_episodes([Drawn("meta_train", 1, 1, "x"), drawn])


def test_to_snakemake_all_that_is_wanted_of_images_is_the_same():
    """Its cache wants values that JSON has, and neither it nor a finished job may depend on them."""
    episodes = [Drawn("meta_train", 1, 3, "supervised_anil.queries")]
    drawn = Wanted(["meta_test"], 18, episodes)
    assert json.dumps(drawn) == json.dumps(Wanted([], 1, []))
    assert repr(drawn) == repr(Wanted([], 1, []))
    copied = copy.deepcopy(drawn)  # as pickle takes it to the job
    assert (copied.splits, copied.images, copied.episodes) == ({"meta_test"}, 18, tuple(episodes))
