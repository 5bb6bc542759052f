"""FREE learns behind the data-free wall; the wall is what keeps other methods out."""

import shutil

import pytest

from dfml.jobs.wall import WallError, data_free_wall
from dfml.metalearning.store import load_learner
from dfml.zoo.pool import Pool
from support.cells import fit_cell, free_options, official_options, supervised_options, write_inversion
from support.zoo import CPU, save_pattern_images, train_tiny_zoo

OPTIONS = {"free": free_options, "free_official": official_options}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder of real images and a zoo that was trained on them."""
    root = tmp_path_factory.mktemp("trained")
    save_pattern_images(root / "images", per_class=6)
    train_tiny_zoo(root / "images" / "meta_train.npz", root / "zoo", epochs=1)
    return root


@pytest.fixture
def experiment(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "experiment")
    return tmp_path / "experiment"


@pytest.mark.parametrize("method", OPTIONS)
def test_free_needs_no_image_folder(experiment, method):
    shutil.rmtree(experiment / "images")
    with data_free_wall([experiment / "images"]):
        folder = fit_cell(experiment / "learner", method, OPTIONS[method](iterations=1), zoos=[experiment / "zoo"])
    load_learner(folder, steps=1, learning_rate=0.01, device=CPU)


def test_free_reads_no_image_where_there_are_some(experiment):
    pool = Pool.load([experiment / "zoo"], label_space="global", device=CPU)
    inversion = write_inversion(experiment / "inversion", pool)
    with data_free_wall([experiment / "images"]):
        fit_cell(
            experiment / "learner",
            "free",
            free_options(iterations=1, generator="inversion"),
            zoos=[experiment / "zoo"],
            inversion=inversion,
        )


def test_the_wall_stops_a_method_on_real_images(experiment):
    with data_free_wall([experiment / "images"]), pytest.raises(WallError, match="data-free wall"):
        fit_cell(experiment / "learner", "supervised_maml", supervised_options(), images=[experiment / "images"])
    assert not (experiment / "learner").exists()
