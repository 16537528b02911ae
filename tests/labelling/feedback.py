"""Judgements as tests write them down."""

from __future__ import annotations

from importlib import import_module

from rlexp.labelling.items import Collected, collect_items
from rlexp.labelling.reading import Judgement
from rlexp.labelling.words import SIDES
from rlexp.spec.labelling import ImportSpec


def import_spec(*words: str) -> ImportSpec:
    """The options that words make of `conf/import.yaml`."""
    return import_module("rlexp.commands.import").parse_import(["FILE", *words])[1]


def pair(verdict: str, prompt: str = "p", a: str = "x", b: str = "yy") -> Judgement:
    """A judgement of two answers: `anna:a`, `:tie`."""
    annotator, _, winner = verdict.partition(":")
    return Judgement("f:1", prompt, (a, b), SIDES[winner], annotator or None, {})


def rating(verdict: str, prompt: str | None = "p", answer: str = "x") -> Judgement:
    """A judgement of one answer: `anna:4`."""
    annotator, _, score = verdict.partition(":")
    return Judgement("f:1", prompt, (answer,), float(score), annotator or None, {})


def collected(*judgements: Judgement, keep_last: bool = False) -> Collected:
    return collect_items(judgements, keep_last)
