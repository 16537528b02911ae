"""The spool is the truth of a run: it must survive kills, threads and numbers that JSON lacks."""

from __future__ import annotations

import json
import math
import threading
from pathlib import Path

from rlexp.tracking.spool import Sent, Spool, read_events


def events_of(path: Path, offset: int = 0) -> list[dict]:
    return [event for event, _ in read_events(path, offset)]


def test_offsets_lead_exactly_behind_each_event(tmp_path: Path) -> None:
    """An offset counted in characters instead of bytes would re-read or skip after `é`."""
    path = tmp_path / "spool.jsonl"
    spool = Spool(path)
    for text in ("é", "评论", "plain"):
        spool.append({"text": text})
    offsets = [offset for _, offset in read_events(path)]
    assert [events_of(path, offset) for offset in [0, *offsets]] == [
        [{"text": "é"}, {"text": "评论"}, {"text": "plain"}],
        [{"text": "评论"}, {"text": "plain"}],
        [{"text": "plain"}],
        [],
    ]


def test_half_written_last_line_is_left_for_later(tmp_path: Path) -> None:
    """Sending half an event, or moving past it, would lose it once its writer is done."""
    path = tmp_path / "spool.jsonl"
    path.write_bytes(b'{"n":1}\n{"n":')
    ((_, offset),) = read_events(path)
    with path.open("ab") as file:
        file.write(b"2}\n")
    assert events_of(path, offset) == [{"n": 2}]


def test_writer_after_a_kill_starts_a_line_of_its_own(tmp_path: Path) -> None:
    """Appended to the torn line of a killed writer, the next event would be lost with it."""
    path = tmp_path / "spool.jsonl"
    path.write_bytes(b'{"n":1}\n{"torn":')
    Spool(path).append({"n": 2})
    assert events_of(path) == [{"n": 1}, {"n": 2}]


def test_infinities_and_nan_come_back_as_they_went_in(tmp_path: Path) -> None:
    """Bare NaN is no JSON: other readers of the spool would stumble over the line."""
    path = tmp_path / "spool.jsonl"
    values = {"nan": math.nan, "up": math.inf, "down": -math.inf, "plain": 0.1}
    Spool(path).append({"metrics": values, "nested": [{"deep": math.nan}]})

    def forbidden(constant: str) -> None:
        raise AssertionError(f"bare {constant} in the spool")

    event = json.loads(path.read_text(), parse_constant=forbidden)
    back = {name: float(value) for name, value in event["metrics"].items()}
    assert math.isnan(back.pop("nan"))
    assert back == {"up": math.inf, "down": -math.inf, "plain": 0.1}


def test_threads_do_not_tear_each_others_lines(tmp_path: Path) -> None:
    """The machine's metrics come from the courier's thread while the training logs."""
    path = tmp_path / "spool.jsonl"
    spool = Spool(path)

    def write(author: int) -> None:
        for number in range(200):
            spool.append({"author": author, "number": number, "text": "x" * 5000})

    threads = [threading.Thread(target=write, args=(author,)) for author in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written = [(event["author"], event["number"]) for event in events_of(path)]
    assert sorted(written) == [(author, number) for author in range(6) for number in range(200)]


def test_sent_is_replaced_whole(tmp_path: Path) -> None:
    """A kill in the middle of writing must not leave an empty `spool.sent`."""
    path = tmp_path / "spool.sent"
    assert Sent.load(path) == Sent()
    Sent(offset=12, run_id="abc").save(path)
    (tmp_path / "spool.sent.new").write_text('{"offs')
    assert Sent.load(path) == Sent(offset=12, run_id="abc")
    Sent(offset=30, run_id="abc", refused=1).save(path)
    assert Sent.load(path) == Sent(offset=30, run_id="abc", refused=1)
