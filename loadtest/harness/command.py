"""The start and the end of a command-line program: arguments, and one line instead of a traceback."""

import argparse
import difflib
import pathlib
import sys

# The exit code if nothing was tested: wrong arguments, or something is missing. A test that failed exits with 1.
NOT_RUN = 2


def fail(message):
    """Prints the message and exits with code 2."""
    print(message, file=sys.stderr)
    sys.exit(NOT_RUN)


def run(main):
    """Runs `main`. An error of the operating system, such as a folder that cannot be written, is not a bug."""
    try:
        main()
    except KeyboardInterrupt:
        # The shell's exit code for SIGINT.
        sys.exit(130)
    except OSError as error:
        fail(f"{pathlib.Path(sys.argv[0]).name}: {error}")


def guess(text, known):
    """The end of a sentence about an unknown word: a full stop, or the known word that is closest to `text`."""
    close = difflib.get_close_matches(text, known, 1)
    return f": did you mean {close[0]}?" if close else "."


def positive(kind):
    """An argparse type: a number of the type `kind` above 0."""

    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            value = 0
        # Also false for NaN.
        if not 0 < value < float("inf"):
            raise argparse.ArgumentTypeError(f"expected {_NAMES[kind]} above 0, found {text!r}")
        return value

    return parse


_NAMES = {int: "a whole number", float: "a number"}
