"""Copying protobuf messages in part, with nothing lost that is copied."""

from __future__ import annotations

from collections.abc import Collection

from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet


def copy_but(target: Message, source: Message, left_out: Collection[str]) -> None:
    """Copy every field that is set into an empty message of the same kind, but those named.

    Text that is not UTF-8 and fields of a newer ONNX than this one are copied too.
    """
    if not len(UnknownFieldSet(source)):
        try:
            _copy_fields(target, source, left_out)
            return
        except UnicodeDecodeError:
            pass  # text in another encoding, which Python can read but not set
    # Such text and such fields survive in a whole copy only.
    target.CopyFrom(source)
    for name in left_out:
        target.ClearField(name)


def _copy_fields(target: Message, source: Message, left_out: Collection[str]) -> None:
    for field, value in source.ListFields():
        if field.name in left_out:
            continue
        if hasattr(value, "CopyFrom"):
            getattr(target, field.name).CopyFrom(value)
        elif hasattr(value, "extend"):
            getattr(target, field.name).extend(value)
        else:
            setattr(target, field.name, value)
