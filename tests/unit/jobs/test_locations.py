from pathlib import Path

from dfml.jobs.wall import real_image_folders


def test_the_wall_stands_around_every_place_of_real_images():
    datasets = {"icons": None, "mine": "~/pictures"}
    assert real_image_folders("toy", datasets) == [
        Path("resources/embedded"),
        Path("results/toy/images"),
        Path.home() / "pictures",
    ]


def test_a_method_that_reads_some_images_is_kept_from_all_others():
    datasets = {"icons": None, "emoji": None, "mine": "~/pictures"}
    assert real_image_folders("toy", datasets, but=[Path("results/toy/images/emoji")]) == [
        Path("resources/embedded"),
        Path("results/toy/images/icons"),
        Path("results/toy/images/mine"),
        Path.home() / "pictures",
    ]
