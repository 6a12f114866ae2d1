"""``study serve``: run the server of a study until it is stopped."""

from __future__ import annotations

import ipaddress
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from colorbench.errors import UserError
from colorbench.storage import Lock
from protocols.human_study.server.admin_page import PENDING
from protocols.human_study.server.application import make_app
from protocols.human_study.server.served_study import Options, Study, open_study
from protocols.human_study.server.study_texts import check_texts
from protocols.human_study.study_folder.design_schema import read_design
from protocols.human_study.study_folder.file_names import DATA, TEXTS, TEXTS_FOLDER
from protocols.human_study.study_folder.outdated_analyses import advice
from protocols.human_study.study_folder.response_export import export

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def serve(
    folder: Path,
    *,
    host: str,
    port: int,
    options: Options,
    admin_token: str | None,
    say: Callable[[str], None],
    allow_placeholder_texts: bool = False,
) -> None:
    """Serve a study until it is stopped, then export its tables.

    Raises:
        UserError: for a folder that is not a study, texts that still contain a placeholder (unless allowed), an
            address that is in use, or a study that is already served.
    """
    import uvicorn

    read_design(folder)
    if not allow_placeholder_texts:
        check_texts(Path(folder) / TEXTS_FOLDER, TEXTS)
    data = Path(folder) / DATA
    data.mkdir(exist_ok=True)
    lock = Lock.take(data / "served.lock")
    if lock is None:
        raise UserError("this study is already being served", where=str(folder), hint="stop that server first")
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        lock.release()
        raise UserError(f"cannot listen on {host}:{port}: {error.strerror}", hint="choose another --port") from error
    study = open_study(folder, options, admin_token)
    for line in greeting(study, host, listening.getsockname()[1]):
        say(line)
    config = uvicorn.Config(
        make_app(study),
        log_level="warning",
        access_log=False,  # a log of requests would store the addresses that the study promises not to store
        server_header=False,
        proxy_headers=options.public_url is not None,
        forwarded_allow_ips="127.0.0.1,::1",
        timeout_keep_alive=30,
        limit_concurrency=2000,
        h11_max_incomplete_event_size=16 * 1024,
    )
    # Ctrl-C stops the server, not the process: the tables are exported afterwards.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        uvicorn.Server(config).run(sockets=[listening])
    except KeyboardInterrupt:
        pass
    finally:
        listening.close()
        lock.release()
    written = export(folder)
    say(f"stopped; the tables are in {written[0].parent}")
    for line in [*([PENDING] if study.store.deletion_pending else []), *advice(folder)]:
        say(line)


def greeting(study: Study, host: str, port: int) -> list[str]:
    """Return the lines that ``study serve`` prints when it listens on an address of this machine."""
    public, online = study.options.public_url, "to go online, use an https reverse proxy and --public-url"
    address = (public or f"http://{_in_address(host)}:{port}").rstrip("/")
    lines = [
        f"participants: {address}/",
        f"admin:        {address}/admin   token: {study.secrets.admin_token}",
        "stop with Ctrl-C; every acknowledged response is on disk",
    ]
    if public is None and _loopback(host):
        lines.insert(2, f"reachable from this machine only; {online}")
    elif public is None:
        lines.insert(2, f"reachable from the network, without https: use a trusted network only; {online}")
    return lines


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"


def _in_address(host: str) -> str:
    """Return what participants use in an address for the host that the server listens on."""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return host
    if found.is_unspecified:  # all networks of this machine
        found = _own_address(found)
    return f"[{found}]" if found.version == 6 else str(found)


def _own_address(every: _Address) -> _Address:
    """Return the address of this machine in its main network; the loopback address without a network."""
    six = every.version == 6
    with socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("2001:db8::1" if six else "192.0.2.1", 9))  # chooses the network; sends nothing
        except OSError:
            return ipaddress.ip_address("::1" if six else "127.0.0.1")
        return ipaddress.ip_address(probe.getsockname()[0].partition("%")[0])
