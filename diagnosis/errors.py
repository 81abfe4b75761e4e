"""How a stage ends when something is wrong: one clear line and exit code 1."""

import os
import sys
import traceback


class UserError(Exception):
    """A mistake the user can mend. The message is one line: what is wrong, where, what to do. Never note text."""


def run(main) -> None:
    """Run a stage's or tool's `main` and turn its failures into an exit code.

    A `UserError` is printed as one line. Anything else is a bug: the stack is printed, but the exception's own message
    is not, because library messages quote the data they choked on (a note's text, a patient's name).
    """
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {' '.join(str(error).split())}")
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if os.environ.get("DIAGNOSIS_DEBUG") == "1":
            raise
        frames = "".join(traceback.format_tb(error.__traceback__))
        sys.exit(
            f"{frames}error: unexpected {type(error).__name__}; its message may quote a note and is withheld, "
            "set DIAGNOSIS_DEBUG=1 to see it"
        )
