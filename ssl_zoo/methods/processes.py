"""What it takes that a batch spread over processes is treated as one: bring its parts together, and draw for all of it.

Every process holds the same number of images; together they are the whole batch, in the order of the processes. In
one process, nothing here does anything.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from lightly.utils import dist
from torch import Tensor


def gather(embeddings: Tensor) -> Tensor:
    """The embeddings of all processes, `[B, E]` to `[ranks * B, E]`, with gradient; unchanged in one process.

    A loss over the gathered batch is the loss of one process on the whole batch. Backward sums the ranks'
    equal gradients and averaging them over ranks (as DDP does) then gives exactly the whole batch's gradient.
    """
    return torch.cat(dist.gather(embeddings), dim=0) if dist.world_size() > 1 else embeddings


@torch.no_grad()
def gather_constant(values: Tensor) -> Tensor:
    """The values of all processes, `[B, ...]` to `[ranks * B, ...]`, of any type and without gradient."""
    if dist.world_size() == 1:
        return values
    parts = [torch.empty_like(values, memory_format=torch.contiguous_format) for _ in range(dist.world_size())]
    torch.distributed.all_gather(parts, values.contiguous())
    return torch.cat(parts)


def own_rows(whole: Tensor) -> Tensor:
    """This process's part `[B, ...]` of a tensor for the whole batch `[ranks * B, ...]`."""
    return whole.tensor_split(dist.world_size())[dist.rank()]


def uniform(batch: int, *shape: int, device: torch.device) -> Tensor:
    """Numbers in 0..1, `[batch, *shape]`: this process's part of a draw from torch's global state for the whole batch.

    Processes with the same random state therefore draw, together, what one process would.
    """
    return own_rows(torch.rand(dist.world_size() * batch, *shape, device=device))


def sum_over_processes(values: Tensor) -> Tensor:
    """The sum of a tensor over all processes, in place and without gradient."""
    if dist.world_size() > 1:
        torch.distributed.all_reduce(values)
    return values


@torch.no_grad()
def copy_from_first(tensors: Iterable[Tensor]) -> None:
    """Overwrite tensors by those of the first process, in one exchange; integers up to 2^53 come across exactly."""
    if dist.world_size() == 1:
        return
    tensors = list(tensors)
    flat = torch.cat([tensor.flatten().double() for tensor in tensors])
    torch.distributed.broadcast(flat, src=0)
    for tensor, values in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(values.view_as(tensor))
