"""The card of any model: what it is worth, and against another one what has changed

`python -m rlexp evaluate RUN|PATH … [--against RUN|PATH] [--checkpoint NAME] [key=value …]`

A RUN is an id or its beginning, a name, or the folder of a run or of a sweep; its model is compared
with the one that it began with, by the run's own data, reward and evaluation. A PATH is a model's
folder, a hub id, or registry:NAME@ALIAS; it is measured on the default run's data, and alone unless
--against names another one. data=, reward= and eval= choose others, and any key can be set:

  python -m rlexp evaluate outputs/2026-03-14/15-09-26 reward=length eval.slices=[topic]
  python -m rlexp evaluate my-model --against their-model data=file data.path=prompts.jsonl

Each is recorded like a run, with card.json and card.html in a folder of its own below outputs/.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlexp.cli.arguments import Parser, console_of_width, lookup_store
from rlexp.cli.exit_status import import_from_here, reported
from rlexp.runtime.run_folder import CARD
from rlexp.spec.errors import Problem, UserError

KEY = "evaluate"


def run(argv: list[str]) -> int:
    """Make the cards; return the exit status, as for a run."""
    return reported(lambda: _evaluate(argv))


def _evaluate(argv: Sequence[str]) -> None:
    from rlexp.launch.evaluation_plan import plan_evaluations

    parser = Parser(KEY, __doc__)
    parser.add_argument("words", metavar="RUN|PATH|key=value", nargs="*")
    parser.add_argument("--against", metavar="RUN|PATH", help="what all are compared with")
    parser.add_argument("--checkpoint", metavar="NAME", help="step-000030: of the runs")
    options = parser.parse_intermixed_args(argv)
    words = [word for word in options.words if not _is_override(word)]
    overrides = [word for word in options.words if _is_override(word)]
    if not words:
        remedy = "`python -m rlexp ls` lists the runs that there are."
        raise UserError(Problem(KEY, "no model", "a run, or a model's folder or hub id", remedy))
    store = lookup_store(overrides)
    import_from_here()
    plans = plan_evaluations(words, overrides, options.against, store, options.checkpoint)

    from rlexp.launch.launcher import launch_new_run

    folders = []
    for number, (config, spec) in enumerate(plans, start=1):
        if len(plans) > 1:
            print(f"{number} of {len(plans)}: {spec.name}")
        folders.append(launch_new_run(config, spec))
        print(folders[-1])
    if len(folders) > 1:
        _print_table(folders)


def _is_override(word: str) -> bool:
    """Whether a word is no folder: those of sweeps have an equals sign in their names."""
    return "=" in word and not Path(word).exists()


def _print_table(folders: Sequence[Path]) -> None:
    from rich.table import Table
    from rich.text import Text

    from rlexp.rendering.numbers import interval, number, share

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("evaluated")
    for heading in ("reward", "95% interval", "win rate", "KL, nats", "perplexity"):
        table.add_column(heading, justify="right", no_wrap=True)
    for folder in folders:
        card: dict[str, Any] = json.loads((folder / CARD).read_text(encoding="utf-8"))
        after, win_rate = card["after"], card["win_rate"]
        metric = "reward" if "reward" in after else "accuracy"
        table.add_row(
            Text(card["name"]),
            number(after.get(metric)),
            interval(*card["intervals"].get(metric, (None, None))),
            share(win_rate) if win_rate is not None else number(None),
            number(after.get("kl_sequence")),
            number(after.get("perplexity")),
        )
    console_of_width().print("", table, sep="\n")
