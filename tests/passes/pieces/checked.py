"""For each lossless pass, the piece of graph in which it is checked, and where it must be quiet."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Checked:
    """Where a pass is checked.

    Attributes:
        piece: Name of the piece of graph in which it finds something to do.
        quiet: Situations in which it must make no edit all the same; in all others it must.
    """

    piece: str
    quiet: frozenset[str] = frozenset()


GIVEN = frozenset({"graph outputs"})
"""What would go away is an output."""
READ = GIVEN | {"two readers"}
"""What would go away is read elsewhere."""
SHAPE = frozenset({"function"})
"""Shapes, ranks or types in functions are not known."""
CONSTANT = frozenset({"overridable"})
"""A value that callers may override is no constant."""
SHARED = frozenset({"shared weights"})
"""A weight that others read would be stored twice."""

CHECKED: dict[str, Checked] = {
    "deduplicate_initializers": Checked("first", CONSTANT),
    "eliminate_dead_nodes": Checked("first"),
    "eliminate_identity": Checked("first", GIVEN),
    "fold_constants": Checked("first", GIVEN | CONSTANT),
    "fuse_conv_batchnorm": Checked("first", READ | CONSTANT),
    "deduplicate_nodes": Checked("more", GIVEN),
    "eliminate_noop": Checked("more", GIVEN),
    "fold_shapes": Checked("more", GIVEN | SHAPE),
    "fuse_affine_conv": Checked("more", READ | SHAPE | SHARED | CONSTANT),
    "fuse_conv_affine": Checked("more", READ | SHARED | CONSTANT),
    "fuse_gemm_batchnorm": Checked("more", READ | SHARED | CONSTANT),
    "fuse_matmul_add": Checked("more", READ | SHAPE | CONSTANT),
    "fuse_pad_conv": Checked("more", READ | SHAPE),
    "fuse_reshapes": Checked("more", READ | SHAPE),
    "fuse_transposes": Checked("more", READ),
    "hoist_transposes": Checked("more", READ | SHAPE),
    "fuse_gelu": Checked("activations", READ | CONSTANT),
    "fuse_hardswish": Checked("activations", READ | CONSTANT),
    "fuse_mish": Checked("activations", READ | SHAPE),
    "fuse_hardsigmoid": Checked("hard", READ | CONSTANT),
    "fuse_layernorm": Checked("norms", READ | SHAPE | CONSTANT),
    "fuse_rmsnorm": Checked("norms", READ | SHAPE | CONSTANT),
    "eliminate_inverse": Checked("limits", GIVEN),
    "eliminate_repeated": Checked("limits", GIVEN),
    "fuse_casts": Checked("limits", GIVEN | SHAPE),
    "fuse_gather_affine": Checked("table", READ | SHAPE | SHARED | CONSTANT),
    "eliminate_defaults": Checked("defaults"),
    "fuse_concats": Checked("slices", READ),
    # Where constants are nodes, a Gather would need one for its indices: no fewer than before.
    "fuse_rolls": Checked("slices", READ | SHAPE | {"ir version 3"}),
    "fuse_slices": Checked("slices", READ),
    "merge_slices": Checked("slices", SHAPE),
    "fuse_data_movement": Checked("movement", READ | SHAPE),
    "merge_gathers": Checked("heads", READ | SHAPE),
    "sink_splits": Checked("heads", READ | SHAPE),
    "fuse_repeats": Checked("repeated", READ | SHAPE),
    "eliminate_expand": Checked("expanded", READ | SHAPE),
    "simplify_gathers": Checked("grid", SHAPE),
    "fuse_linear_chain": Checked("linear", READ | SHARED | CONSTANT),
    "fuse_reshaped_gemm": Checked("linear", READ | SHAPE | CONSTANT),
    "fuse_scale_linear": Checked("linear", READ | CONSTANT),
    "merge_parallel_linears": Checked("linear", SHARED | CONSTANT),
    "eliminate_if": Checked("branches"),
    "hoist_from_if": Checked("branches"),
    "inline_if": Checked("branches"),
    "decide_if": Checked("decided", SHAPE),
    "eliminate_loop_state": Checked("turns"),
    # A body in a function may take its turn as a vector.
    "unroll_loop": Checked("turns", SHAPE),
    "inline_functions": Checked("calls"),
}
