"""From exceptions to one clear message and an exit status; the traceback is shown with `--debug` alone.

Under the message stands the stable code of the error, which `explain` explains.
"""

from __future__ import annotations

import errno
import sys
import traceback

import click

from resources.error_codes import code_of

FAILED, USAGE, NOT_ACCEPTED, STOPPED = 1, 2, 3, 130


class NotThere(click.ClickException):
    """The thing that was asked for does not exist."""

    exit_code = FAILED


def report(group: click.Group, arguments: list[str] | None) -> int:
    """Run the group and return the exit status."""
    debug = "--debug" in (arguments if arguments is not None else sys.argv[1:])
    try:
        result = group.main(arguments, prog_name="ai-assets", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return _with_code(error, error.exit_code)
    except click.Abort:
        click.echo("stopped", err=True)
        return STOPPED
    except BrokenPipeError:
        return 0
    except Exception as error:
        if debug:
            traceback.print_exc()
        for line in explain(error):
            click.echo(line, err=True)
        return _with_code(error, USAGE if type(error).__name__ == "ValidationError" else FAILED)


def _with_code(error: Exception, status: int) -> int:
    code = code_of(error)
    click.echo(f"[{code}] what it means and what to do: ai-assets explain {code}", err=True)
    return status


def explain(error: Exception) -> list[str]:
    """At most a few lines that name the thing and the remedy."""
    if type(error).__name__ == "ValidationError" and hasattr(error, "errors"):
        return [
            f"Error: setting {'.'.join(str(part) for part in item['loc']) or '?'}: {item['msg']} "
            "(set AI_ASSETS_… or settings.toml; `ai-assets doctor` shows where values come from)"
            for item in error.errors()
        ][:10]
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return [
            f"Error: the disk is full ({error.filename}); free space and run the same command again, nothing is lost"
        ]
    if isinstance(error, PermissionError):
        return [f"Error: no permission for {error.filename}; give this user write access or choose another --home"]
    return [f"Error: {error}" if str(error) else f"Error: {type(error).__name__}"]
