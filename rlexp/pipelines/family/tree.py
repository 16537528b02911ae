"""The family tree of a pipeline's stages, as text and as a picture.

A stage hangs on the stage whose model it goes on with; what else it uses (a reward model, samples)
is named beside it in the text, and is an arrow of its own in the picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from rlexp.pipelines.family.recorded import ENDED, MODEL_PARENT, RecordedStage
from rlexp.rendering.numbers import duration
from rlexp.rendering.svg import Plot

USES = {
    "reward.path": "reward",
    "data.path": "data",
    "algo.teacher": "teacher",
    "algo.critic_path": "critic",
    "best_of": "best of",
}
"""What people call that by which one stage uses another, by its key."""
STATES = {
    "used": "was there",
    "running": "is running",
    "failed": "FAILED",
    "waiting": "has not run",
}
"""What is said of a stage that this pipeline did not run to its end."""

WIDTH, HEIGHT, GAP_X, GAP_Y, EDGE = 168, 52, 76, 16, 8
MAX_CHARACTERS = 21
"""Of a name in its box."""


def use_name(key: str) -> str:
    """Return what people call the use of a stage by this key of a config.

    >>> use_name("reward.path"), use_name("reward.terms.rm.path")
    ('reward', 'reward.terms.rm')
    """
    return USES.get(key, key.removesuffix(".path"))


def render_tree(
    stages: Sequence[RecordedStage], base: str = "base", remarks: Mapping[str, str] | None = None
) -> str:
    """Return the tree in lines of text.

    Args:
        stages: in their order.
        base: the model that the first stages begin with.
        remarks: a few words at the end of a stage's line, by its name.

    >>> from pathlib import Path
    >>> def stage(name, **parents):
    ...     return RecordedStage(name, "", Path(), "", name, "finished", parents, None, 4.0)
    >>> print(render_tree([stage("sft"), stage("ppo", **{"model.path": ("sft",)})], "tiny"))
    tiny
    └─ sft     sft  4.0 s
       └─ ppo  ppo  4.0 s
    """
    branches = list(_branches(stages, _children(stages), None, ""))
    names = [f"{prefix}{stage.name}" for prefix, stage in branches]
    algos = [stage.algo for _, stage in branches]
    columns = max(map(len, names), default=0), max(map(len, algos), default=0)
    lines = [base]
    for name, (_, stage) in zip(names, branches, strict=True):
        uses = ", ".join(f"{use_name(key)} from {used}" for key, used in stage.others())
        parts = (_taken(stage), uses, (remarks or {}).get(stage.name, ""))
        said = "  ".join(part for part in parts if part)
        lines.append(f"{name:{columns[0]}}  {stage.algo:{columns[1]}}  {said}".rstrip())
    return "\n".join(lines)


def _children(stages: Sequence[RecordedStage]) -> dict[str | None, list[RecordedStage]]:
    """Return the stages that hang on each one; on None those that begin with the base."""
    names = {stage.name for stage in stages}
    children: dict[str | None, list[RecordedStage]] = {}
    for stage in stages:
        parent = stage.parent if stage.parent in names else None
        children.setdefault(parent, []).append(stage)
    return children


def _branches(
    stages: Sequence[RecordedStage],
    children: Mapping[str | None, Sequence[RecordedStage]],
    parent: str | None,
    indent: str,
) -> Iterator[tuple[str, RecordedStage]]:
    """Yield each stage below a parent, with the lines that lead to it."""
    below = children.get(parent, [])
    for stage in below:
        is_last = stage is below[-1]
        yield f"{indent}{'└─ ' if is_last else '├─ '}", stage
        deeper = indent + ("   " if is_last else "│  ")
        yield from _branches(stages, children, stage.name, deeper)


def _taken(stage: RecordedStage) -> str:
    """Return what became of a stage: the time that it took, or why there is none."""
    if stage.chosen:
        return f"is {stage.chosen}"
    if stage.state not in ENDED or stage.seconds is None:
        return STATES.get(stage.state, stage.state)
    seconds = duration(stage.seconds)
    return f"{seconds} ({STATES[stage.state]})" if stage.state in STATES else seconds


@dataclass(frozen=True)
class _Box:
    """Where a stage stands in the picture: its column, and its row, which may be a half."""

    column: int
    row: float

    @property
    def left(self) -> float:
        return EDGE + self.column * (WIDTH + GAP_X)

    @property
    def middle(self) -> float:
        return EDGE + self.row * (HEIGHT + GAP_Y) + HEIGHT / 2


def draw_tree(
    stages: Sequence[RecordedStage], base: str = "base", remarks: Mapping[str, str] | None = None
) -> Plot:
    """Return the tree as SVG, from left to right; the arguments are those of `render_tree`.

    Colours are the page's variables, and those of a light page where there are none.
    """
    boxes = _boxes(stages)
    by_name = {stage.name: stage for stage in stages}
    width = EDGE * 2 + WIDTH + (WIDTH + GAP_X) * max(box.column for box in boxes.values())
    height = EDGE * 2 + HEIGHT + (HEIGHT + GAP_Y) * max(box.row for box in boxes.values())
    parts = [
        f'<svg viewBox="0 0 {width:g} {height:g}" style="max-width:{width:g}px" '
        'font-family="system-ui, sans-serif" font-size="12">'
    ]
    for stage in stages:  # arrows first, so that boxes lie over them
        parent = stage.parent if stage.parent in by_name else ""
        parts.append(_arrow(boxes[parent], boxes[stage.name], MODEL_PARENT))
        known = [(key, used) for key, used in stage.others() if used in by_name]
        parts += [_arrow(boxes[used], boxes[stage.name], key) for key, used in known]
    parts.append(_box(boxes[""], base, "", ""))
    for stage in stages:
        second = f"{stage.algo} · {_taken(stage)}"
        third = (remarks or {}).get(stage.name, "")
        parts.append(_box(boxes[stage.name], stage.name, second, third, stage.state))
    return Plot("family tree", "\n".join([*parts, "</svg>"]))


def _boxes(stages: Sequence[RecordedStage]) -> dict[str, _Box]:
    """Return where each stage stands; the base by the empty name.

    A stage's column lies behind those of all that it uses, its row in the middle of its children's.
    """
    columns: dict[str, int] = {"": 0}
    for stage in stages:
        named = [stage.parent, *(name for _, name in stage.others())]
        used = [columns[name] for name in named if name in columns]
        columns[stage.name] = 1 + max(used, default=0)
    children = _children(stages)
    rows: dict[str, float] = {}
    free = iter(range(len(stages) + 1))

    def place(name: str) -> float:
        below = [place(stage.name) for stage in children.get(name or None, [])]
        rows[name] = (below[0] + below[-1]) / 2 if below else float(next(free))
        return rows[name]

    place("")
    return {name: _Box(columns[name], row) for name, row in rows.items()}


def _arrow(start: _Box, end: _Box, key: str) -> str:
    """Return a curve from one box to another; what is no model is dashed, and named."""
    x, y, to_x, to_y = start.left + WIDTH, start.middle, end.left, end.middle
    bend = max(GAP_X, to_x - x) / 2
    dashed = "" if key == MODEL_PARENT else ' stroke-dasharray="4 3"'
    path = f"M{x:g} {y:g}C{x + bend:g} {y:g} {to_x - bend:g} {to_y:g} {to_x:g} {to_y:g}"
    curve = (
        f'<path d="{path}" fill="none" stroke="var(--muted, #63666d)" stroke-width="1.4"{dashed}/>'
    )
    if key == MODEL_PARENT:
        return curve
    word = escape(use_name(key)[:MAX_CHARACTERS])
    return curve + (
        f'<text x="{(x + to_x) / 2:g}" y="{(y + to_y) / 2 + 4:g}" text-anchor="middle" '
        'font-size="10.5" fill="var(--muted, #63666d)" stroke="var(--panel, #ffffff)" '
        f'stroke-width="4" paint-order="stroke">{word}</text>'
    )


def _box(box: _Box, name: str, second: str, third: str, state: str = "") -> str:
    edge = "var(--warn, #a32318)" if state == "failed" else "var(--line, #d0ccc4)"
    top = box.middle - HEIGHT / 2
    lines = [line for line in (name, second, third) if line]
    spacing = HEIGHT / (len(lines) + 1)
    parts = [
        f'<rect x="{box.left:g}" y="{top:g}" width="{WIDTH}" height="{HEIGHT}" rx="6" '
        f'fill="var(--panel, #ffffff)" stroke="{edge}"/>'
    ]
    for place, line in enumerate(lines, start=1):
        weight = ' font-weight="600"' if place == 1 else ' font-size="10.5"'
        colour = "var(--ink, #1d1f23)" if place == 1 else "var(--muted, #63666d)"
        cut = line if len(line) <= MAX_CHARACTERS + 5 * (place > 1) else f"{line[:20]}…"
        parts.append(
            f'<text x="{box.left + 10:g}" y="{top + spacing * place + 4:g}"{weight} '
            f'fill="{colour}">{escape(cut)}</text>'
        )
    return "".join(parts)
