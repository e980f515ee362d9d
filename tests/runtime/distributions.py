"""Distributions as an installer leaves them: files, and a dist-info folder that lists them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path

BINDING = "onnxruntime/capi/binding.cpython-311-x86_64-linux-gnu.so"

FILES = {
    "onnxruntime/__init__.py": b"from onnxruntime.capi import binding\n",
    "onnxruntime/capi/__init__.py": b"",
    BINDING: b"\x7fELF of the CPU build",
}
"""What any build of ONNX Runtime installs, in small."""

GPU_FILES = {**FILES, BINDING: b"\x7fELF of the build for GPUs", "onnxruntime/capi/cuda.so": b"c"}


def install(
    site: Path,
    name: str,
    files: Mapping[str, bytes],
    version: str = "1.0",
    *,
    lists_files: bool = True,
) -> None:
    """Put a distribution into a folder of sys.path, over whatever is there."""
    rows = []
    for path, content in files.items():
        file = site / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
        rows.append(f"{path},sha256={digest},{len(content)}\n")
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    if lists_files:
        package = next(iter(files)).split("/")[0]
        rows += [f"{package}/__pycache__/__init__.cpython-311.pyc,,\n", f"{info.name}/RECORD,,\n"]
        (info / "RECORD").write_text("".join(rows))
