"""What `graphopt doctor` calls in child processes: each function may crash or hang there."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import mmap
import platform
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graphopt.contract import Array

X: Array = np.array([[1, -2, 3], [-4, 5, -6]], np.float32)
"""The input of `tiny_model`."""
Y: Array = np.array([[14, 1, 18], [0, 19, 0]], np.float32)
"""Its answer. All values are small integers: any precision that a device computes in is exact."""
_W: Array = np.array([[1, 2, 3], [-1, 4, 0], [2, 0, 5]], np.float32)
_B: Array = np.array([5, 7, 0], np.float32)


def tiny_model() -> bytes:
    """A model that any execution provider can run: Relu(x @ w + b), float32 [2, 3] -> [2, 3]."""
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["xw"]),
        helper.make_node("Add", ["xw", "b"], ["xwb"]),
        helper.make_node("Relu", ["xwb"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 3]) for name in "xy"]
    weights = [numpy_helper.from_array(_W, "w"), numpy_helper.from_array(_B, "b")]
    graph = helper.make_graph(nodes, "tiny", ends[:1], ends[1:], weights)
    opset = [helper.make_opsetid("", 13)]
    model: bytes = helper.make_model(graph, opset_imports=opset, ir_version=7).SerializeToString()
    return model


def import_modules(names: Sequence[str]) -> dict[str, str]:
    """Import each; the error by name, empty where there is none."""
    found = {}
    for name in names:
        print(f"importing {name}", file=sys.stderr, flush=True)
        try:
            importlib.import_module(name)
        except (Exception, SystemExit) as error:
            found[name] = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        else:
            found[name] = ""
    return found


def describe_runtime() -> dict[str, Any]:
    """What `import onnxruntime` gives: its file, version, CUDA version and providers.

    Raises:
        Exception: Whatever the import raises.
    """
    import onnxruntime as ort

    if getattr(ort, "__file__", None) is None:  # what a half uninstallation leaves behind
        left = next(iter(ort.__path__))
        raise ModuleNotFoundError(f"No module named 'onnxruntime'; a folder is left at {left}")
    return {
        "file": ort.__file__,
        "version": ort.__version__,
        "cuda_version": _cuda_version(ort),
        "providers": ort.get_available_providers(),
    }


def open_session(provider: str) -> dict[str, bool]:
    """Run `tiny_model` on one execution provider.

    Returns:
        `opened`: the session has the provider; `right`: the answer is exact; `used`: the provider
        took the nodes itself instead of leaving some to the CPU.

    Raises:
        Exception: Whatever the session raises.
    """
    import onnxruntime as ort

    preload(ort)
    model = tiny_model()
    session = ort.InferenceSession(model, providers=[provider])
    if provider not in session.get_providers():
        return {"opened": False, "right": False, "used": False}
    (found,) = session.run(None, {"x": X})
    used = provider == "CPUExecutionProvider" or _opens_without_cpu(ort, model, provider)
    return {"opened": True, "right": bool(np.array_equal(found, Y)), "used": used}


def _opens_without_cpu(ort: Any, model: bytes, provider: str) -> bool:
    options = ort.SessionOptions()
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        session = ort.InferenceSession(model, options, providers=[provider])
    except Exception:  # ONNX Runtime raises classes of its own for each status code
        return False
    return provider in session.get_providers()


def preload(ort: Any) -> None:
    """Load the CUDA libraries that NVIDIA's Python packages bring, where onnxruntime can."""
    load = getattr(ort, "preload_dlls", None)  # since 1.21
    if load is not None and _cuda_version(ort):
        load()


def _cuda_version(ort: Any) -> str:
    """The CUDA that it was built with, empty when none."""
    return getattr(ort, "cuda_version", None) or ""


def find_driver() -> dict[str, Any]:
    """Ask the NVIDIA driver for its devices.

    Returns:
        `library`: its name; `missing`: why it cannot be loaded, or None; `code`: CUDA's status
        (0 is fine); `version`: the newest CUDA it runs, as (major, minor); `devices`: names.
    """
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    found: dict[str, Any] = {
        "library": name, "missing": None, "code": None, "version": None, "devices": [],
    }  # fmt: skip
    try:
        cuda = ctypes.CDLL(name)
    except OSError as error:
        return {**found, "missing": str(error)}
    number = ctypes.c_int()
    found["code"] = cuda.cuInit(0)
    if cuda.cuDriverGetVersion(ctypes.byref(number)) == 0:
        found["version"] = [number.value // 1000, number.value % 1000 // 10]
    if found["code"] == 0 and cuda.cuDeviceGetCount(ctypes.byref(number)) == 0:
        found["devices"] = [_device_name(cuda, index) for index in range(number.value)]
    return found


def _device_name(cuda: Any, index: int) -> str:
    device, text = ctypes.c_int(), ctypes.create_string_buffer(256)
    if cuda.cuDeviceGet(ctypes.byref(device), index) or cuda.cuDeviceGetName(text, 256, device):
        return f"device {index}"
    return text.value.decode("utf-8", "replace")


def runtime_libraries() -> list[str]:
    """File names of the CUDA libraries that onnxruntime itself looks for when it preloads them."""
    import onnxruntime as ort

    # Private, and only there since 1.21; what a provider is linked to is known without it.
    paths = getattr(ort, "_get_nvidia_dll_paths", None)
    if paths is None or not _cuda_version(ort):
        return []
    return [parts[-1] for parts in paths(platform.system() == "Windows")]


def load_libraries(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Load each shared library as an execution provider would, after `preload`.

    Returns:
        By name: `path`, empty when the system does not tell, and `error`, empty when it loads.
    """
    with contextlib.suppress(Exception):  # a broken onnxruntime is another finding
        import onnxruntime as ort

        preload(ort)
    found = {}
    for name in names:
        try:
            library = ctypes.CDLL(name)
        except OSError as error:
            found[name] = {"path": "", "error": str(error)}
        else:
            found[name] = {"path": _path_of(name, library), "error": ""}
    return found


def _path_of(name: str, library: ctypes.CDLL) -> str:
    if sys.platform == "win32":
        text = ctypes.create_unicode_buffer(32768)
        handle = ctypes.c_void_p(library._handle)
        ctypes.windll.kernel32.GetModuleFileNameW(handle, text, len(text))
        return text.value
    return next((path for path in _mapped() if Path(path).name.startswith(name)), "")


def _mapped() -> Iterator[str]:
    """Files that are mapped into this process; none where the system has no /proc."""
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        parts = line.split(maxsplit=5)
        if len(parts) == 6 and parts[5].startswith("/"):
            yield parts[5]


def memory_limit() -> dict[str, Any]:
    """Set the limit that a model runs under and try to go beyond it. No page is touched.

    Returns:
        `bytes`: the limit, None where the system has none; `holds`: more is refused.
    """
    from graphopt.runtime import worker

    try:
        import resource
    except ImportError:  # not on Windows
        return {"bytes": None, "holds": False}
    worker.limit_memory()
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft == resource.RLIM_INFINITY:
        return {"bytes": None, "holds": False}
    return {"bytes": soft, "holds": not can_map(soft + (1 << 20))}


def can_map(size: int) -> bool:
    """True when the process may reserve so many bytes of address space."""
    # Without a reservation, only a limit of the process refuses, not the memory left.
    no_reserve = 0x4000 if sys.platform == "linux" else 0
    try:
        mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | no_reserve).close()
    except (OSError, OverflowError, MemoryError):
        return False
    return True
