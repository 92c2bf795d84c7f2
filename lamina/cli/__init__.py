"""The command line. This module stays free of torch, so that help is quick."""

import importlib
import os
import sys
from collections.abc import Callable

COMMANDS = {
    "list": ("show", "recipes, with their papers and their published and measured figures"),
    "data": ("show", "data sets that are known, or what one of them holds"),
    "train": ("train", "train a recipe on a data set of yours or a standard one"),
    "range": ("train", "test learning rates for a recipe, and plot the loss"),
    "evaluate": ("use", "held-out figures of a trained run"),
    "predict": ("use", "what a trained run says of pictures or rows"),
    "sample": ("use", "new examples from a trained run"),
    "latent": ("latent", "pictures of arithmetic with codes: interpolation, direction, analogy, manifold"),
    "turing": ("turing", "a page on which people tell real from generated images, and its figures"),
    "reproduce": ("reproduce", "train recipes and compare them with their published figures"),
}

USAGE = "usage: lamina COMMAND ...     (lamina COMMAND --help tells more)\n\n" + "\n".join(
    f"  {name:<10} {told}" for name, (_, told) in COMMANDS.items()
)


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return the exit status: 0, 2 for bad input, 128 + n after signal n."""
    words = sys.argv[1:] if arguments is None else arguments
    if not words or words[0] in ("-h", "--help"):
        print(USAGE)
        return 0
    if words[0] in ("-V", "--version"):
        from lamina import version

        print(f"lamina {version}")
        return 0
    return guarded(lambda: run(words[0], words[1:]))


def guarded(work: Callable[[], int]) -> int:
    """Do the work of a command or a script; return its exit status, 2 for bad input, 128 + n after signal n."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads make a busy machine ten times slower
    try:
        return work()
    except BrokenPipeError:  # the reader of our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt as stop:
        message, number = stop.args or ("stopped", 2)
        print(f"lamina: {message}", file=sys.stderr)
        return 128 + int(number)
    except (ValueError, ArithmeticError, OSError, ImportError) as error:
        if os.environ.get("LAMINA_TRACEBACK"):
            raise
        print(f"lamina: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def run(command: str, words: list[str]) -> int:
    """Import and run one command.

    Raises:
        ValueError: there is no such command.
    """
    if command not in COMMANDS:
        from difflib import get_close_matches

        near = get_close_matches(command, COMMANDS, 1)
        raise ValueError(
            f"unknown command '{command}'" + (f"; did you mean '{near[0]}'?" if near else "; see lamina --help")
        )
    module = importlib.import_module(f"lamina.cli.{COMMANDS[command][0]}")
    status: int = getattr(module, f"{command}_command")(words)
    return status
