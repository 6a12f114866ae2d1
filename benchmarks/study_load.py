"""Load test of the study's server: 200 simultaneous participants while the server is killed three times.

    python -m benchmarks.study_load [--participants 200] [--trials 10] [--kills 3]

The server is a separate process, started as by a user, killed by SIGKILL at random times and restarted on the same
folder. Each participant sends a response until it is acknowledged, as the page does. At the end the database is
compared with the acknowledged responses: each must be stored once and unchanged.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import httpx
import numpy as np

from protocols.human_study.build.stimulus_files import files_of
from protocols.human_study.build.trial_assignment import draw_slots
from protocols.human_study.study_folder.design_schema import (
    DataPart,
    Design,
    Exclusions,
    Method,
    Stimulus,
    StudyImage,
    StudySettings,
)
from protocols.human_study.study_folder.file_names import FORM, JSPSYCH, TEXTS

CLIENT = {
    "screen_width": 1280,
    "screen_height": 800,
    "window_width": 1280,
    "window_height": 720,
    "pixel_ratio": 1.0,
    "touch": False,
}


def write_study(folder: Path, participants: int, trials: int) -> None:
    """Build a study without colorizers, for the server only."""
    methods, sentinel = ["bench/a", "bench/b"], "zoo/random"
    images = [f"{i}.png" for i in range(trials)]
    slots = draw_slots(
        participants=participants,
        trials=trials,
        sentinels=max(1, trials // 10),
        methods=methods,
        sentinel_method=sentinel,
        images=images,
        practice=[],
        assignment="within",
        seed=0,
    )
    stimuli, rng = [], np.random.default_rng(0)
    (folder / "stimuli").mkdir(parents=True)
    for image in images:
        versions = {name: rng.integers(0, 256, (16, 16, 3), dtype=np.uint8) for name in ("", *methods, sentinel)}
        for name, data in files_of(versions).items():
            file = f"{rng.bytes(8).hex()}.png"
            (folder / "stimuli" / file).write_bytes(data)
            stimuli.append(Stimulus(file=file, image=image, method=name or None, sha256="0" * 64))
    for part, names in (("form", (*FORM, *JSPSYCH)), ("texts", [f"{name}.md" for name in TEXTS])):
        (folder / part).mkdir()
        for name in names:
            (folder / part / name).write_text("-")
    design = Design(
        name="load",
        title="load",
        seed=0,
        created="",
        colorbench_version="",
        settings=StudySettings(
            participants=participants, trials=trials, sentinels=max(1, trials // 10), practice=0, plates=0
        ),
        exclusions=Exclusions(),
        data=DataPart(name="load", n=trials, fingerprint="", redistributable=True),
        methods=[Method(name=name, title=name, sentinel=name == sentinel) for name in (*methods, sentinel)],
        images=[StudyImage(id=name, sha256="0" * 64) for name in images],
        stimuli=stimuli,
        plates=[],
        slots=slots,
    )
    (folder / "design.json").write_text(design.model_dump_json())


def start(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """Start the server and return it when it is ready."""
    command = [sys.executable, "-m", "colorbench", "study", "serve", str(folder), "--port", str(port)]
    process = subprocess.Popen([*command, "--arrivals", "100000"], stdout=subprocess.DEVNULL)
    for _ in range(1200):
        try:
            httpx.get(f"http://127.0.0.1:{port}/health", timeout=1)
        except httpx.HTTPError:
            time.sleep(0.1)
        else:
            return process
    raise SystemExit("the server does not start")


class Participant:
    """One participant, with the acknowledged responses."""

    def __init__(self, number: int, client: httpx.AsyncClient, waits: list[float]) -> None:
        self.number, self.client, self.waits = number, client, waits
        self.headers: dict[str, str] = {}
        self.id = ""
        self.acknowledged: dict[int, dict[str, object]] = {}
        self.retried = 0

    async def post(self, name: str, body: object) -> httpx.Response:
        """Send a request until it is acknowledged."""
        while True:
            started = time.perf_counter()
            try:
                reply = await self.client.post(f"/api/{name}", json=body, headers=self.headers)
            except httpx.HTTPError:
                self.retried += 1
                await asyncio.sleep(0.1 + 0.2 * random.random())
                continue
            if reply.status_code == 429 or reply.status_code >= 500:
                self.retried += 1
                await asyncio.sleep(0.2)
                continue
            self.waits.append(time.perf_counter() - started)
            assert reply.status_code == 200, (name, reply.status_code, reply.text)
            return reply

    async def play(self, trials: int) -> None:
        """Run a session: consent, every trial, the end."""
        who = {"platform": "lab", "worker": f"worker {self.number}", "session": f"session {self.number}"}
        reply = await self.post("consent", {"who": who, "adult": True, "agreed": True, "client": CLIENT})
        token = reply.json()["token"]
        self.id, self.headers = token.partition(".")[0], {"Authorization": f"Bearer {token}"}
        await self.post("screening", {"color_vision": "normal", "plates": []})
        rng = random.Random(self.number)
        for trial in range(trials):
            body = {
                "trial": trial,
                "response": rng.choice(("first", "second")),
                "reaction_ms": round(rng.uniform(200, 3000), 2),
                "exposure_first_ms": 1000.0,
                "exposure_second_ms": 1000.0,
                "frame_ms": 16.7,
                "focus_losses": 0,
                "input": "key",
            }
            await self.post("study_data", body)
            self.acknowledged[trial] = body
        await self.post("finish", {"submit_to": ""})


async def run(
    folder: Path, port: int, participants: int, trials: int, kills: int
) -> tuple[list[Participant], int, list[float]]:
    """Run all participants at once, and kill the server meanwhile."""
    waits: list[float] = []
    limits = httpx.Limits(max_connections=participants)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60, limits=limits) as client:
        simulated = [Participant(number, client, waits) for number in range(participants)]
        process = await asyncio.to_thread(start, folder, port)
        playing = asyncio.gather(*(simulated_one.play(trials) for simulated_one in simulated))
        killed = 0
        for number in range(kills):
            share = (number + 0.5 + random.random() / 2) / (kills + 1)
            while sum(len(simulated_one.acknowledged) for simulated_one in simulated) < share * participants * trials:
                if playing.done():
                    break
                await asyncio.sleep(0.005)
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += not playing.done()
            process = await asyncio.to_thread(start, folder, port)
        await playing
        process.send_signal(signal.SIGKILL)  # the last stop is a kill, too
        process.wait()
    return simulated, killed, waits


def main() -> None:
    """Print the numbers of acknowledged and of stored responses."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--participants", type=int, default=200)
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--kills", type=int, default=3)
    chosen = parser.parse_args()
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as position:
        folder = Path(position) / "study"
        write_study(folder, chosen.participants, chosen.trials)
        started = time.perf_counter()
        simulated, killed, waits = asyncio.run(run(folder, port, chosen.participants, chosen.trials, chosen.kills))
        seconds = time.perf_counter() - started
        with closing(sqlite3.connect(folder / "data" / "study.sqlite")) as database:
            rows = database.execute("SELECT participant, trial, body FROM responses").fetchall()
            complete = database.execute("SELECT count(*) FROM participants WHERE status = 'complete'").fetchone()[0]
            sound = database.execute("PRAGMA integrity_check").fetchone()[0]
    there = [(participant, trial) for participant, trial, _ in rows]
    kept = {(participant, trial): json.loads(body) for participant, trial, body in rows}
    given = {
        (simulated_one.id, trial): body
        for simulated_one in simulated
        for trial, body in simulated_one.acknowledged.items()
    }
    lost = [key for key, body in given.items() if kept.get(key) != body]
    print(f"participants            {len(simulated)}, {chosen.trials} responses each, {os.cpu_count()} cores")
    print(f"killed by SIGKILL       {killed} times while they responded, and once at the end")
    print(f"sent again              {sum(simulated_one.retried for simulated_one in simulated)} requests")
    print(f"acknowledged            {len(given)}")
    print(f"lost or changed         {len(lost)}")
    print(f"there more than once    {len(there) - len(set(there))}")
    print(f"there, not acknowledged {len(set(there) - set(given))}")
    print(f"sessions complete       {complete}")
    print(f"database                {sound}")
    median, late = 1000 * np.quantile(waits, [0.5, 0.99])
    print(f"waiting for a response  median {median:.0f} ms, 99 % {late:.0f} ms")
    print(f"in all                  {seconds:.0f} s with the restarts")
    if lost or len(there) != len(set(there)) or killed < chosen.kills or len(given) != len(simulated) * chosen.trials:
        raise SystemExit("not as it must be")


if __name__ == "__main__":
    main()
