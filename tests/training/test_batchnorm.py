"""Synchronised BatchNorm equals torch's on one process; tests/methods compares two processes with one."""

from __future__ import annotations

import copy

import pytest
import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ssl_zoo.training.batchnorm import SynchronisedBatchNorm, synchronised


@pytest.fixture
def group(tmp_path):
    """A process group of one."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.fixture
def two(monkeypatch) -> None:
    """Pretend that there is a second process, for what happens before any exchange."""
    monkeypatch.setattr("ssl_zoo.training.batchnorm.dist.world_size", lambda: 2)


NORMS = {
    "vectors": (lambda: nn.BatchNorm1d(5), (8, 5)),
    "sequences": (lambda: nn.BatchNorm1d(5), (4, 5, 6)),
    "images": (lambda: nn.BatchNorm2d(5), (4, 5, 3, 3)),
    "cumulative": (lambda: nn.BatchNorm2d(5, momentum=None), (4, 5, 3, 3)),
    "without weights": (lambda: nn.BatchNorm2d(5, affine=False), (4, 5, 3, 3)),
    "without memory": (lambda: nn.BatchNorm2d(5, track_running_stats=False), (4, 5, 3, 3)),
    "with activation": (lambda: BatchNormAct2d(5), (4, 5, 3, 3)),
}


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_outputs_gradients_and_statistics_are_those_of_torchs_batchnorm(group, name, dtype):
    build, shape = NORMS[name]
    torch.manual_seed(0)
    norm = build().to(dtype)
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    other = SynchronisedBatchNorm(copy.deepcopy(norm))
    assert list(other.state_dict()) == list(norm.state_dict())
    for step in range(3):
        inputs = torch.randn(shape, dtype=dtype) * 2 + step
        results = []
        for module in (norm, other):
            module.zero_grad()
            x = inputs.clone().requires_grad_()
            y = module(x)
            (y * torch.arange(y.numel(), dtype=dtype).view(shape).sin()).sum().backward()
            results.append([y, x.grad, *(p.grad for p in module.parameters()), *module.buffers()])
        for expected, found in zip(*results, strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(other.eval()(inputs), norm.eval()(inputs))


def test_every_batchnorm_is_replaced_but_those_a_module_keeps_and_the_tensors_stay(two):
    class Net(nn.Module):
        own_batchnorm = ("teacher",)

        def __init__(self) -> None:
            super().__init__()
            self.student = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Sequential(nn.BatchNorm1d(4)))
            self.teacher = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))

    net = Net()
    before = {key: value.data_ptr() for key, value in net.state_dict().items()}
    assert synchronised(net) is net
    assert {key: value.data_ptr() for key, value in net.state_dict().items()} == before
    assert isinstance(net.student[1], SynchronisedBatchNorm)
    assert isinstance(net.student[2][0], SynchronisedBatchNorm)
    assert type(net.teacher[1]) is nn.BatchNorm1d
    replaced = net.student[1]
    assert synchronised(net).student[1] is replaced  # once is enough


def test_on_a_gpu_torchs_own_takes_its_place_with_the_activation_that_timm_joins_to_it(two):
    net = synchronised(nn.Sequential(nn.BatchNorm2d(3), BatchNormAct2d(3)).eval(), "cuda")
    assert all(isinstance(module, nn.SyncBatchNorm) for module in net)
    images = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(net(images), (images / (1 + 1e-5) ** 0.5 / (1 + 1e-5) ** 0.5).relu())


def test_one_process_keeps_its_batchnorm():
    net = nn.Sequential(nn.BatchNorm1d(3))
    kept = net[0]
    assert synchronised(net)[0] is kept


def test_torch_itself_refuses_the_cpu_which_is_why_ours_exists(group):
    with pytest.raises(ValueError, match="expected input tensor to be on GPU"):
        nn.SyncBatchNorm(3)(torch.randn(4, 3))
    with pytest.raises(ValueError, match="SyncBatchNorm layers only work with GPU modules"):
        DistributedDataParallel(nn.SyncBatchNorm(3))
    DistributedDataParallel(SynchronisedBatchNorm(nn.BatchNorm1d(3)))(torch.randn(4, 3)).sum().backward()


def test_half_precision_is_normed_in_float32_and_handed_back_in_half(group):
    norm = nn.BatchNorm1d(3)
    inputs = (torch.randn(64, 3) * 0.01 + 100).bfloat16()
    output = SynchronisedBatchNorm(norm)(inputs)
    assert output.dtype == torch.bfloat16
    exact = inputs.double()
    exact = (exact - exact.mean(0)) / (exact.var(0, unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(output.double(), exact, rtol=0.02, atol=0.02)
