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
    from graphopt.passes.eliminate.deduplicate_nodes import DeduplicateNodes as DeduplicateNodes
    from graphopt.passes.eliminate.eliminate_dead_nodes import (
        EliminateDeadNodes as EliminateDeadNodes,
    )
    from graphopt.passes.eliminate.eliminate_identity import EliminateIdentity as EliminateIdentity
    from graphopt.passes.eliminate.eliminate_noop import EliminateNoop as EliminateNoop
    from graphopt.passes.fold.fold_constants import FoldConstants as FoldConstants
    from graphopt.passes.fold.fold_shapes import FoldShapes as FoldShapes
    from graphopt.passes.fuse.fuse_affine_conv import FuseAffineConv as FuseAffineConv
    from graphopt.passes.fuse.fuse_conv_affine import FuseConvAffine as FuseConvAffine
    from graphopt.passes.fuse.fuse_conv_batchnorm import FuseConvBatchnorm as FuseConvBatchnorm
    from graphopt.passes.fuse.fuse_gemm_batchnorm import FuseGemmBatchnorm as FuseGemmBatchnorm
    from graphopt.passes.fuse.fuse_matmul_add import FuseMatmulAdd as FuseMatmulAdd
    from graphopt.passes.fuse.fuse_pad_conv import FusePadConv as FusePadConv
    from graphopt.passes.fuse.fuse_reshapes import FuseReshapes as FuseReshapes
    from graphopt.passes.fuse.fuse_transposes import FuseTransposes as FuseTransposes
    from graphopt.passes.quantize.quantize_weights import QuantizeWeights as QuantizeWeights
    from graphopt.passes.restructure.hoist_transposes import HoistTransposes as HoistTransposes


def __getattr__(name: str) -> Any:
    file_name = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower() + ".py"
    root = Path(__file__).parent
    found = next(root.rglob(file_name), None) if name[:1].isupper() else None
    if found is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    parts = found.relative_to(root).with_suffix("").parts
    return getattr(import_module(".".join((__name__, *parts))), name)
