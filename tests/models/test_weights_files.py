"""Weights files: nothing is run, nothing wrong is taken, and every refusal is one line."""

from __future__ import annotations

import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from colorbench.errors import RunError, UserError
from colorbench.models import weights_download
from colorbench.models.weights_download import fetch, resolve_weights
from colorbench.models.weights_files import check_shapes, load_weights, save_weights
from colorbench.storage import file_sha256

STATE = {"layer.weight": torch.arange(6.0).reshape(2, 3).half(), "layer.count": torch.tensor(7)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A weights file that ``save_weights`` wrote."""
    path = tmp_path / "net.safetensors"
    save_weights(STATE, path)
    return path


def same(loaded: dict[str, torch.Tensor]) -> bool:
    return loaded.keys() == STATE.keys() and all(
        torch.equal(loaded[name], value) and loaded[name].dtype == value.dtype for name, value in STATE.items()
    )


def test_what_was_saved_comes_back_and_the_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "net.safetensors"
    sha256 = save_weights(STATE, path)
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest() == file_sha256(path)
    assert same(load_weights(path, sha256))
    assert [entry.name for entry in path.parent.iterdir()] == ["net.safetensors"]


def test_tensors_that_share_memory_and_views_can_be_saved(tmp_path: Path) -> None:
    tied = torch.arange(4.0).reshape(2, 2)
    path = tmp_path / "tied.safetensors"
    save_weights({"a": tied, "b": tied, "c": tied.T}, path)
    loaded = load_weights(path)
    assert torch.equal(loaded["a"], loaded["b"])
    assert loaded["c"].tolist() == [[0, 2], [1, 3]]


def test_a_wrong_hash_shows_both(file: Path) -> None:
    wanted = "0" * 64
    with pytest.raises(UserError) as caught:
        load_weights(file, wanted)
    assert wanted in str(caught.value)
    assert file_sha256(file) in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_state_dict_that_torch_saved_is_read(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    torch.save(STATE, path)
    assert same(load_weights(path))


class Bomb:
    """Unpickling it would run code."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.trace,)  # type: ignore[return-value]


def test_a_file_that_would_run_code_is_refused_and_runs_none(tmp_path: Path) -> None:
    path, trace = tmp_path / "net.pth", tmp_path / "was-run"
    torch.save({"weight": Bomb(trace)}, path)
    with pytest.raises(UserError, match="contains more than tensors, or is damaged"):
        load_weights(path)
    assert not trace.exists()
    torch.load(path, weights_only=False)  # the control: without the guard it does run
    assert trace.exists()


def test_a_checkpoint_of_more_than_tensors_says_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.save({"state_dict": STATE, "step": 3}, path)
    with pytest.raises(UserError, match="not contain a plain state dict, but: state_dict, step"):
        load_weights(path)


@pytest.mark.parametrize("name", ["net.safetensors", "net.pth"])
def test_a_truncated_file_is_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if path.suffix == ".pth":
        torch.save(STATE, path)
    else:
        save_weights(STATE, path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=f"{name}") as caught:
        load_weights(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["net.npz", "net"])
def test_another_kind_of_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(UserError, match="safetensors"):
        load_weights(tmp_path / name)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    for read in (load_weights, resolve_weights):
        with pytest.raises(UserError, match="no such weights file"):
            read(tmp_path / "none.safetensors")


def test_shapes_are_compared_before_anything_is_loaded(file: Path) -> None:
    check_shapes(STATE, STATE, file)
    wanted = {"layer.weight": torch.zeros(2, 4), "layer.bias": torch.zeros(2), "layer.scale": torch.zeros(2)}
    with pytest.raises(UserError) as caught:
        check_shapes(STATE, wanted, file)
    for message in (
        "2 missing (the first: layer.bias)",
        "1 unknown (the first: layer.count)",
        "1 of another shape (the first: layer.weight is (2, 3), the network's (2, 4))",
        "net.safetensors",
    ):
        assert message in str(caught.value)


def left_in(folder: Path) -> list[str]:
    """Names of the files of a folder but locks, which stay."""
    return [path.name for path in folder.iterdir() if path.suffix != ".lock"]


@pytest.fixture
def server(file: Path) -> Iterator[str]:
    """The address of a web server on this machine that has the file."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

        def do_GET(self) -> None:
            if self.path != "/cut.safetensors":
                super().do_GET()
                return
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"no more than this")

    handler = functools.partial(Quiet, directory=str(file.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_a_download_is_full_checked_or_not_there(server: str, file: Path, tmp_path: Path) -> None:
    target = tmp_path / "cache" / "net.safetensors"
    with pytest.raises(UserError, match="expected 0000"):
        fetch(f"{server}/{file.name}", target, "0" * 64)
    with pytest.raises(RunError, match="404"):
        fetch(f"{server}/none.safetensors", target)
    with pytest.raises(RunError, match="download was interrupted"):  # and no hash could tell
        fetch(f"{server}/cut.safetensors", target)
    with pytest.raises(RunError, match="download failed"):
        fetch("http://127.0.0.1:9/net.safetensors", target)
    assert left_in(target.parent) == []
    fetch(f"{server}/{file.name}", target, file_sha256(file))
    assert target.read_bytes() == file.read_bytes()


def test_an_address_is_downloaded_once(
    server: str, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    calls = []

    def by_http(address: str, target: Path, sha256: str | None = None) -> None:
        calls.append(address)
        fetch(address.replace("https://example.org", server), target, sha256)

    monkeypatch.setattr(weights_download, "fetch", by_http)
    source = f"https://example.org/{file.name}?download=1"
    assert same(load_weights(resolve_weights(source, file_sha256(file))))
    monkeypatch.setenv("COLORBENCH_OFFLINE", "1")  # what is here needs no network
    assert same(load_weights(resolve_weights(source)))
    assert calls == [source]
    with pytest.raises(UserError, match="expected 0000"):
        resolve_weights(source, "0" * 64)


@pytest.mark.parametrize("variable", weights_download.OFFLINE)
@pytest.mark.parametrize("source", ["https://example.org/net.safetensors", "hf:nobody/nothing/net.safetensors"])
def test_offline_nothing_is_downloaded(
    source: str, variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv(variable, "1")
    with pytest.raises(UserError, match="downloads are switched off"):
        resolve_weights(source)


def test_offline_the_hubs_cache_is_used(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import file_download

    cache = tmp_path / "hub"
    snapshot = cache / "models--someone--colors" / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "net.safetensors").write_bytes(file.read_bytes())
    (cache / "models--someone--colors" / "refs").mkdir()
    (cache / "models--someone--colors" / "refs" / "main").write_text("a" * 40)
    monkeypatch.setattr(file_download.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setenv("COLORBENCH_OFFLINE", "1")
    assert same(load_weights(resolve_weights("hf:someone/colors/net.safetensors", file_sha256(file))))
    assert same(load_weights(resolve_weights(f"hf:someone/colors/net.safetensors@{'a' * 40}")))


@pytest.mark.parametrize("source", ["http://example.org/net.safetensors", "ftp://x/net.pth", "hf:someone/colors"])
def test_other_sources_are_refused(source: str) -> None:
    with pytest.raises(UserError, match="https|hf:OWNER"):
        resolve_weights(source)


def test_a_local_file_resolves_to_itself(file: Path) -> None:
    assert resolve_weights(str(file), file_sha256(file)) == file


class Breaking(http.server.SimpleHTTPRequestHandler):
    """A server that knows ranges and breaks off after some bytes; it notes where each request began."""

    data = bytes(range(256)) * 400
    starts: list[int] = []
    most = 40_000
    knows_ranges = True

    def do_GET(self) -> None:
        asked = self.headers["Range"] if self.knows_ranges else None
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        self.starts.append(start)
        if asked and start >= len(self.data):
            self.send_error(416)
            return
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(self.data) - start))
        self.end_headers()
        self.wfile.write(self.data[start : start + self.most])

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def breaking(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a file of 102,400 bytes on a server that breaks off."""
    monkeypatch.setattr(Breaking, "starts", [])
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Breaking) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/net.pth"
        running.shutdown()


SHA256 = hashlib.sha256(Breaking.data).hexdigest()


def test_a_download_that_breaks_off_is_continued_by_the_next_call(breaking: str, tmp_path: Path) -> None:
    target = tmp_path / "net.pth"
    for _ in range(2):
        with pytest.raises(RunError, match="download"):
            fetch(breaking, target, SHA256)
        assert not target.exists()
    fetch(breaking, target, SHA256)
    assert target.read_bytes() == Breaking.data
    assert Breaking.starts == [0, 40_000, 80_000]
    assert left_in(tmp_path) == ["net.pth"]


def test_parts_of_another_file_are_found_by_the_hash_and_removed(breaking: str, tmp_path: Path) -> None:
    target, part = tmp_path / "net.pth", tmp_path / ".net.pth.part"
    for size in (90_000, 102_400, 200_000):  # shorter than the file, as long (416), longer (416)
        part.write_bytes(b"x" * size)
        with pytest.raises(UserError, match=f"expected {SHA256}"):
            fetch(breaking, target, SHA256)
        assert left_in(tmp_path) == []


def test_a_server_without_ranges_sends_the_file_from_its_start(
    breaking: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Breaking, "knows_ranges", False)
    monkeypatch.setattr(Breaking, "most", 200_000)
    (tmp_path / ".net.pth.part").write_bytes(b"x" * 50_000)
    fetch(breaking, tmp_path / "net.pth", SHA256)
    assert (tmp_path / "net.pth").read_bytes() == Breaking.data


def test_without_a_hash_nothing_is_continued(breaking: str, tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(RunError, match="download"):
            fetch(breaking, tmp_path / "net.pth")
    assert Breaking.starts == [0, 0]
    assert left_in(tmp_path) == []


def test_of_several_that_want_one_file_one_downloads_it(
    breaking: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Breaking, "most", 200_000)
    threads = [threading.Thread(target=fetch, args=(breaking, tmp_path / "net.pth", SHA256)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "net.pth").read_bytes() == Breaking.data
    assert len(Breaking.starts) == 1
