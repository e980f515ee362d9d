"""Whether an execution provider is to be had here, asked before anything is measured on it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from typing import Any

from graphopt.errors import ProviderUnavailable, UsageError
from graphopt.runtime.child import Answer, ask
from graphopt.runtime.doctor_cuda import INSTALL, read_driver
from graphopt.runtime.doctor_probe import X, preload, tiny_model
from graphopt.runtime.doctor_providers import reason
from graphopt.runtime.settings import ALIASES, CPU, Provider

_NVIDIA = (ALIASES["cuda"], ALIASES["tensorrt"], "NvTensorRTRTXExecutionProvider")

_DISTRIBUTIONS = {
    ALIASES["cuda"]: "onnxruntime-gpu",
    ALIASES["tensorrt"]: "onnxruntime-gpu",
    ALIASES["openvino"]: "onnxruntime-openvino",
    "DmlExecutionProvider": "onnxruntime-directml",
    "MIGraphXExecutionProvider": "onnxruntime-migraphx",
    "QNNExecutionProvider": "onnxruntime-qnn",
    "CANNExecutionProvider": "onnxruntime-cann",
}
"""The distribution of ONNX Runtime that brings an execution provider."""

_MISSING = (
    re.compile(r"(\S+\.so[.\d]*): cannot open shared object file"),
    re.compile(r"depends on \"([^\"]+)\" which is missing"),  # Windows
)
_OPENVINO_SAYS = re.compile(r"\[ERROR\] (\[OpenVINO\] .+)")


def check_available(provider: Provider) -> None:
    """Open a session of a tiny model in a child process, and run it there.

    Args:
        provider: The execution provider and its options. The CPU's is always there.

    Raises:
        ProviderUnavailable: ONNX Runtime lacks it, or opens no session with it; the message names
            the missing library where one is the reason, and the hint the remedy.
        UsageError: No execution provider has this name.
    """
    if provider.name == CPU:
        return
    listed = ask(list_providers)
    if listed.failure:
        raise ProviderUnavailable(
            f"{provider.name}: onnxruntime cannot be imported: {listed.failure}",
            hint="graphopt doctor says more",
        )
    if provider.name not in listed.value["here"]:
        raise _unlisted(provider.name, listed.value)
    options = dict(provider.options)
    answer = ask(opens, provider.name, options)
    if answer.value:
        return
    if options and ask(opens, provider.name, {}).value:
        stated = ",".join(f"{key}={value}" for key, value in options.items())
        raise ProviderUnavailable(
            f"{provider.name} opens no session with {stated}: {_why(answer)}",
            hint="without these options it does",
        )
    raise _unopened(provider.name, answer)


def list_providers() -> dict[str, Any]:
    """In the child: `version` of onnxruntime, its providers `here`, and `all` that it knows of.

    Raises:
        Exception: Whatever the import raises.
    """
    import onnxruntime as ort

    return {
        "version": ort.__version__,
        "here": ort.get_available_providers(),
        "all": ort.get_all_providers(),
    }


def opens(name: str, options: Mapping[str, str]) -> bool:
    """In the child: whether a session has the provider, and runs.

    Raises:
        Exception: Whatever ONNX Runtime raises.
    """
    import onnxruntime as ort

    preload(ort)
    session = ort.InferenceSession(tiny_model(), providers=[(name, dict(options))])
    if name not in session.get_providers():
        return False
    session.run(None, {"x": X})
    return True


def _unlisted(name: str, listed: Mapping[str, Any]) -> UsageError | ProviderUnavailable:
    """Either no such provider exists, or it takes another build of ONNX Runtime."""
    if name not in listed["all"]:
        hint = f"here are {', '.join(map(_short, listed['here']))}"
        close = _closest(name, [*ALIASES, *listed["all"]])
        if close:
            hint = f"did you mean {close}? {hint}"
        return UsageError(f"there is no execution provider {name!r}", hint=hint)
    other = _DISTRIBUTIONS.get(name)
    hint = f"this onnxruntime has {', '.join(map(_short, listed['here']))}"
    if other:
        hint = f"pip install {other} in an environment of its own; {hint}"
    return ProviderUnavailable(
        f"{name} is not in the onnxruntime {listed['version']} installed here", hint=hint
    )


def _unopened(name: str, answer: Answer) -> ProviderUnavailable:
    text = f"{name} opens no session: {_why(answer)}"
    if name not in _NVIDIA:
        return ProviderUnavailable(text, hint="graphopt doctor says what was found and what is not")
    hint = INSTALL if name == ALIASES["cuda"] else f"install TensorRT, and {INSTALL}"
    driver = read_driver()
    if not driver.is_expected:
        text += "; there is no NVIDIA " + ("driver" if driver.missing else "GPU")
        hint += ", on a machine with an NVIDIA GPU and its driver"
    return ProviderUnavailable(text, hint=hint)


def _why(answer: Answer) -> str:
    """Why a session did not open: the missing library by name, if that is it."""
    said = _OPENVINO_SAYS.search(answer.log)
    why = said[1] if said and not answer.failure else reason(answer)
    found = next((match for pattern in _MISSING if (match := pattern.search(why))), None)
    return f"{found[1]} is missing" if found else why


def _closest(name: str, known: Collection[str]) -> str | None:
    spelled = {each.lower(): each for each in known}
    close = difflib.get_close_matches(name.lower(), spelled, n=1)
    return spelled[close[0]] if close else None


def _short(name: str) -> str:
    """The alias of a provider, where it has one."""
    return next((alias for alias, full in ALIASES.items() if full == name), name)
