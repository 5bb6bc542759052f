"""Where resume files are kept."""

from pathlib import Path

from dfml.jobs.checkpoint import resume_path


def test_every_folder_of_results_has_its_own():
    folder = Path("results/demo/metalearning/single/free/1shot/seed0")
    assert resume_path(folder) == Path("results/demo/resume/metalearning/single/free/1shot/seed0.pt")
    assert resume_path(folder.with_name("seed0.1")) == Path(
        "results/demo/resume/metalearning/single/free/1shot/seed0.1.pt"
    )
