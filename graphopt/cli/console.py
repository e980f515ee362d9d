"""What every sub-command shares: errors as one clear line, exit codes, progress on stderr."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Callable, Iterator

import click

from graphopt.errors import ExitCode, GraphoptError

Progress = Callable[[str], None]


def guarded(command: click.Command, arguments: list[str] | None = None) -> int:
    """Run a command; give its exit code. A traceback appears only with -v.

    Args:
        command: The command or group.
        arguments: Its arguments; those of the process when None.
    """
    given = sys.argv[1:] if arguments is None else arguments
    verbose = any(a in ("-v", "--verbose") for a in given)
    try:
        code = command.main(args=given, prog_name="graphopt", standalone_mode=False)
        return int(code) if isinstance(code, int) else ExitCode.DONE
    except GraphoptError as error:
        _say(f"error: {error}", f"hint: {error.hint}" if error.hint else "")
        result = int(error.exit_code)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return ExitCode.USAGE
    except click.ClickException as error:
        _say(f"error: {' '.join(error.format_message().split())}", "")
        result = ExitCode.USAGE
    except (KeyboardInterrupt, click.Abort):
        _say("interrupted", "")
        return ExitCode.INTERRUPTED
    except MemoryError:
        _say("error: out of memory", "")
        result = ExitCode.BAD_FILE
    except BrokenPipeError:
        return ExitCode.DONE
    except Exception as error:
        _say(
            f"internal error: {type(error).__name__}: {' '.join(str(error).split())}",
            "hint: this is a defect of graphopt; run again with -v and report what it prints",
        )
        result = ExitCode.CHECK_FAILED
    if verbose:
        traceback.print_exc()
    return result


def _say(*lines: str) -> None:
    for line in filter(None, lines):
        click.echo(f"graphopt: {line}", err=True)


@contextlib.contextmanager
def progress_shown(*, quiet: bool, verbose: bool) -> Iterator[Progress]:
    """What tells a person at a terminal what is going on; silent in a log unless verbose."""
    if quiet:
        yield lambda what: None
    elif sys.stderr.isatty():
        from rich.console import Console

        with Console(stderr=True).status("starting") as status:
            yield lambda what: status.update(what)
    elif verbose:
        yield lambda what: click.echo(f"graphopt: {what}", err=True)
    else:
        yield lambda what: None


def show(renderable: object) -> None:
    """Print to stdout: rich at a terminal, plain text elsewhere."""
    from rich.console import Console

    if sys.stdout.isatty():
        Console(highlight=False).print(renderable)
    else:
        from graphopt.report.text import plain

        click.echo(plain(renderable, width=160), nl=False)  # type: ignore[arg-type]
