"""Single rules, really run on tiny inputs: what they leave behind, and how they fail."""

import hashlib
import json

import pytest

from dfml.artefacts.images import ImagesManifest
from dfml.artefacts.inversion import InversionRecord
from dfml.artefacts.learner import LearnerManifest
from dfml.artefacts.receipt import Receipt
from dfml.artefacts.record import Record
from dfml.artefacts.zoo import ZooManifest
from support import shelf

JOBS = {
    "prepare_images/icons_colour",
    "train_zoo/icons_colour/conv4/seed0",
    "invert/single/five/seed0",
    "meta_learn/single/random/1shot/seed0",
    "meta_learn/single/free/1shot/seed0",
    "evaluate/single/random/1shot/seed0",
    "evaluate/single/free/1shot/seed0",
}
ZOO = "results/tiny/zoo/icons_colour/conv4/seed0/zoo.safetensors"


def test_every_job_leaves_a_log_a_benchmark_and_nothing_to_resume(ran):
    logs = ran.folder / "logs" / "tiny"
    assert {path.relative_to(logs).with_suffix("").as_posix() for path in logs.rglob("*.log")} == JOBS
    for job in JOBS:
        assert "finished in" in (logs / f"{job}.log").read_text(encoding="utf-8")
        if job.startswith("train_zoo/"):  # may come out of a cache, where nothing was measured
            continue
        header, row = (logs / f"{job}.benchmark.tsv").read_text(encoding="utf-8").splitlines()
        assert float(dict(zip(header.split("\t"), row.split("\t"), strict=True))["s"]) > 0
    assert not list((ran.folder / "results" / "tiny" / "resume").rglob("*.pt"))


def test_every_json_file_is_read_by_its_model(ran):
    files = sorted((ran.folder / "results").rglob("*.json"))
    kinds = {type(shelf.load(path)) for path in files}
    assert kinds == {ImagesManifest, ZooManifest, InversionRecord, LearnerManifest, Record, Receipt}


def test_records_say_what_was_measured(ran):
    from dfml.artefacts.accuracies import EpisodeAccuracies
    from dfml.artefacts.record import Record

    paths = sorted((ran.folder / "results").rglob("record.json"))
    records = [Record.load(path) for path in paths]
    assert [(record.method, record.seed, record.shots) for record in records] == [("free", 0, 1), ("random", 0, 1)]
    free, random = records
    assert free.episode_digest == random.episode_digest
    assert free.config_digest != random.config_digest
    assert free.teacher_passes > 0 == random.teacher_passes
    assert free.options["iterations"] == 3
    assert free.device.startswith("cpu")
    for path, record in zip(paths, records, strict=True):
        kept = EpisodeAccuracies.of_record(path, record)
        assert len(kept.right) == len(record.results)
        for result in record.results:
            assert result.episodes == 20
            assert 0 <= result.accuracy <= 100


def test_a_zoo_trained_again_has_the_same_bits(again):
    before = hashlib.sha256((again.folder / ZOO).read_bytes()).hexdigest()
    run = again.snakemake("--forcerun", "train_zoo", "--until", "train_zoo", "--cores", "1")
    assert run.status == 0, run.output
    assert run.jobs["train_zoo"] == 1
    assert hashlib.sha256((again.folder / ZOO).read_bytes()).hexdigest() == before


@pytest.mark.parametrize("path", ["results/tiny/images/icons_colour/images.json", "resources/embedded/icons.npz"])
def test_inversion_cannot_read_a_real_image(again, path):
    again.append("src/dfml/inversion/stage.py", f"_load = Pool.load\nPool.load = lambda *a, **k: open({path!r})")
    run = again.snakemake("--until", "invert", "--cores", "1")
    assert run.status == 1
    assert f"invert: {path} lies behind the data-free wall" in run.output
    log = again.folder / "logs" / "tiny" / "invert" / "single" / "five" / "seed0.log"
    assert "data-free wall" in log.read_text(encoding="utf-8")


def test_a_damaged_zoo_is_named_and_nothing_else_is_lost(again):
    zoo = again.folder / ZOO
    zoo.write_bytes(zoo.read_bytes()[:-100])
    run = again.snakemake("--until", "invert", "--cores", "1")
    assert run.status == 1
    (said,) = {line for line in run.output.splitlines() if line.startswith("invert: ")}
    assert ZOO in said
    assert "logs/tiny" in run.output  # where to look
    learner = again.folder / "results/tiny/metalearning/single/free/1shot/seed0/learner.json"
    assert json.loads(learner.read_text(encoding="utf-8"))["method"] == "free"


def test_a_learner_on_the_shelf_knows_how_it_adapts_and_was_measured(ran):
    """What `dfml.load` goes by is what the rules pass to their jobs, under names that stand in both."""
    import dfml
    from dfml.catalogue import METHODS
    from dfml.config.load import load_config
    from dfml.evaluation.settings import EvaluationSettings

    learner = dfml.load(ran.folder / "results/tiny/metalearning/single/free/1shot/seed0")
    measured = load_config([ran.folder / "config/config.yaml"]).evaluation
    assert learner.settings == measured != EvaluationSettings()
    assert learner.manifest.provenance.settings["method"]["learner"] == METHODS["free"].learner
