"""A method of the package is a file, or a folder with settings, and an entry of the catalogue."""

import json

import pytest

FIT = '''
"""The least accurate model's frozen features."""

from dfml.methods.base import Context, Fitted, Snapshot, without_statistics
{imports}

def fit(context: Context) -> Fitted:
    """Nothing is learned."""
    pool = context.pool
    model = sorted(pool, key=lambda one: (one.selection_accuracy, one.index))[{place}]
    snapshot = Snapshot(0, 0.0, [without_statistics(model.network)])
    return Fitted([model.spec], [snapshot], *pool.normalisation, finetune=False)
'''
SETTINGS = '''
"""Settings of the example."""

from pydantic import Field

from dfml.methods.settings import MethodSettings


class LowestSettings(MethodSettings):
    """Which of the worst."""

    place: int = Field(0, ge=0, description="How many are worse.")
'''
FORMS = {
    "file": ({"lowest.py": FIT.format(imports="", place=0)}, 'fit="dfml.methods.lowest:fit"'),
    "folder": (
        {
            "lowest/__init__.py": "",
            "lowest/settings.py": SETTINGS,
            "lowest/loop.py": FIT.format(
                imports="from dfml.methods.lowest.settings import LowestSettings\n",
                place="context.own(LowestSettings).place",
            ),
        },
        'fit="dfml.methods.lowest.loop:fit", settings="dfml.methods.lowest.settings:LowestSettings"',
    ),
}


def add(workflow, form):
    """Write the method's files and its entry."""
    files, where = FORMS[form]
    for name, text in files.items():
        path = workflow.folder / "src/dfml/methods" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.lstrip(), encoding="utf-8")
    workflow.append("src/dfml/catalogue.py", f'METHODS["lowest"] = MethodEntry(label="Lowest of all", {where})')


@pytest.mark.parametrize("form", FORMS)
def test_a_file_and_an_entry_are_enough(again, form):
    add(again, form)
    again.configure(methods=["random", "free", "lowest"])
    if form == "folder":
        again.configure(lowest={"place": 1})
    run = again.snakemake("--cores", "2")
    assert run.status == 0, run.output
    # Neither the entry nor the file concerns what other methods have learned.
    assert run.jobs["meta_learn"] == run.jobs["evaluate"] == 1 and "train_zoo" not in run.jobs
    (record,) = again.folder.glob("results/tiny/evaluation/single/lowest/*/*/record.json")
    assert json.loads(record.read_text())["options"] == ({"place": 1} if form == "folder" else {})
    assert "Lowest of all" in (again.folder / "results/tiny/tables/main.md").read_text()
    assert (again.folder / "results/tiny/report.html").is_file()


def test_the_settings_of_a_new_method_are_checked_like_all_others(again):
    add(again, "folder")
    again.configure(methods=["lowest"], lowest={"plaice": 1})
    run = again.snakemake("-n")
    assert run.status == 1 and "lowest.plaice: unknown key; did you mean `lowest.place`?" in run.output
