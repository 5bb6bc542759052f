from pathlib import Path

from dfml.data.locations import real_image_folders


def test_the_wall_stands_around_every_place_of_real_images():
    datasets = {"icons": {"path": None}, "mine": {"path": "~/pictures"}}
    assert real_image_folders({"experiment": "toy", "datasets": datasets}) == [
        Path("resources/embedded"),
        Path("results/toy/images"),
        Path.home() / "pictures",
    ]
