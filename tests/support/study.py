"""What the tests of the human study share: a small study of real images, and its server in a thread."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from starlette.testclient import TestClient

from colorbench.data import open_dataset
from protocols.human_study.build import build_study as building
from protocols.human_study.build.build_request import BuildRequest
from protocols.human_study.build.build_study import build
from protocols.human_study.server.application import make_app
from protocols.human_study.server.rate_limit import Rate, Rates
from protocols.human_study.server.served_study import Options, Study, open_study
from protocols.human_study.study_folder.design_schema import Design, Slot, read_design

ADMIN = "a-token-of-the-admin"
CLIENT = {
    "screen_width": 1280, "screen_height": 800, "window_width": 1280, "window_height": 720, "pixel_ratio": 1.0,
    "touch": False,
}  # fmt: skip
GENEROUS = Rates(Rate(1e6, 1e6), Rate(1e6, 1e6), Rate(1e6, 1e6), Rate(1e6, 1e6))
PRACTICE, TRIALS = 2, 4


def build_small(folder: Path, patch: Any) -> Path:
    """A study of the packaged images, colorized by the engine: two methods, four trials, short exposures."""
    # Only the tests with a browser need jsPsych, and fetch it.
    patch.setattr(building, "jspsych_files", dict)
    request = BuildRequest(
        models=("zoo/gray", "zoo/half-chroma"),
        data=open_dataset("samples"),
        output=folder,
        participants=6,
        trials=TRIALS,
        practice=PRACTICE,
        plates=2,
        exposure_ms=100,
        lead_ms=50,
        gap_ms=50,
        seed=3,
        threads=1,
        workers=0,
    )
    build(request)
    for name in ("jspsych.js", "plugin-call-function.js", "LICENSE.txt"):
        (folder / "form" / name).write_text("// not here\n")
    return folder


def copy_of(study: Path, folder: Path, **settings: Any) -> Path:
    """A study's folder to be served, with some settings changed; images and truth are the same."""
    shutil.copytree(study, folder, ignore=shutil.ignore_patterns("data", "exports"))
    if settings:
        path = folder / "design.json"
        design = json.loads(path.read_text())
        design["settings"].update(settings)
        path.write_text(json.dumps(design))
    return folder


@contextmanager
def routes(folder: Path, **options: Any) -> Iterator[TestClient]:
    """A client of the study's routes, without a network."""
    study = open_study(folder, Options(**{"rates": GENEROUS, **options}), ADMIN)
    with TestClient(make_app(study), raise_server_exceptions=False, follow_redirects=False) as client:
        client.study = study
        yield client


@contextmanager
def served(folder: Path, **options: Any) -> Iterator[tuple[str, Study]]:
    """The study on a free port of this machine: its address, and what it holds."""
    study = open_study(folder, Options(**{"rates": GENEROUS, **options}), ADMIN)
    config = uvicorn.Config(make_app(study), port=0, log_level="error", server_header=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}", study
    finally:
        server.should_exit = True
        thread.join(timeout=20)


class Participant:
    """Somebody who answers by requests alone."""

    def __init__(self, client: Any, worker: str = "", session: str = "", platform: str = "lab") -> None:
        self.client = client
        self.who = {"platform": platform, "worker": worker, "session": session or f"session of {worker or id(self)}"}
        self.token: str | None = None

    @property
    def id(self) -> str:
        """The neutral id."""
        assert self.token is not None
        return self.token.partition(".")[0]

    def headers(self) -> dict[str, str]:
        return {} if self.token is None else {"Authorization": f"Bearer {self.token}"}

    def post(self, name: str, body: Any = None) -> Any:
        return self.client.post(f"/api/{name}", json={} if body is None else body, headers=self.headers())

    def stimulus(self, trial: int, position: int) -> Any:
        return self.client.get(f"/api/stimuli/{trial}/{position}", headers=self.headers())

    def begin(self) -> Any:
        response = self.post("begin", {"who": self.who})
        if response.status_code == 200:
            self.token = response.json()["token"] or self.token
        return response

    def consent(self) -> Any:
        response = self.post("consent", {"who": self.who, "adult": True, "agreed": True, "client": CLIENT})
        if response.status_code == 200:
            self.token = response.json()["token"]
        return response

    def join(self) -> Participant:
        """Up to the first trial."""
        assert self.consent().status_code == 200
        assert self.post("screening", {"color_vision": "normal", "plates": ["2", "none"]}).status_code == 200
        return self

    def response(self, trial: int, **changes: Any) -> Any:
        return self.post("responses", body_of(trial, **changes))

    def play(self, count: int = PRACTICE + TRIALS) -> Participant:
        """All answers, in turn."""
        for trial in range(count):
            assert self.response(trial).status_code == 200
        return self


def body_of(trial: int, **changes: Any) -> dict[str, Any]:
    """An answer as the page sends it."""
    body = {
        "trial": trial, "response": "first", "reaction_ms": 512.5, "exposure_first_ms": 1000.1,
        "exposure_second_ms": 999.9, "frame_ms": 16.7, "focus_losses": 0, "input": "mouse",
    }  # fmt: skip
    return {**body, **changes}


def slot_of(study: Study, participant: str) -> Slot:
    """What a participant sees, from the design."""
    row = next(row for row in study.store.rows("participants") if row["participant"] == participant)
    return study.store.slots[row["slot"]]


def design_of(folder: Path) -> Design:
    return read_design(folder)
