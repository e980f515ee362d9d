"""What every sub-command shares: errors as one clear line, exit codes, progress on stderr."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
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
    if threading.current_thread() is threading.main_thread():
        # What schedulers send: it ends the run as Ctrl-C does, temporary files included.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = command.main(args=given, prog_name="graphopt", standalone_mode=False)
        return int(code) if isinstance(code, int) else ExitCode.DONE
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return ExitCode.USAGE
    except (KeyboardInterrupt, click.Abort):
        _say("interrupted")
        return ExitCode.INTERRUPTED
    except SystemExit:
        # click ends so when the reader of a pipe went away, which is no failure of ours.
        return ExitCode.DONE
    except Exception as error:
        if any(a in ("-v", "--verbose") for a in given):
            traceback.print_exception(error)
        return _explained(error)


def _explained(error: Exception) -> int:
    """Say what went wrong in one line, two with a hint; give the exit code."""
    if isinstance(error, GraphoptError):
        _say(f"error: {error}", f"hint: {error.hint}" if error.hint else "")
        return int(error.exit_code)
    if isinstance(error, click.ClickException):
        _say(f"error: {' '.join(error.format_message().split())}")
        return ExitCode.USAGE
    if isinstance(error, MemoryError):
        _say("error: out of memory")
        return ExitCode.BAD_FILE
    _say(
        f"internal error: {type(error).__name__}: {' '.join(str(error).split())}",
        "hint: this is a defect of graphopt; run again with -v and report what it prints",
    )
    return ExitCode.CHECK_FAILED


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
        Console(highlight=False, markup=False, emoji=False).print(renderable)
    else:
        from graphopt.report.text import plain

        click.echo(plain(renderable, width=160), nl=False)  # type: ignore[arg-type]
