"""When `dfml restore` and `dfml snapshot` refuse, before anything is fetched or recorded."""

import pytest

from dfml.cli import restore, snapshot
from dfml.cli.main import main
from dfml.cli.restore import foreign_sources
from dfml.cli.verify import Finding


@pytest.fixture(autouse=True)
def repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    (tmp_path / "workflow").mkdir()
    for name in ("workflow/Snakefile", "dvc.yaml", "dvc.lock"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.fixture
def called(monkeypatch):
    """What would have been run."""
    calls = []
    for module in (restore, snapshot):
        monkeypatch.setattr(module, "dvc", lambda *arguments: calls.append(("dvc", *arguments)))
    monkeypatch.setattr(restore, "snakemake", lambda *arguments: calls.append(("snakemake", *arguments)))
    monkeypatch.setattr(restore.verify, "run", lambda configuration, console: 0)
    return calls


STATUS = {
    "zoo": [{"changed deps": {"config/config.yaml": {"zoo.models": "modified"}, "src/dfml": "modified"}}],
    "results": [
        {"changed deps": {"results/demo/zoo": "deleted", "config/config.yaml": "modified"}},
        {"changed outs": {"results/demo/tables": "deleted"}},
        "changed command",
    ],
}


def test_what_differs_is_told_but_not_what_is_to_be_fetched():
    assert list(foreign_sources(STATUS)) == [
        "config/config.yaml: zoo.models (modified)",
        "src/dfml (modified)",
        "config/config.yaml (modified)",
        "dvc.yaml (changed command)",
    ]


def test_other_settings_are_refused_by_name_each_once(monkeypatch, called, capsys):
    monkeypatch.setattr(restore, "dvc_status", lambda: STATUS | {"inversion": STATUS["zoo"]})
    assert main(["restore"]) == 1
    assert capsys.readouterr().err.count("config/config.yaml: zoo.models (modified)") == 1
    assert called == []


def test_results_that_are_not_the_recorded_ones_are_not_trusted(monkeypatch, called, capsys):
    answers = iter([{"zoo": [STATUS["results"][1]]}, {"zoo": [STATUS["results"][1]]}])
    monkeypatch.setattr(restore, "dvc_status", lambda: next(answers))
    assert main(["restore", "--remote", "store"]) == 1
    assert "not what dvc.lock records: zoo" in capsys.readouterr().err
    assert called == [("dvc", "pull", "--remote", "store")]


def test_a_clean_restore_is_marked_as_made_here(monkeypatch, called):
    monkeypatch.setattr(restore, "dvc_status", dict)
    assert main(["restore"]) == 0
    assert [call[:2] for call in called] == [("dvc", "pull"), ("snakemake", "--touch")]


def test_nothing_recorded(repository, called, capsys):
    (repository / "dvc.lock").unlink()
    assert main(["restore"]) == 1
    assert "there is no dvc.lock" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["restore", "snapshot"])
def test_not_beside_a_run_nor_inside_of_dvc(repository, called, capsys, monkeypatch, command):
    lock = repository / ".snakemake/locks/0.input.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    assert main([command]) == 1
    assert "snakemake --unlock" in capsys.readouterr().err
    lock.unlink()
    monkeypatch.setenv("DVC_STAGE", "zoo")
    assert main([command]) == 1
    assert "DVC is running a stage" in capsys.readouterr().err
    assert called == []


@pytest.mark.parametrize("kind", ["damaged", "stale", "missing"])
def test_a_snapshot_of_wrong_results_is_refused(monkeypatch, called, capsys, kind):
    monkeypatch.setattr(snapshot, "verify", lambda configuration: [Finding(kind, "results/demo/a.json")])
    assert main(["snapshot", "--push"]) == 1
    said = capsys.readouterr()
    assert "results/demo/a.json" in said.out and "nothing was recorded" in said.err
    assert called == []


def test_a_snapshot_records_and_sends(monkeypatch, called):
    monkeypatch.setattr(snapshot, "verify", lambda configuration: [Finding("foreign", "results/demo/a.json")])
    assert main(["snapshot"]) == 0
    assert [call[1] for call in called] == ["repro", "commit"]
    assert main(["snapshot", "--remote", "store"]) == 0
    assert called[-1] == ("dvc", "push", "--remote", "store")
