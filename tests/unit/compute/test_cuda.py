"""What is said of CUDA, with stand-ins for the driver."""

import subprocess
import sys

import pytest

from dfml.compute import cuda as module
from dfml.compute.cuda import look_for_cuda


class Driver:
    """libcuda as far as it is asked."""

    def __init__(self, version=13000, count=1, start=0):
        self.version, self.count, self.start = version, count, start

    def cuDriverGetVersion(self, place):
        place._obj.value = self.version
        return 0

    def cuInit(self, flags):
        return self.start

    def cuDeviceGetCount(self, place):
        place._obj.value = self.count
        return 0


@pytest.fixture
def machine(monkeypatch):
    """Pretend a machine: its driver, None for no library, and what its torch is built for."""

    def pretend(driver, built_for="13.0"):
        def load(name):
            if driver is None:
                raise OSError(name)
            return driver

        monkeypatch.setattr(module, "gpu_is_visible", lambda: True)
        monkeypatch.setattr(module, "_cuda_of_torch", lambda: built_for)
        monkeypatch.setattr(module.ctypes, "CDLL", load)
        return look_for_cuda()

    return pretend


@pytest.mark.parametrize(("version", "count"), [(13000, 1), (13020, 4), (14000, 2)])
def test_a_driver_new_enough_gives_its_gpus(machine, version, count):
    found = machine(Driver(version, count))
    assert found.gpus == count
    assert found.line().startswith("Training on the GPU")
    assert found.line(asked=False).startswith("Training on the CPU, jobs side by side: no GPU is to be used (gpu=0)")


@pytest.mark.parametrize(
    ("version", "built_for", "known", "needed"),
    [
        (12080, "13.0", "12.8", "driver 580.65.06 or newer"),
        (11040, "13.2", "11.4", "driver 580.65.06 or newer"),
        (11080, "12.6", "11.8", "driver 525.60.13 or newer"),
        (13000, "14.1", "13.0", "a driver for CUDA 14"),
    ],
)
def test_an_old_driver_leaves_the_cpu_and_the_line_says_what_is_needed(machine, version, built_for, known, needed):
    found = machine(Driver(version), built_for)
    assert found.gpus == 0
    assert f"CUDA {known} only" in found.line() and found.line().endswith(f"built for {built_for}, needs {needed}.")


@pytest.mark.parametrize(
    ("driver", "built_for", "why"),
    [
        (None, "13.0", "libcuda.so.1 cannot be loaded"),
        (Driver(), None, "torch is one without CUDA"),
        (Driver(start=999), "13.0", "CUDA does not start (error 999 of the driver)"),
    ],
)
def test_whatever_else_is_wrong_leaves_the_cpu_and_is_said(machine, driver, built_for, why):
    found = machine(driver, built_for)
    assert found.gpus == 0 and why in found.line()
    assert found.line().startswith("Training on the CPU, jobs side by side: ")


def test_the_version_is_read_of_the_installed_torch_without_importing_it():
    code = "import sys; from dfml.compute.cuda import _cuda_of_torch; print(_cuda_of_torch(), 'torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    import torch

    assert said == [str(torch.version.cuda), "False"]
