"""Trains the shipped models and exports them to ONNX; the shipped files are its output, kept.

`python -m models.train --out FOLDER [NAME ...]` needs `models/train-requirements.txt`. Users and
tests never need it: the files in git are the reference, whatever a later run would give.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from torch import nn
from torch.nn import functional

from models import networks
from models.digits import Split, read_digits, split_digits, write_samples

THREADS = 2  # part of the recipe: another thread count sums gradients in another order
BATCH = 50
OPSET = 17


@dataclass(frozen=True)
class Recipe:
    """How one network is trained. `rate` is the learning rate's peak, `elastic` in pixels."""

    build: Callable[[], nn.Module]
    epochs: int
    optimizer: Literal["adamw", "sgd"]
    rate: float
    decay: float
    elastic: float = 0.0
    smoothing: float = 0.05
    seed: int = 0


RECIPES = {
    "lenet_300_100": Recipe(networks.lenet_300_100, 300, "adamw", 2e-3, 1e-2, elastic=0.7),
    "lenet_5": Recipe(networks.lenet_5, 200, "adamw", 2e-3, 1e-2, elastic=0.7),
    "resnet_20": Recipe(networks.resnet_20, 60, "sgd", 1e-1, 5e-4),
    "mixnet": Recipe(networks.MixNet, 60, "sgd", 5e-2, 5e-4),
}


def distort(images: torch.Tensor, elastic: float) -> torch.Tensor:
    """Rotate, scale, shear, shift and bend each image of [n, 1, 28, 28] a little in its own way.

    Angles reach 0.25 rad, scales 15 %, shears 0.2, shifts 2 pixels; `elastic` is the standard
    deviation in pixels of a smooth random displacement.
    """
    count = len(images)
    angle, scale, shear = (
        (torch.rand(count) * 2 - 1) * reach + centre
        for reach, centre in ((0.25, 0.0), (0.15, 1.0), (0.2, 0.0))
    )
    matrix = torch.zeros(count, 2, 3)
    matrix[:, 0, 0] = torch.cos(angle) / scale
    matrix[:, 0, 1] = -torch.sin(angle) / scale + shear
    matrix[:, 1, 0] = torch.sin(angle) / scale
    matrix[:, 1, 1] = torch.cos(angle) / scale
    matrix[:, :, 2] = (torch.rand(count, 2) * 2 - 1) * (2 / 14)  # the grid spans -1..1 = 28 pixels
    grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
    if elastic > 0:
        coarse = torch.randn(count, 2, 6, 6) * (elastic / 14)
        bend = functional.interpolate(coarse, size=28, mode="bicubic", align_corners=False)
        grid = grid + bend.permute(0, 2, 3, 1)
    return functional.grid_sample(images, grid, align_corners=False)


def to_tensor(images: npt.NDArray[np.uint8]) -> torch.Tensor:
    """Turn uint8 images [n, 28, 28] into a float32 tensor [n, 1, 28, 28] scaled to 0..1."""
    return torch.from_numpy(images.astype(np.float32)[:, None] / np.float32(255))


def batches(
    images: torch.Tensor, labels: torch.Tensor, elastic: float
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield one epoch of shuffled, distorted batches."""
    for chosen in torch.randperm(len(images)).split(BATCH):
        yield distort(images[chosen], elastic), labels[chosen]


def make_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The optimizer that `recipe` names."""
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(network.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
    return torch.optim.SGD(
        network.parameters(),
        lr=recipe.rate,
        momentum=0.9,
        weight_decay=recipe.decay,
        nesterov=True,
    )


def train(recipe: Recipe, split: Split) -> nn.Module:
    """Train one network from its seed; returns it in evaluation mode."""
    torch.manual_seed(recipe.seed)
    network = recipe.build()
    images, labels = to_tensor(split.train_images), torch.from_numpy(split.train_labels)
    optimizer = make_optimizer(network, recipe)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.rate, total_steps=recipe.epochs * math.ceil(len(images) / BATCH)
    )
    network.train()
    for epoch in range(recipe.epochs):
        total = 0.0
        for batch, target in batches(images, labels, recipe.elastic):
            loss = functional.cross_entropy(
                network(batch), target, label_smoothing=recipe.smoothing
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(batch)
        print(f"  epoch {epoch + 1}/{recipe.epochs}: loss {total / len(images):.4f}", flush=True)
    network.eval()
    return network


def export(network: nn.Module, path: Path) -> None:
    """Write an evaluation-mode network to `path` with its BatchNormalization nodes kept."""
    with warnings.catch_warnings():
        # The newer exporter decomposes batch normalisation; this one is deprecated, but keeps it.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.zeros(1, 1, 28, 28),),
            str(path),
            dynamo=False,
            # PRESERVE leaves the module in evaluation mode; EVAL would also fold the nodes away.
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=False,
            opset_version=OPSET,
            input_names=["image"],
            output_names=["logits"],
            dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
        )
    model = onnx.load(path)
    drop_traces(model)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def drop_traces(model: onnx.ModelProto) -> None:
    """Remove what the exporter says about the machine it ran on: stack traces and metadata."""
    del model.metadata_props[:]
    for item in (model, model.graph, *model.graph.node):
        item.ClearField("doc_string")
    for node in model.graph.node:
        del node.metadata_props[:]


def accuracy(path: Path, split: Split) -> float:
    """The share of the 1,000 test images that the ONNX file at `path` classifies rightly."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"image": to_tensor(split.test_images).numpy()})
    return float(np.mean(np.asarray(logits).argmax(1) == split.test_labels))


def main() -> None:
    """Train, export and measure the networks named on the command line, or all of them."""
    parser = argparse.ArgumentParser(prog="python -m models.train", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(RECIPES))
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(RECIPES)
    if unknown:
        parser.error(f"unknown network: {', '.join(sorted(unknown))}")
    torch.set_num_threads(THREADS)
    arguments.out.mkdir(parents=True, exist_ok=True)
    split = split_digits(*read_digits())
    write_samples(split, arguments.out)
    for name in arguments.names or RECIPES:
        started = time.monotonic()
        path = arguments.out / f"{name}.onnx"
        export(train(RECIPES[name], split), path)
        took = time.monotonic() - started
        print(f"{name}: accuracy {accuracy(path, split):.3f}, {took:.0f} s", flush=True)


if __name__ == "__main__":
    main()
