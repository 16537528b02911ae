"""Progress on the terminal: one line for each stage of a run, a bar for the long ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Terminal:
    """What a run prints on standard output."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)

    def say(self, text: str) -> None:
        """Print one plain line."""
        self.console.print(text, markup=False)

    @contextmanager
    def bar(self, title: str) -> Iterator[Callable[[int, int, str], None]]:
        """Show a bar for the time of the block; call it with step, steps and a few words.

        Where the output is no terminal, a line after the block tells what the bar would have.
        """
        columns = [
            TextColumn("{task.description:12}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[words]}"),
            TimeRemainingColumn(),
        ]
        state: dict[str, object] = {"step": 0, "steps": None, "words": ""}
        with Progress(*columns, console=self.console, transient=True) as progress:
            task = progress.add_task(title, total=None, words="")

            def advance(step: int, steps: int, words: str) -> None:
                state.update(step=step, steps=steps, words=words)
                progress.update(task, completed=step, total=steps, words=words)

            yield advance
        if state["steps"] is not None:
            self.say(f"{title:12} {state['step']}/{state['steps']}  {state['words']}")
