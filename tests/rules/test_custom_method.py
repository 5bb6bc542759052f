"""A method in a file of one's own: the example of docs/adding.md is run as it stands there."""

import json
import re
import shlex
import shutil

import pytest

from support.markdown import read_markdown
from support.repository import ROOT

GUIDE = (ROOT / "docs" / "adding.md").read_text(encoding="utf-8")
METHOD = GUIDE.split("\n## A method\n")[1]
SECTION = METHOD.split("### In a file of your own\n")[1].split("\n### ")[0]
BLOCKS = {block.language: block.text for block in read_markdown(SECTION).blocks}
(HOME_FILE,) = set(re.findall(r"~/\w+\.py", SECTION))


@pytest.fixture
def own(ran, tmp_path):
    """A copy of the tiny experiment, the example's file in a home of its own, and how the guide calls it."""
    workflow = ran.duplicate(tmp_path / "workflow")
    home = tmp_path / "home"
    home.mkdir()
    file = home / HOME_FILE.removeprefix("~/")
    file.write_text(BLOCKS["python"] + "\n", encoding="utf-8")
    program, *arguments = shlex.split(BLOCKS["sh"])
    assert (program, arguments[0]) == ("./run.sh", "snakemake")

    def call(*more):
        return workflow.snakemake(*arguments[1:], "--until", "evaluate", *more, HOME=str(home))

    return workflow, file, call


def test_the_guides_example_is_fitted_and_evaluated(own):
    workflow, file, call = own
    run = call()
    assert run.status == 0, run.output
    assert run.jobs == {"meta_learn": 1, "evaluate": 1}
    (path,) = workflow.folder.glob("results/tiny/evaluation/single/twin/*/seed0/record.json")
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["method"] == "twin" and record["options"] == {}
    accuracy = {row["rule"]: row["accuracy"] for row in record["results"]}
    assert "finetune" not in accuracy and max(accuracy.values()) > 20  # above chance

    # Rows of tables bear its name.
    from dfml.artefacts.record import Record
    from dfml.results.labels import method_label

    assert method_label(Record.load(path).method) == "twin"

    def again():
        dry = call("-n")
        assert dry.status == 0, dry.output
        return dry.jobs

    # A remark reruns nothing, an edit its own cells.
    code = file.read_text(encoding="utf-8")
    file.write_text(f"# a remark\n{code}", encoding="utf-8")
    assert again() == {}
    file.write_text(code.replace("best(2)", "best(3)"), encoding="utf-8")
    assert again() == {"meta_learn": 1, "evaluate": 1}
    # What it imports from the package counts, too.
    file.write_text(code, encoding="utf-8")
    workflow.append("src/dfml/methods/fusion/transport.py", "CHANGED = 1")
    assert again() == {}
    file.write_text(f"import dfml.methods.fusion.transport\n{code}", encoding="utf-8")
    assert again() == {"meta_learn": 1, "evaluate": 1}


def test_it_cannot_read_a_real_image_and_says_so_in_one_line(own):
    workflow, file, call = own
    file.write_text("def fit(context):\n    open('resources/embedded/icons.npz')\n", encoding="utf-8")
    run = call()
    assert run.status == 1
    assert "meta_learn: resources/embedded/icons.npz lies behind the data-free wall" in run.output
    assert not list(workflow.folder.glob("results/tiny/metalearning/single/twin/**/*.json"))


def test_a_file_that_is_gone_is_named_before_anything_runs(own):
    _, file, call = own
    file.unlink()
    run = call()
    assert run.status == 1
    assert f"custom_methods.twin: there is no file `{HOME_FILE}`" in run.output
    assert "Traceback" not in run.output and "Building DAG" not in run.output


def test_on_some_pools_only(own):
    workflow, file, _ = own
    shutil.copy(file, workflow.folder / "mine.py")
    workflow.configure(
        custom_methods={"twin": "mine.py"},
        pools={"single": {"methods": ["random"]}, "multi_architecture": {"methods": ["twin"]}},
    )
    jobs = workflow.dry_run("--until", "meta_learn", "--quiet", "host").listed()
    assert {job.outputs[0].split("/")[3] for job in jobs if job.rule == "meta_learn"} == {"multi_architecture"}
