"""What cheap strategies earn from a reward, before anything is trained on it

`python -m rlexp probe [group=choice] [key=value] … [--no-model] [--rows N]`

The words are those of a run. Its reward scores answers that know nothing: empty ones, echoes of the
prompt, one constant, another row's, a form without content, an instruction to the judge; beside the
data's own answers and the model's. What earns more than half of what right answers earn is what a
training will find. Of data=mix each source has its table as well. Nothing is trained; what was
found is kept as probe.json in a folder below outputs/.

  python -m rlexp probe experiment=gsm8k_grpo reward=math --no-model
  python -m rlexp probe reward=python reward.function=my_reward:score

With scoring.probe=refuse a warning is a mistake, and the exit status 2.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rlexp.cli.arguments import Parser, console_of_width
from rlexp.cli.exit_status import reported
from rlexp.spec.errors import Problem, UserError

WIDTH = 132
"""Columns of the table where the output is no terminal."""
FOLDER = "hydra.run.dir="


def run(argv: list[str]) -> int:
    """Probe; the exit status, as for a run."""
    return reported(lambda: _probe(argv))


def _probe(argv: Sequence[str]) -> None:
    from rlexp.cli.composed_run import compose_run

    parser = Parser("probe", __doc__)
    parser.add_argument("--no-model", action="store_true", help="leave the model's answers out")
    parser.add_argument("--rows", type=int, metavar="N", help="held-out prompts")
    options, words = parser.parse_known_args(argv)
    if options.rows is not None and options.rows < 1:
        raise UserError(Problem("--rows", str(options.rows), "a number of prompts, 1 at least"))
    config, spec = compose_run(words)
    if not spec.reward.scores_anything:
        remedy = "Name one: reward=sentiment, or another that `python -m rlexp --help` lists."
        raise UserError(Problem("reward", spec.reward.name, "a reward that scores", remedy))

    from rlexp.config.stored import write_config
    from rlexp.launch.launcher import new_folder
    from rlexp.launch.reward_probe import probe_run
    from rlexp.probing.before_training import refusal
    from rlexp.probing.report import print_probe, probe_json
    from rlexp.rendering.progress import Terminal
    from rlexp.runtime.files import write_atomically
    from rlexp.runtime.run_folder import PROBE

    terminal = Terminal()
    probes = probe_run(spec, options.rows, not options.no_model, terminal)
    named = [Path(word.removeprefix(FOLDER)) for word in words if word.startswith(FOLDER)]
    folder = named[-1] if named else new_folder()
    folder.mkdir(parents=True, exist_ok=True)
    write_config(folder, config)
    as_json = {name: probe_json(*probed) for name, probed in probes.items()}
    whole = as_json.pop("") | ({"sources": as_json} if as_json else {})
    write_atomically(folder / PROBE, json.dumps(whole, ensure_ascii=False, indent=1))
    for name, probed in probes.items():
        print_probe(*probed, console_of_width(WIDTH), name)
    print(folder)
    warnings = [warning for _, verdict in probes.values() for warning in verdict.warnings]
    if spec.scoring.probe == "refuse" and warnings:
        raise refusal(spec.reward.name, warnings)
