"""Running recipes: registry, options, walk, stages to a fixed point, proof and bisection."""

from graphopt.engine.attempt import OptimizeOptions
from graphopt.engine.optimize import OptimizeResult, optimize_model
from graphopt.engine.options import make_pass, option_types, parse_pass
from graphopt.engine.recipe import PassSpec, Recipe, Stage, load_recipe, parse_recipe, recipe_of
from graphopt.engine.registry import PassEntry, available, find

__all__ = [
    "OptimizeOptions",
    "OptimizeResult",
    "PassEntry",
    "PassSpec",
    "Recipe",
    "Stage",
    "available",
    "find",
    "load_recipe",
    "make_pass",
    "optimize_model",
    "option_types",
    "parse_pass",
    "parse_recipe",
    "recipe_of",
]
