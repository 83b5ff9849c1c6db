import pytest
import torch

from bpsta_cli.devices import resolve_device
from bpsta_cli.errors import SettingsError

CPU = torch.device("cpu")


def test_a_device_that_is_not_there_is_refused():
    assert resolve_device("cpu") == CPU
    assert resolve_device("auto").type in ("cpu", "cuda")
    for name in ("tpu9", "cuda:77"):
        with pytest.raises(SettingsError, match="unusable device"):
            resolve_device(name)


def test_a_device_without_float64_is_refused(monkeypatch):
    def empty(*sizes, dtype=torch.float32, device=None):
        if dtype == torch.float64:
            raise TypeError(
                "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64."
            )

    monkeypatch.setattr(torch, "empty", empty)
    with pytest.raises(SettingsError, match=r"with float64, got 'mps' \(Cannot convert a MPS.* Use --device cpu\."):
        resolve_device("mps")
