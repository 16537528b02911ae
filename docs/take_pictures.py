"""Takes the pictures of docs/pictures: a small store made by real runs, seen in a real browser.

    pip install playwright pillow
    python docs/take_pictures.py FOLDER

Neither package is a dependency of rlexp. The browser is the Chromium of the system, or the one that
$CHROMIUM names. FOLDER keeps the store, so that a second call only takes the pictures again.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from mlflow import MlflowClient
from PIL import Image
from playwright.sync_api import sync_playwright

PICTURES = Path(__file__).parent / "pictures"
LARGEST = 200_000
"""Bytes of a picture."""
MODEL = "happy-reviews"
WIDTH, HEIGHT = 1500, 950
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]

RUNS = (
    ("algo=grpo", "train.max_steps=20", "eval.every=5", "train.best_metric=eval/reward"),
    ("algo=reinforce", "train.max_steps=20", "eval.every=5"),
    ("-m", "algo=dpo,rloo", "train.max_steps=20", "eval.every=5"),
)
SMALL = ("train.batch_size=32", "eval=quick", "eval.prompts=100", "train.checkpoint_every=5")


@dataclass(frozen=True)
class Shot:
    """A page of MLflow, and what must be seen on it."""

    name: str
    address: str
    seen: str
    click: str | None = None
    """A text that is clicked on."""


def main() -> int:
    """Make the store where there is none, then take the pictures; 1 when something is not seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder.absolute()
    if not (folder / "mlflow.db").is_file():
        make_store(folder)
    with served(folder) as address:
        missing = take(address, shots(address))
    for name in missing:
        print(f"{name}: not seen", file=sys.stderr)
    return 1 if missing else 0


def make_store(folder: Path) -> None:
    """Two runs, a sweep of two, and a registered model."""
    folder.mkdir(parents=True, exist_ok=True)
    rlexp = [sys.executable, "-m", "rlexp"]
    for run in RUNS:
        subprocess.run([*rlexp, *run, *SMALL], cwd=folder, check=True)
    promote = ["promote", "grpo-tiny-reviews-0", "--name", MODEL, "--alias", "champion"]
    subprocess.run([*rlexp, *promote], cwd=folder, check=True)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """MLflow's page of a store, on a free port of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        while process.poll() is None:
            try:
                urlopen(f"http://127.0.0.1:{port}/health").close()
                break
            except OSError:
                threading.Event().wait(0.3)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def shots(address: str) -> list[Shot]:
    """The pages, found through the store's own identifiers."""
    client = MlflowClient(address)
    experiment = client.get_experiment_by_name("rlexp")
    assert experiment
    number = experiment.experiment_id
    (run,) = client.search_runs([number], "attributes.run_name = 'grpo-tiny-reviews-0'")
    runs, page = f"/experiments/{number}/runs", f"/experiments/{number}/runs/{run.info.run_id}"
    mode = "?workflowType=machine_learning"  # MLflow begins in the mode for agents
    return [
        Shot("mlflow-runs", f"{runs}{mode}&viewStateShareKey=rlexp", "sweep of"),
        Shot("mlflow-charts", f"{runs}{mode}&compareRunsMode=CHART", "eval"),
        Shot("mlflow-samples", f"{page}/artifacts/samples/step-000020.json{mode}", "completion"),
        Shot("mlflow-description", f"{page}{mode}", "About this run"),
        Shot("mlflow-card", f"{page}/artifacts/card.html{mode}", "card.html"),
        Shot("mlflow-system", f"{page}/system-metrics{mode}", "system"),
        Shot("mlflow-models", f"/experiments/{number}/models{mode}", "Logged from"),
        Shot("mlflow-registry", f"/models/{MODEL}/versions/1{mode}", "How to load it"),
        Shot("mlflow-data", f"{page}{mode}", "About this run", click="reviews ("),
    ]


def take(address: str, wanted: list[Shot]) -> list[str]:
    """Take the pictures; the names of those on which something was not seen."""
    PICTURES.mkdir(exist_ok=True)
    browser = (
        os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    )
    missing = []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=FLAGS)
        page = chromium.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        page.set_default_timeout(40_000)
        page.goto(f"{address}/#/experiments?workflowType=machine_learning")
        page.wait_for_timeout(3000)
        assistant = page.locator("button[aria-label='Close']")  # it takes a third of the page
        if assistant.count():
            assistant.first.click()
        for shot in wanted:
            if not _show(page, address, shot):
                missing.append(shot.name)
            _save(page, PICTURES / f"{shot.name}.png")
        chromium.close()
    return missing


def _show(page: Any, address: str, shot: Shot) -> bool:
    from playwright.sync_api import TimeoutError as NotSeen

    page.goto(f"{address}/#{shot.address}")
    page.reload()
    try:
        page.wait_for_function("seen => document.body.innerText.includes(seen)", arg=shot.seen)
        if shot.click:
            page.get_by_text(shot.click).first.click()
    except NotSeen:
        return False
    finally:
        page.mouse.move(WIDTH / 2, HEIGHT - 5)
        page.wait_for_timeout(5000)  # charts draw themselves slowly
    return True


def _save(page: Any, path: Path) -> None:
    """A screenshot, with as many colours as fit the size."""
    page.screenshot(path=str(path))
    picture = Image.open(path).convert("RGB")
    for colours in (256, 64, 24):
        picture.quantize(colours).save(path, optimize=True)
        if path.stat().st_size < LARGEST:
            break
    print(f"{path.name}: {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    sys.exit(main())
