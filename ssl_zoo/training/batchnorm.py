"""BatchNorm with the statistics of the whole batch, where several processes hold a part of it each."""

from __future__ import annotations

from typing import cast

import torch
from lightly.utils import dist
from timm.layers import convert_sync_batchnorm  # pyright: ignore[reportPrivateImportUsage]
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def synchronised(module: nn.Module, device: torch.device | str | None = None) -> nn.Module:
    """`module` with every BatchNorm replaced by one that synchronises, in place; untouched in one process.

    Weights and buffers stay the same tensors under the same names, so an optimiser or a checkpoint notices nothing.
    A module's attribute `own_batchnorm` names children that are left as they are. `device` is where the module will
    run, by default where its parameters are: torch's own synchronised BatchNorm serves a GPU and refuses the CPU,
    where `SynchronisedBatchNorm` takes its place.

    Outputs, gradients and running statistics are those of one process on the whole batch, up to rounding, when the
    processes' gradients are averaged (as DistributedDataParallel does).
    """
    if dist.world_size() == 1:
        return module
    parameter = next(module.parameters(), None)
    kind = torch.device(device or (parameter.device if parameter is not None else "cpu")).type
    return _replaced(module, on_cpu=kind == "cpu")


def _replaced(module: nn.Module, *, on_cpu: bool) -> nn.Module:
    if isinstance(module, nn.SyncBatchNorm | SynchronisedBatchNorm):
        return module
    if isinstance(module, _BatchNorm):
        return SynchronisedBatchNorm(module) if on_cpu else convert_sync_batchnorm(module)
    kept = getattr(module, "own_batchnorm", ())
    for name, child in module.named_children():
        if name not in kept:
            setattr(module, name, _replaced(child, on_cpu=on_cpu))
    return module


class SynchronisedBatchNorm(_BatchNorm):
    """Stands in for a BatchNorm whose weights and buffers it takes over, on any device and for any share of the batch.

    Mean and variance of each process come together by Chan's rule (one exchange, with gradient), which is exact for
    parts of different size.
    """

    def __init__(self, original: _BatchNorm) -> None:
        super().__init__(
            original.num_features,
            original.eps,
            original.momentum,
            affine=False,
            track_running_stats=False,
        )
        self.affine, self.track_running_stats = original.affine, original.track_running_stats
        self.weight, self.bias = original.weight, original.bias
        self.running_mean, self.running_var = original.running_mean, original.running_var
        self.num_batches_tracked = original.num_batches_tracked
        # timm joins the activation to the norm.
        joined = isinstance(original, BatchNormAct2d)
        self.drop = cast(nn.Module, original.drop) if joined else nn.Identity()
        self.act = cast(nn.Module, original.act) if joined else nn.Identity()
        self.train(original.training)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected at least 2D input (got {input.dim()}D input)")

    def forward(self, input: Tensor) -> Tensor:
        """Images or vectors `[B, C, ...]` to the same shape."""
        if not self.training:
            return self.act(self.drop(super().forward(input)))
        self._check_input_dim(input)
        values = input.to(torch.promote_types(input.dtype, torch.float32))
        mean, variance, count = whole_batch_statistics(values)  # [C], [C], []
        if self.track_running_stats:
            self.follow(mean.detach(), variance.detach() * count / (count - 1))
        shape = [1, -1] + [1] * (input.dim() - 2)
        scale = torch.rsqrt(variance + self.eps)
        if self.weight is not None:
            scale = scale * self.weight
        output = (values - mean.view(shape)) * scale.view(shape)
        if self.bias is not None:
            output = output + self.bias.view(shape)
        return self.act(self.drop(output.to(input.dtype)))

    @torch.no_grad()
    def follow(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics toward those of a batch; without a momentum they are its cumulative mean."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)


def whole_batch_statistics(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean `[C]`, biased variance `[C]` and number of values per channel of `[B, C, ...]` over all processes."""
    over = [0, *range(2, values.dim())]
    variance, mean = torch.var_mean(values, over, correction=0)
    count = mean.new_tensor([values.numel() / values.shape[1]])
    parts = torch.stack(dist.gather(torch.cat([mean, variance, count])))  # [ranks, 2C + 1]
    means, variances, counts = parts.split([len(mean), len(mean), 1], dim=1)
    share = counts / counts.sum()  # [ranks, 1]
    mean = (share * means).sum(0)
    variance = (share * (variances + (means - mean).square())).sum(0)
    return mean, variance, counts.detach().sum()
