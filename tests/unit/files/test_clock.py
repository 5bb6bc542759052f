"""Files from the future."""

import os
import time

from dfml.files.atomic import bring_to_present


def test_only_what_lies_ahead_is_brought_to_the_present(tmp_path):
    past, ahead, further = tmp_path / "a" / "past", tmp_path / "a" / "ahead", tmp_path / "further"
    past.parent.mkdir()
    now = time.time()
    for path, when in ((past, now - 100), (ahead, now + 100), (further, now + 1e6)):
        path.write_text("x")
        os.utime(path, (when, when))
    bring_to_present(tmp_path)
    assert past.stat().st_mtime < now - 99
    assert ahead.stat().st_mtime_ns == further.stat().st_mtime_ns
    assert now - 1 <= ahead.stat().st_mtime <= time.time()


def test_a_folder_that_is_not_there_yet_is_no_matter(tmp_path):
    bring_to_present(tmp_path / "results")


def test_a_file_that_goes_meanwhile_is_no_matter(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "walk", lambda folder: [(str(folder), [], ["gone"])])
    bring_to_present(tmp_path)
