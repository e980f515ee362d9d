"""The one tree of errors. Each carries what a user needs: the file, the pass, the node, a hint."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the command line gives back to a pipeline."""

    DONE = 0
    CHECK_FAILED = 1
    USAGE = 2
    BAD_FILE = 3
    NO_PROVIDER = 4
    INCONCLUSIVE = 5
    INTERRUPTED = 130


class GraphoptError(Exception):
    """Anything graphopt refuses. `str()` is one line: file, pass, node, what is wrong.

    Attributes:
        message: What is wrong.
        file: The file at fault, if any.
        pass_name: The pass at work, if any.
        node: The node at fault, if any.
        hint: What to do about it, if known.
    """

    exit_code = ExitCode.CHECK_FAILED

    def __init__(
        self,
        message: str,
        *,
        file: object = None,
        pass_name: str | None = None,
        node: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = " ".join(message.split())
        self.file = None if file is None else str(file)
        self.pass_name = pass_name
        self.node = node
        self.hint = hint

    def __str__(self) -> str:
        where = [
            part
            for part in (
                self.file,
                self.pass_name and f"pass {self.pass_name}",
                self.node and f"node {self.node}",
            )
            if part
        ]
        return ": ".join([*where, self.message])


class UsageError(GraphoptError):
    """An unknown option, pass, recipe or recipe key."""

    exit_code = ExitCode.USAGE


class FileError(GraphoptError):
    """An input that is missing or unreadable, or an output that cannot be written."""

    exit_code = ExitCode.BAD_FILE


class ModelError(FileError):
    """A file that is there but is not a usable ONNX model."""


class ExternalDataError(FileError):
    """External data that is missing, too short, or outside the model's folder."""


class DataError(FileError):
    """Sample data that does not fit the model."""


class EditRefused(GraphoptError):
    """The editor's refusal: the edit would have broken the graph."""


class PassError(GraphoptError):
    """A pass that raised; a defect of the pass, with its name and the node."""


class RuntimeFailure(GraphoptError):
    """ONNX Runtime could not load or run a model.

    Attributes:
        kind: `load`, `run`, `crash` (the process died) or `timeout`.
    """

    def __init__(self, message: str, *, kind: str, file: object = None) -> None:
        super().__init__(message, file=file)
        self.kind = kind


class ProviderUnavailable(GraphoptError):
    """The execution provider asked for cannot open a session here."""

    exit_code = ExitCode.NO_PROVIDER
