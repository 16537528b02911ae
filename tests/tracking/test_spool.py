"""The spool is the truth of a run: it must survive kills, threads and numbers that JSON lacks."""

from __future__ import annotations

import json
import math
import threading
from pathlib import Path

import pytest

from rlexp.tracking.spool.spool import Spool, UploadState, read_events, torn_lines


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
    assert UploadState.load(path) == UploadState()
    UploadState(offset=12, run_id="abc").save(path)
    (tmp_path / "spool.sent.new").write_text('{"offs')
    assert UploadState.load(path) == UploadState(offset=12, run_id="abc")
    UploadState(offset=30, run_id="abc", refused=1).save(path)
    assert UploadState.load(path) == UploadState(offset=30, run_id="abc", refused=1)


def test_few_kinds_are_found_as_among_all(tmp_path: Path) -> None:
    """The short way passes over lines unread: a kind must not be found in a text, nor missed."""
    path = tmp_path / "spool.jsonl"
    spool = Spool(path)
    for n, kind in enumerate(("start", "note", "metrics", "end")):
        spool.append({"t": 1_700_000_000_000, "kind": kind, "n": n, "text": '"kind":"end"' * 9})
    found = [event["n"] for event, _ in read_events(path, kinds=("start", "end"))]
    assert found == [0, 3]


@pytest.mark.parametrize("line", [b"\0" * 40, b'{"n":2}{"n"', b"17", b"[1]", b"\xff\xfe", b'"x"'])
def test_ruins_of_a_power_cut_are_passed_over(line: bytes, tmp_path: Path) -> None:
    """Blocks that never reached the disk come back as zeros; a bare number is JSON and no event."""
    path = tmp_path / "spool.jsonl"
    path.write_bytes(b'{"n":1}\n' + line + b'\n{"n":3}\n')
    assert events_of(path) == [{"n": 1}, {"n": 3}]
    assert torn_lines(path) == 1


def test_spool_that_lost_its_end_is_sent_again(tmp_path: Path) -> None:
    """After a power cut new events stand before the remembered offset, and would never be sent."""
    path = tmp_path / "spool.jsonl"
    spool = Spool(path)
    for n in range(3):
        spool.append({"n": n})
    sent = UploadState(run_id="abc").advanced_to(path.stat().st_size, path)
    assert sent.validated(path) == sent
    assert not sent.is_behind(path)
    whole = path.read_bytes()
    for size in range(len(whole) - 1):  # a line that lacks only its end is mended
        path.write_bytes(whole[:size])
        again = Spool(path)
        for n in range(3):
            again.append({"n": n, "late": True})
        assert sent.validated(path) == UploadState(run_id="abc", lost=True), size
        assert sent.is_behind(path)
        assert [event["n"] for event in events_of(path) if event.get("late")] == [0, 1, 2]


@pytest.mark.parametrize("ruin", ["", "\0\0\0", '{"offset": 1', '{"unknown": 1}', "[]", "7"])
def test_ruined_note_of_what_was_sent_means_the_beginning(ruin: str, tmp_path: Path) -> None:
    """A file replaced just before a power cut may be empty: its run could never be sent again."""
    (tmp_path / "spool.sent").write_text(ruin)
    assert UploadState.load(tmp_path / "spool.sent") == UploadState()
