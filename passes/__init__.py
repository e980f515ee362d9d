"""graphopt's passes: one file a pass, named as users type it.

`from graphopt.passes import FuseConvBatchnorm` imports that one file and no other.
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for type checkers and editors alone; a test holds the list to the files
    from graphopt.passes.eliminate.deduplicate_initializers import (
        DeduplicateInitializers as DeduplicateInitializers,
    )
    from graphopt.passes.eliminate.eliminate_dead_nodes import (
        EliminateDeadNodes as EliminateDeadNodes,
    )
    from graphopt.passes.eliminate.eliminate_identity import EliminateIdentity as EliminateIdentity
    from graphopt.passes.fold.fold_constants import FoldConstants as FoldConstants
    from graphopt.passes.fuse.fuse_conv_batchnorm import FuseConvBatchnorm as FuseConvBatchnorm


def __getattr__(name: str) -> Any:
    file_name = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower() + ".py"
    root = Path(__file__).parent
    found = next(root.rglob(file_name), None) if name[:1].isupper() else None
    if found is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    parts = found.relative_to(root).with_suffix("").parts
    return getattr(import_module(".".join((__name__, *parts))), name)
