import pytest

from dfml.compute import device as gpus


@pytest.fixture
def device_files(tmp_path, monkeypatch):
    """A stand-in for /dev, at first without any GPU."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpus, "_DEVICES", str(tmp_path / "nvidia[0-9]*"))
    monkeypatch.setattr(gpus, "_WINDOWS_BRIDGE", str(tmp_path / "dxg"))
    return tmp_path


def test_no_device_file_means_no_gpu(device_files):
    (device_files / "nvidiactl").touch()  # the driver's own file, there without any device too
    assert not gpus.gpu_is_visible()


def test_a_device_file_means_a_gpu_unless_it_is_hidden(device_files, monkeypatch):
    (device_files / "nvidia0").touch()
    assert gpus.gpu_is_visible()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,2")
    assert gpus.gpu_is_visible()
    for hidden in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
        assert not gpus.gpu_is_visible()


def test_under_windows_the_driver_must_be_there_too(device_files, monkeypatch):
    (device_files / "dxg").touch()
    monkeypatch.setattr(gpus.shutil, "which", lambda name: None)
    assert not gpus.gpu_is_visible()
    monkeypatch.setattr(gpus.shutil, "which", lambda name: f"bin/{name}")
    assert gpus.gpu_is_visible()
