"""`dfml adapt`, `dfml predict` and `dfml evaluate`, from files to what they print and their exit codes."""

import csv
import io
import struct
import subprocess
import sys

import pytest
from PIL import Image, ImageOps

import dfml
from dfml.cli.main import main
from support.learners import one_thread  # noqa: F401 - an autouse fixture
from support.use import photos, save_photos, shelf_learner

NAMES = ["ant", "bee", "cat", "dog", "eel"]


@pytest.fixture
def learner(tmp_path):
    return shelf_learner(tmp_path / "learner")


@pytest.fixture
def folder(tmp_path):
    return save_photos(tmp_path / "photos", photos(5), NAMES)


@pytest.fixture
def pets(tmp_path, learner, folder):
    path = tmp_path / "pets.safetensors"
    assert main(["adapt", str(learner), str(folder), "-o", str(path)]) == 0
    return path


def test_adapt_says_what_it_made(tmp_path, learner, folder, capsys):
    path = tmp_path / "pets.safetensors"
    assert main(["adapt", str(learner), str(folder), "-o", str(path), "--rule", "finetune"]) == 0
    assert f"{path}: 5 classes from 60 photos, by finetune." in capsys.readouterr().out


def test_predict_answers_as_python_does(pets, folder, capsys):
    asked = sorted(folder.glob("*/0[0-3].png"))
    capsys.readouterr()
    assert main(["predict", str(pets), *map(str, asked)]) == 0
    lines = capsys.readouterr().out.splitlines()
    expected = dfml.load_classifier(pets)(asked)
    assert lines == [f"{p}  {a.name}  {a.probability:.2f}" for p, a in zip(asked, expected, strict=True)]


def test_csv_has_the_probability_of_every_class(pets, folder, capsys):
    asked = [folder / "bee/01.png", folder / "cat/02.png"]
    capsys.readouterr()
    assert main(["predict", str(pets), *map(str, asked), "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert list(rows[0]) == ["photo", "class", "probability", *NAMES]
    for path, row, answer in zip(asked, rows, dfml.load_classifier(pets)(asked), strict=True):
        assert (row["photo"], row["class"]) == (str(path), answer.name)
        assert float(row["probability"]) == float(row[answer.name]) == pytest.approx(answer.probability, abs=1e-4)


def test_photos_that_cannot_be_read_are_named_and_the_others_answered(pets, folder, tmp_path, capsys):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    good = folder / "ant/00.png"
    capsys.readouterr()
    wrong = [tmp_path / "broken.png", tmp_path / "gone.png", tmp_path]
    assert main(["predict", str(pets), str(wrong[0]), str(good), *map(str, wrong[1:])]) == 3
    said = capsys.readouterr()
    assert said.out.startswith(f"{good}  ") and len(said.out.splitlines()) == 1
    assert all(f"dfml predict: {path}" in said.err for path in wrong)
    assert said.err.endswith("dfml predict: 3 of 4 photos could not be read\n")
    assert main(["predict", str(pets), *map(str, wrong)]) == 1, "nothing was answered"


def test_what_is_no_classifier_is_not_written_over(learner, folder, tmp_path, capsys):
    own = tmp_path / "own.safetensors"
    own.write_bytes(b"weights of somebody's")
    for path in (learner / "learner.safetensors", own):
        before = path.read_bytes()
        assert main(["adapt", str(learner), str(folder), "-o", str(path)]) == 1
        assert path.read_bytes() == before
        assert f"{path} is there and no adapted classifier; give another name" in capsys.readouterr().err


def test_the_same_photo_under_two_names_is_told(learner, folder, tmp_path, caplog):
    (folder / "bee/00.png").write_bytes((folder / "ant/00.png").read_bytes())
    assert main(["adapt", str(learner), str(folder), "-o", str(tmp_path / "pets.safetensors")]) == 0
    assert "1 groups of images of the same pixels: image 0 (ant) = image 12 (bee)" in caplog.text
    caplog.clear()
    assert main(["evaluate", str(learner), str(folder), "--queries", "4", "--episodes", "3"]) == 0
    assert f"of the same pixels: {folder}/ant/00.png = {folder}/bee/00.png" in caplog.text


def test_what_needs_more_memory_than_there_is_is_one_line(learner, folder, capsys):
    options = ["--queries", "4", "--episodes", str(10**14)]
    assert main(["evaluate", str(learner), str(folder), *options]) == 1
    assert capsys.readouterr().err.startswith("dfml evaluate: there is not enough memory (")


def test_what_pillow_remarks_on_a_picture_that_is_read_is_not_printed(pets, tmp_path):
    entry = struct.pack("<HHII", 0x0110, 2, 400, 26)  # the camera's name, 400 letters, of which none is there
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4)
    Image.new("RGB", (40, 40)).save(tmp_path / "odd.jpg", exif=exif)
    with pytest.warns(UserWarning, match="larger than file"), Image.open(tmp_path / "odd.jpg") as picture:
        ImageOps.exif_transpose(picture)
    command = [sys.executable, "-m", "dfml.cli.main", "predict", str(pets), str(tmp_path / "odd.jpg")]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")


def test_evaluate_prints_accuracies_with_intervals(learner, folder, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    options = ["--ways", "3", "--shots", "2", "--queries", "4", "--episodes", "6", "--seed", "1"]
    assert main(["evaluate", str(learner), str(folder), *options]) == 0
    said = capsys.readouterr().out
    assert "3-way 2-shot, 4 queries per class, 6 episodes, seed 1" in said
    assert all(f"│ {rule}" in said for rule in ("finetune", "centroid_euclidean", "centroid_cosine"))


def test_evaluate_has_the_defaults_of_the_experiment(learner, folder, capsys):
    assert main(["evaluate", str(learner), str(folder)]) == 1
    assert "takes 1 support and 15 query photos of a class" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["adapt", "{learner}", "{photos}", "-o", "pets.pt"], 1, "ends in .safetensors"),
        (["adapt", "{photos}", "{photos}", "-o", "{out}"], 1, "has no learner.json"),
        (["adapt", "{learner}", "nowhere", "-o", "{out}"], 1, "nowhere is not a directory"),
        (["adapt", "{learner}", "{photos}", "-o", "{out}", "--rule", "guess"], 1, "cannot adapt by 'guess'"),
        (["adapt", "{learner}", "{photos}", "-o", "{out}", "--domain", "oil"], 1, "knows no images of 'oil'"),
        (["adapt", "{learner}", "{photos}", "-o", "{out}", "--side", "32"], 1, "sees images of 16 pixels, not 32"),
        (["adapt", "{learner}", "{photos}"], 2, "required: -o/--output"),
        (
            ["adapt", "{learner}", "{photos}", "-o", "{out}", "--network", "own=nowhere.py"],
            1,
            "--network own=nowhere.py: there is no file `nowhere.py`",
        ),
        (["predict", "{learner}/learner.safetensors", "a.png"], 1, "another kind of file"),
        (["evaluate", "{learner}", "{photos}", "--episodes", "1"], 1, "--episodes: Input should be greater"),
        (["evaluate", "{learner}", "{photos}", "--seed", "-1"], 1, "--seed: Input should be greater"),
        (
            ["evaluate", "{learner}", "{photos}", "--ways", "0"],
            2,
            "--ways: 0 is no whole number of at least 1",
        ),
        (["evaluate", "{learner}", "{photos}", "--ways", "1"], 1, "an episode has at least two classes"),
    ],
)
def test_misuse_is_told(learner, folder, tmp_path, capsys, arguments, status, message):
    places = {"learner": learner, "photos": folder, "out": tmp_path / "out.safetensors"}
    try:
        found = main([argument.format(**places) for argument in arguments])
    except SystemExit as end:  # of the parser
        found = end.code
    assert found == status
    assert message in capsys.readouterr().err
