"""Sharing of devices, settings of torch, memory."""

import subprocess
import sys
import tempfile
from types import SimpleNamespace

import pytest
import torch

from dfml.compute import device as module
from dfml.compute.device import configure_torch, describe_device, peak_memory_mb, select_device


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Gives the machine so many fake GPUs, and starts `next job` on it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    current = []
    monkeypatch.setattr(torch.cuda, "set_device", current.append)

    def job(gpus, gpu=1):
        # Another process: its own memory, while the locks of those before it still stand.
        monkeypatch.setattr(module, "_held", [])
        monkeypatch.setattr(module, "_cuda_names", lambda: {index: f"uuid{index}" for index in range(gpus)})
        device = select_device(gpu)
        assert device.type == "cpu" or current[-1] == device.index
        return str(device)

    return job


def test_jobs_get_distinct_devices_and_share_evenly_when_there_are_more(machine, caplog):
    assert [machine(3) for _ in range(3)] == ["cuda:0", "cuda:1", "cuda:2"]
    assert not caplog.records
    assert [machine(3) for _ in range(4)] == ["cuda:0", "cuda:1", "cuda:2", "cuda:0"]
    assert "cuda:0 is shared with 2 other jobs" in caplog.text


def test_a_process_keeps_its_device(machine):
    assert machine(2) == "cuda:0"
    assert str(select_device(1)) == "cuda:0"


def test_a_device_is_free_again_when_its_process_is_gone(machine, tmp_path):
    code = "from dfml.files.atomic import try_lock; assert try_lock('cuda-uuid0-0'); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env={"TMPDIR": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        other.stdout.readline()
        assert machine(2) == "cuda:1"
        other.kill()
    assert machine(2) == "cuda:0"


def test_no_gpu_asked_for_or_none_there_is_the_cpu(machine, caplog):
    caplog.set_level("INFO")
    assert machine(2, gpu=0) == "cpu"
    assert not caplog.records
    assert machine(0) == "cpu"
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "no CUDA device can be used here" in caplog.text


@pytest.mark.parametrize(
    ("built", "usable"),
    [
        ([], [0, 1, 2]),
        (["sm_80a"], [1]),
        (["sm_89a"], []),
        (["sm_75", "sm_80", "sm_90", "compute_90"], [1, 2]),
        (["sm_75", "sm_86"], []),
        (["sm_50", "compute_50"], [0, 1, 2]),
        (["sm_90a"], [2]),
    ],
)
def test_gpus_that_torch_was_not_built_for_are_left_out(monkeypatch, caplog, built, usable):
    capabilities = [(6, 0), (8, 0), (9, 0)]
    for name, given in {
        "is_available": lambda: True,
        "device_count": lambda: 3,
        "get_device_capability": capabilities.__getitem__,
        "get_arch_list": lambda: built,
        "get_device_name": lambda index: f"GPU {index}",
        "get_device_properties": lambda index: SimpleNamespace(uuid=f"uuid{index}"),
    }.items():
        monkeypatch.setattr(torch.cuda, name, given)
    assert module._cuda_names() == {index: f"uuid{index}" for index in usable}
    assert len(caplog.records) == 3 - len(usable)


@pytest.fixture
def restored():
    """Puts torch back as other tests expect it."""
    threads, mode = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    fill = torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode(mode)
    torch.utils.deterministic.fill_uninitialized_memory = fill


@pytest.mark.usefixtures("restored")
def test_torch_is_set_up_for_repeatable_runs(monkeypatch):
    interop = []
    monkeypatch.setattr(torch, "get_num_interop_threads", lambda: 2)
    monkeypatch.setattr(torch, "set_num_interop_threads", interop.append)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    configure_torch(1, torch.device("cpu"))
    assert (torch.get_num_threads(), interop) == (1, [1])
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.is_deterministic_algorithms_warn_only_enabled()
    with pytest.raises(RuntimeError, match="deterministic"):
        torch.zeros(3).put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
    configure_torch(1, torch.device("cpu"), tf32=True)
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
    configure_torch(0, torch.device("cuda"), tf32=True)
    assert torch.backends.cudnn.allow_tf32
    assert torch.backends.cuda.matmul.allow_tf32
    configure_torch(0, torch.device("cuda"))
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
    assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert module.os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


# In a process of its own: in this one somebody may have imported the compiler before.
FIRST_GRADIENTS = """
import sys
import torch
from torch.func import grad, vmap
from dfml.compute.device import configure_torch

configure_torch(1, torch.device("cpu"))
configure_torch(1, torch.device("cpu"))
loss = lambda p, x: (p["used"] ** 3 * x).sum()
cubes = lambda p, x: grad(lambda q: grad(loss)(q, x)["used"].sum())(p)
for imported in (False, True):
    parameters = {"used": torch.tensor([2.0, 3.0]), "unused": torch.ones(4)}
    first = vmap(grad(loss), (None, 0))(parameters, torch.tensor([1.0, 10.0]))
    second = vmap(cubes, (None, 0))(parameters, torch.tensor([1.0, 10.0]))
    print([found[name].tolist() for found in (first, second) for name in ("used", "unused")])
    assert ("torch._dynamo" in sys.modules) == imported
    assert not grad(lambda p: torch.tensor(5.0))(torch.ones(2)).any()
    import torch._dynamo
"""


def test_gradients_of_functions_need_no_compiler():
    run = subprocess.run([sys.executable, "-c", FIRST_GRADIENTS], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    zeros = [[0.0] * 4] * 2
    known = [[[12.0, 27.0], [120.0, 270.0]], zeros, [[12.0, 18.0], [120.0, 180.0]], zeros]
    assert run.stdout.splitlines() == [str(known)] * 2


def test_peak_memory_grows_with_what_is_held():
    code = """
from dfml.compute.device import peak_memory_mb
before = peak_memory_mb()
block = bytearray(64 * 2**20)
del block
print(before, peak_memory_mb())
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = map(float, run.stdout.split())
    assert 1 < before < 1000
    assert before + 55 < after < before + 80
    assert peak_memory_mb(torch.device("cpu")) > 1


def test_a_device_has_a_description():
    assert describe_device(torch.device("cpu")).startswith("cpu (")


@pytest.fixture
def device_files(tmp_path, monkeypatch):
    """A stand-in for /dev, at first without any GPU."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(module, "_DEVICES", str(tmp_path / "nvidia[0-9]*"))
    monkeypatch.setattr(module, "_WINDOWS_BRIDGE", str(tmp_path / "dxg"))
    return tmp_path


def test_no_device_file_means_no_gpu(device_files):
    (device_files / "nvidiactl").touch()  # the driver's own file, there without any device too
    assert not module.gpu_is_visible()


def test_a_device_file_means_a_gpu_unless_it_is_hidden(device_files, monkeypatch):
    (device_files / "nvidia0").touch()
    assert module.gpu_is_visible()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,2")
    assert module.gpu_is_visible()
    for hidden in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
        assert not module.gpu_is_visible()


def test_under_windows_the_driver_must_be_there_too(device_files, monkeypatch):
    (device_files / "dxg").touch()
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    assert not module.gpu_is_visible()
    monkeypatch.setattr(module.shutil, "which", lambda name: f"bin/{name}")
    assert module.gpu_is_visible()
