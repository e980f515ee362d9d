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
        say("interrupted")
        return ExitCode.INTERRUPTED
    except SystemExit:
        # click ends so when the reader of a pipe went away, which is no failure of ours.
        return ExitCode.DONE
    except Exception as error:
        if any(a in ("-v", "--verbose") for a in given):
            traceback.print_exception(error)
        code, lines = explained(error)
        say(*lines)
        return int(code)


def explained(error: Exception, about: object = None) -> tuple[ExitCode, list[str]]:
    """An error as an exit code and one line, two with a hint.

    Args:
        error: What was raised.
        about: The file at work, for errors that name none.
    """
    subject = "" if about is None else f"{about}: "
    if isinstance(error, GraphoptError):
        said = f"error: {'' if error.file else subject}{error}"
        return error.exit_code, [said, *([f"hint: {error.hint}"] if error.hint else [])]
    if isinstance(error, click.ClickException):
        return ExitCode.USAGE, [f"error: {' '.join(error.format_message().split())}"]
    if isinstance(error, MemoryError):
        return ExitCode.BAD_FILE, [f"error: {subject}out of memory"]
    return ExitCode.CHECK_FAILED, [
        f"internal error: {subject}{type(error).__name__}: {' '.join(str(error).split())}",
        "hint: this is a defect of graphopt; run again with -v and report what it prints",
    ]


def say(*lines: str) -> None:
    """Print lines to stderr, each after the program's name; names in them come from models."""
    from graphopt.report.printable import printable

    for line in lines:
        click.echo(f"graphopt: {printable(line)}", err=True)


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
