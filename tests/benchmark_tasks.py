"""Tasks of lm-eval's format for a policy of few words: a dozen documents each, in local files."""

from __future__ import annotations

import json
import random
from pathlib import Path

CHOICES = """
task: words_choice
dataset_path: json
dataset_kwargs: {data_files: {test: choices.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: answer
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
"""
GENERATED = """
task: words_generated
dataset_path: json
dataset_kwargs: {data_files: {test: generated.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["."], max_gen_toks: 3, do_sample: false}
filter_list:
  - name: first
    filter:
      - {function: regex, regex_pattern: "([a-z0-9]+)"}
      - {function: take_first}
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
"""
PERPLEXITY = """
task: words_perplexity
dataset_path: json
dataset_kwargs: {data_files: {test: choices.jsonl}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{question}}"
metric_list:
  - {metric: word_perplexity, aggregation: weighted_perplexity, higher_is_better: false}
  - {metric: bits_per_byte, aggregation: bits_per_byte, higher_is_better: false}
"""
TASKS = {"choice": CHOICES, "generated": GENERATED, "perplexity": PERPLEXITY}


NUMBERED = [f"w{number}" for number in range(40)]


def write_tasks(folder: Path, words_known: list[str] = NUMBERED, documents: int = 12) -> list[str]:
    """Write the tasks and their documents; the paths of their yaml files."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(3)
    choices, generated = [], []
    for _ in range(documents):
        words = draw.sample(words_known, 6)
        question = " ".join(words[:3])
        choices.append({"question": question, "choices": words[3:], "answer": draw.randrange(3)})
        generated.append({"question": question, "answer": words[3]})
    for name, rows in {"choices": choices, "generated": generated}.items():
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    for name, text in TASKS.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return [str(folder / f"{name}.yaml") for name in TASKS]
