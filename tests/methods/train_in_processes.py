"""A few training steps of every method, by one process or by one of two: `python train_in_processes.py RANK FOLDER`.

The tests import this file for the one process and start it twice for the two.
"""

from __future__ import annotations

import importlib.util
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ssl_zoo.methods import METHODS
from ssl_zoo.methods.processes import own_rows
from ssl_zoo.training.batchnorm import synchronised

PROCESSES = 2
BATCH = 16
STEPS = 2  # the second meets the queue, the centre and the teacher that the first has left
# (method, backbone, whether scans are given)
CASES = [
    (name, kind, with_scans)
    for name, method in METHODS.items()
    for kind in ("cnn", "vit")
    for with_scans in (False, True)
    if method.needs in ("any", kind) and (not with_scans or (method.negatives and kind == "vit"))
]


def builders() -> Any:
    """The tests' tiny methods and views, from the conftest beside this file."""
    spec = importlib.util.spec_from_file_location("tiny_methods", Path(__file__).with_name("conftest.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def train(tiny: Any, name: str, kind: str, with_scans: bool) -> dict[str, Any]:
    """Losses, gradients of the first step, and the state after the last, of a process with its part of each batch.

    The networks compute in float64, so that what is left to differ is the loss, which is float32 by its own will.
    """
    method = synchronised(tiny.build(name, kind).double())
    if name == "moco":
        method.queue = method.queue.float()
    elif name == "dino":
        method.criterion.float()  # the centre
    module: nn.Module = method
    if torch.distributed.is_initialized():
        with warnings.catch_warnings():  # newer torch has another name for the argument
            warnings.simplefilter("ignore", FutureWarning)
            module = DistributedDataParallel(method, broadcast_buffers=False)  # nothing to even out what drifts apart
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.02, momentum=0.9)
    scans = torch.arange(BATCH) // 3  # scans end where no process does
    losses, gradients = [], {}
    for step in range(STEPS):
        torch.manual_seed(step)
        views = [own_rows(view).double() for view in tiny.views_for(method, BATCH, seed=step)]
        output = module(views, own_rows(scans)) if with_scans else module(views)
        optimizer.zero_grad()
        output.loss.backward()
        if step == 0:
            gradients = {key: value.grad.clone() for key, value in method.named_parameters() if value.grad is not None}
        method.cancel_gradients(1.0)
        optimizer.step()
        method.after_step((step + 1) / STEPS)
        losses.append(output.loss.detach())
    return {"losses": torch.stack(losses), "gradients": gradients, "state": method.state_dict()}


def uneven_batchnorm() -> dict[str, Tensor]:
    """A BatchNorm whose batch of 7 is split 5 to 2: output, gradients and running statistics of this process."""
    torch.manual_seed(0)
    norm, inputs = nn.BatchNorm2d(3), torch.randn(7, 3, 4, 4) * 3 + 5
    nn.init.normal_(norm.weight)
    norm = synchronised(norm)
    if torch.distributed.is_initialized():
        inputs = inputs.split([5, 2])[torch.distributed.get_rank()]
    inputs = inputs.clone().requires_grad_()
    output = norm(inputs)
    (output * torch.linspace(-1, 1, 16).view(4, 4)).square().sum().backward()
    assert inputs.grad is not None
    assert norm.weight.grad is not None
    result = {"output": output.detach(), "input_gradient": inputs.grad, "weight_gradient": norm.weight.grad}
    return {**result, **{key: value.clone() for key, value in norm.named_buffers()}}


def main(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=PROCESSES
    )
    tiny = builders()
    results = {case: train(tiny, *case) for case in CASES}
    torch.save({"methods": results, "batchnorm": uneven_batchnorm()}, folder / f"rank-{rank}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
