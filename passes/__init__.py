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
    from graphopt.passes.eliminate.eliminate_defaults import EliminateDefaults as EliminateDefaults
    from graphopt.passes.eliminate.eliminate_expand import EliminateExpand as EliminateExpand
    from graphopt.passes.eliminate.eliminate_identity import EliminateIdentity as EliminateIdentity
    from graphopt.passes.eliminate.eliminate_if import EliminateIf as EliminateIf
    from graphopt.passes.eliminate.eliminate_inverse import EliminateInverse as EliminateInverse
    from graphopt.passes.eliminate.eliminate_loop_state import (
        EliminateLoopState as EliminateLoopState,
    )
    from graphopt.passes.eliminate.eliminate_noop import EliminateNoop as EliminateNoop
    from graphopt.passes.eliminate.eliminate_repeated import EliminateRepeated as EliminateRepeated
    from graphopt.passes.fold.fold_constants import FoldConstants as FoldConstants
    from graphopt.passes.fold.fold_shapes import FoldShapes as FoldShapes
    from graphopt.passes.fuse.fuse_affine_conv import FuseAffineConv as FuseAffineConv
    from graphopt.passes.fuse.fuse_casts import FuseCasts as FuseCasts
    from graphopt.passes.fuse.fuse_concats import FuseConcats as FuseConcats
    from graphopt.passes.fuse.fuse_conv_affine import FuseConvAffine as FuseConvAffine
    from graphopt.passes.fuse.fuse_conv_batchnorm import FuseConvBatchnorm as FuseConvBatchnorm
    from graphopt.passes.fuse.fuse_data_movement import FuseDataMovement as FuseDataMovement
    from graphopt.passes.fuse.fuse_gather_affine import FuseGatherAffine as FuseGatherAffine
    from graphopt.passes.fuse.fuse_gelu import FuseGelu as FuseGelu
    from graphopt.passes.fuse.fuse_gemm_batchnorm import FuseGemmBatchnorm as FuseGemmBatchnorm
    from graphopt.passes.fuse.fuse_hardsigmoid import FuseHardsigmoid as FuseHardsigmoid
    from graphopt.passes.fuse.fuse_hardswish import FuseHardswish as FuseHardswish
    from graphopt.passes.fuse.fuse_layernorm import FuseLayernorm as FuseLayernorm
    from graphopt.passes.fuse.fuse_linear_chain import FuseLinearChain as FuseLinearChain
    from graphopt.passes.fuse.fuse_matmul_add import FuseMatmulAdd as FuseMatmulAdd
    from graphopt.passes.fuse.fuse_mish import FuseMish as FuseMish
    from graphopt.passes.fuse.fuse_pad_conv import FusePadConv as FusePadConv
    from graphopt.passes.fuse.fuse_repeats import FuseRepeats as FuseRepeats
    from graphopt.passes.fuse.fuse_reshaped_gemm import FuseReshapedGemm as FuseReshapedGemm
    from graphopt.passes.fuse.fuse_reshapes import FuseReshapes as FuseReshapes
    from graphopt.passes.fuse.fuse_rmsnorm import FuseRmsnorm as FuseRmsnorm
    from graphopt.passes.fuse.fuse_rolls import FuseRolls as FuseRolls
    from graphopt.passes.fuse.fuse_scale_linear import FuseScaleLinear as FuseScaleLinear
    from graphopt.passes.fuse.fuse_slices import FuseSlices as FuseSlices
    from graphopt.passes.fuse.fuse_transposes import FuseTransposes as FuseTransposes
    from graphopt.passes.quantize.quantize_weights import QuantizeWeights as QuantizeWeights
    from graphopt.passes.restructure.decide_if import DecideIf as DecideIf
    from graphopt.passes.restructure.hoist_from_if import HoistFromIf as HoistFromIf
    from graphopt.passes.restructure.hoist_transposes import HoistTransposes as HoistTransposes
    from graphopt.passes.restructure.inline_functions import InlineFunctions as InlineFunctions
    from graphopt.passes.restructure.inline_if import InlineIf as InlineIf
    from graphopt.passes.restructure.merge_gathers import MergeGathers as MergeGathers
    from graphopt.passes.restructure.merge_parallel_linears import (
        MergeParallelLinears as MergeParallelLinears,
    )
    from graphopt.passes.restructure.merge_slices import MergeSlices as MergeSlices
    from graphopt.passes.restructure.simplify_gathers import SimplifyGathers as SimplifyGathers
    from graphopt.passes.restructure.sink_splits import SinkSplits as SinkSplits
    from graphopt.passes.restructure.unroll_loop import UnrollLoop as UnrollLoop


def __getattr__(name: str) -> Any:
    file_name = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower() + ".py"
    root = Path(__file__).parent
    found = next(root.rglob(file_name), None) if name[:1].isupper() else None
    if found is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    parts = found.relative_to(root).with_suffix("").parts
    return getattr(import_module(".".join((__name__, *parts))), name)
