"""The command line: one file a sub-command, each imported only when it runs."""

from __future__ import annotations

import sys
from importlib import import_module

import click

_COMMANDS = {
    "bench": "Time models side by side, with an interval for the ratio and a verdict.",
    "compare": "Compare two models: signature, structure, and numbers on the same inputs.",
    "convert": "Change opset, shapes, batch, functions or external data, and prove the rest.",
    "doctor": "Check what graphopt runs on: versions, ONNX Runtime, devices and their libraries.",
    "extract": "Cut out the part of a model between some of its tensors, and prove it.",
    "gate": "Compare two benchmark reports, and fail where the candidate got slower.",
    "inspect": "Show what a model is made of, without running it.",
    "optimize": "Make a model smaller and faster, and prove that it gives the same answers.",
    "passes": "List the passes, or show one with its options.",
    "recipes": "List the recipes, or print one.",
    "tune": "Find the session settings that run a model best on this machine.",
}


class _LazyGroup(click.Group):
    """Knows its commands by name; --help imports none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = import_module(f"graphopt.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="graphopt")
def cli() -> None:
    """Smaller, faster ONNX models that still give the same answers, with the proof.

    Exit codes: 0 done; 1 a check failed, or nothing could be verified; 2 unknown option, pass or
    recipe key; 3 an input is missing or bad, or the output cannot be written; 4 the execution
    provider is not available; 5 inconclusive; 130 interrupted.
    """


def main() -> None:
    """Run the command line and exit with its code."""
    from graphopt.cli.console import guarded

    sys.exit(guarded(cli))


__all__ = ["cli", "main"]
