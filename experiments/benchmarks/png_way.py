"""One fine-tuning cell as a script of its own trains it: PNG files through a DataLoader with torchvision's transforms.

It imports what such a script needs, and nothing of ssl_zoo. Network, optimiser, layer decay, schedule, weights of the
classes, number format and number of steps are those of the cell that it stands for, and so are the images.

python -m experiments.benchmarks.png_way TASK.json
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from timm import create_model
from timm.optim import param_groups_layer_decay  # pyright: ignore[reportPrivateImportUsage]
from torch import nn
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision import transforms

Row = tuple[str, int]  # a file and its label


class Pictures(Dataset):
    """Grey images and their labels, each read from its file when it is asked for."""

    def __init__(self, rows: list[Row], transform: transforms.Compose) -> None:
        self.rows, self.transform = rows, transform

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> tuple[Any, int]:
        path, label = self.rows[place]
        with Image.open(path) as image:
            return self.transform(image.convert("L")), label


def train_and_test(task: dict[str, Any]) -> dict[str, Any]:
    """The losses of a cell and the probabilities of its tested images."""
    torch.manual_seed(task["seed"])
    size, steps, batch = task["size"], task["steps"], task["batch_size"]
    last = [transforms.ToTensor(), transforms.Normalize([0.25], [0.25])]
    mild = [
        transforms.RandomResizedCrop(size, scale=(0.7, 1.0)),
        transforms.RandomHorizontalFlip(),
        transforms.RandomRotation(10),
        transforms.ColorJitter(0.2, 0.2),
    ]
    train = Pictures(task["train"], transforms.Compose([*mild, *last]))
    test = Pictures(task["test"], transforms.Compose([transforms.Resize((size, size)), *last]))
    model = create_model(task["backbone"], num_classes=task["classes"], in_chans=1)
    model = model.to(memory_format=torch.channels_last)
    groups = param_groups_layer_decay(model, 0.05, layer_decay=0.75)
    optimizer = torch.optim.AdamW([{**group, "lr": 1e-3 * group["lr_scale"]} for group in groups])
    warmup = max(1, round(0.1 * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: (
            (step + 1) / warmup
            if step < warmup
            else 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
        ),
    )
    labels = torch.tensor([label for _, label in task["train"]])
    counts = torch.bincount(labels, minlength=task["classes"])
    loss_of = nn.CrossEntropyLoss(len(labels) / (task["classes"] * counts))
    losses = []
    model.train()
    drawn = RandomSampler(train, replacement=True, num_samples=steps * batch)
    for images, truth in DataLoader(train, batch, sampler=drawn, num_workers=task["workers"]):
        with torch.autocast("cpu", torch.bfloat16, enabled=task["bf16"]):
            logits = model(images.contiguous(memory_format=torch.channels_last))
        loss = loss_of(logits.float(), truth)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    model.eval()
    probabilities = []
    with torch.no_grad():
        for images, _ in DataLoader(test, 256, num_workers=task["workers"]):
            probabilities += torch.softmax(model(images), 1).tolist()
    return {"losses": losses, "probabilities": probabilities}


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(train_and_test(json.loads(Path(sys.argv[1]).read_text()))))
