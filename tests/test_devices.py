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
