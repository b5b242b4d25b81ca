"""Real processes for tests and benchmarks: the emulator and the service, on free loopback ports, ended by their ids."""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

import httpx
import psycopg
from psycopg import sql

START_SECONDS = 60.0
STOP_SECONDS = 20.0
# What a worker process may take to notice that its parent is gone.
ORPHAN_SECONDS = 8.0
LOOK_SECONDS = 0.05
POSTGRES_VARIABLE = "IMGAPI_TEST_POSTGRES"
POSTGRES_URL = "postgresql://postgres@127.0.0.1:5432/postgres"
KEY = "sk-test"
_PROC = Path("/proc")


class Process:
    """An `imgapi` command as a process of its own. Its settings are those given, and none of ours.

    Attributes:
        address: Where it answers; the same after every start.
        log: Where its standard error goes, every start after the other.
        orphans: Children that outlived a kill until they were ended here, by id.

    Args:
        command: What follows `imgapi`, without the port.
        folder: Where the log is written.
        variables: Environment variables, ours beginning with IMGAPI_ or DASHSCOPE_ left out.
        probe: A path that answers 200 once the process is ready.
    """

    def __init__(self, command: str, folder: Path, variables: Mapping[str, str], probe: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"{command}.log"
        self.orphans: list[int] = []
        self.variables = dict(variables)
        self._command = command
        self._probe = probe
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The id of the running process."""
        assert self._process is not None, "the process was not started"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def launch(self) -> None:
        """Start the process without waiting until it is ready."""
        ours = ("IMGAPI_", "DASHSCOPE_")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "imgapi", self._command, "--port", str(self.port)],
                env=clean | self.variables,
                stdout=log,
                stderr=log,
            )

    def wait_until_ready(self) -> None:
        """Wait until the process answers its probe with 200.

        Raises:
            AssertionError: It has ended, or was not ready in time; its log is in the message.
        """
        deadline = time.monotonic() + START_SECONDS
        with httpx.Client(trust_env=False, timeout=5.0) as client:
            while time.monotonic() < deadline:
                assert self.is_running, f"imgapi {self._command} ended: {self.read_log()[-2000:]}"
                with contextlib.suppress(httpx.TransportError):
                    if client.get(f"{self.address}{self._probe}").status_code == httpx.codes.OK:
                        return
                time.sleep(LOOK_SECONDS)
        raise AssertionError(f"imgapi {self._command} was not ready in time: {self.read_log()[-2000:]}")

    def start(self) -> None:
        """Start the process and wait until it is ready."""
        self.launch()
        try:
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def kill(self) -> None:
        """End the process as a power cut would, and its children if they don't notice by themselves."""
        children = _descendants(self.pid) if self.is_running else {}
        self._signal(signal.SIGKILL)
        deadline = time.monotonic() + ORPHAN_SECONDS
        while (left := _still_there(children)) and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
        _end(left)
        self.orphans += left

    def stop(self) -> None:
        """Ask the process to end, and end it when it does not."""
        children = _descendants(self.pid) if self.is_running else {}
        self._signal(signal.SIGTERM)
        _end(_still_there(children))

    def read_log(self) -> str:
        """Everything it wrote, every start after the other."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def _signal(self, number: signal.Signals) -> None:
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(number)
        try:
            process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Emulator(Process):
    """The upstream: `imgapi emulator`, and its control plane.

    Args:
        folder: Where the log is written.
        variables: Further environment variables.
    """

    def __init__(self, folder: Path, **variables: str) -> None:
        given = {"IMGAPI_WORKERS": "1", "IMGAPI_ALLOW_PRIVATE_SOURCES": "true"} | variables
        super().__init__("emulator", folder, given, "/_emulator/settings")

    @property
    def base_url(self) -> str:
        """What a client of DashScope is pointed at."""
        return f"{self.address}/api/v1"

    def script(self, call: str, /, *, times: int | None = 1, chance: float = 1.0, **effect: Any) -> None:
        """Script a fault for one kind of call; `times` None is for ever."""
        self._control("POST", "faults", {"match": {"call": call}, "do": effect, "times": times, "chance": chance})

    def clear_faults(self) -> None:
        """Forget the faults that have not struck."""
        self._control("DELETE", "faults")

    def set_pace(self, **pace: Any) -> None:
        """Set how tasks submitted from now on progress; without arguments, at once."""
        self._control("POST", "settings", {"pace": pace})

    def grant_everything(self) -> None:
        """Stop enforcing limits, so that the record shows what a client does by itself."""
        self._control("POST", "settings", {"enforce_limits": False})

    def reset(self) -> None:
        """Forget tasks, pictures, faults and records; limits are no longer granted beyond the documented ones."""
        self._control("POST", "reset")

    def requests(self) -> list[dict[str, Any]]:
        """The last thousand calls received, oldest first."""
        calls: list[dict[str, Any]] = self._control("GET", "requests")["requests"]
        return calls

    def ledger(self) -> dict[str, Any]:
        """The counts."""
        return self._control("GET", "ledger")

    def list_tasks(self) -> list[dict[str, Any]]:
        """The upstream's own list of tasks with their times in milliseconds. Counts as a look at each."""
        rows: list[dict[str, Any]] = []
        with httpx.Client(trust_env=False, timeout=30.0, headers={"Authorization": f"Bearer {KEY}"}) as client:
            for page_no in range(1, 100):
                query = {"page_no": page_no, "page_size": 100}
                page = client.get(f"{self.base_url}/tasks", params=query).raise_for_status().json()
                rows += page["data"]
                if page_no >= page["total_page"]:
                    break
        return rows

    def _control(self, method: str, name: str, body: object = None) -> dict[str, Any]:
        url = f"{self.address}/_emulator/{name}"
        answer = httpx.request(method, url, json=body, trust_env=False, timeout=30.0)
        assert answer.status_code == httpx.codes.OK, answer.text
        document: dict[str, Any] = answer.json()
        return document


class Server(Process):
    """The service: `imgapi serve` with an emulator as its upstream.

    Attributes:
        data: Its data folder, kept from start to start.

    Args:
        folder: Where log and data folder are.
        upstream: Its upstream.
        variables: Further environment variables, which replace the usual ones.
    """

    def __init__(self, folder: Path, upstream: str, **variables: str) -> None:
        self.data = folder / "data"
        given = {
            "DASHSCOPE_API_KEY": KEY,
            "DASHSCOPE_BASE_URL": upstream,
            "IMGAPI_ALLOW_PRIVATE_SOURCES": "true",
            "IMGAPI_DATA_DIR": str(self.data),
            "IMGAPI_SHUTDOWN_SECONDS": "1",
            "IMGAPI_WORKERS": "1",
        }
        super().__init__("serve", folder, given | variables, "/readyz")


@contextlib.contextmanager
def database(server_url: str) -> Iterator[str]:
    """Make an empty PostgreSQL database, yield its URL, and drop it with those made beside it.

    Raises:
        psycopg.OperationalError: No server answers there.
    """
    name = f"imgapi_test_{secrets.token_hex(6)}"
    with psycopg.connect(server_url, autocommit=True, connect_timeout=5) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
        finally:
            rows = connection.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [name])
            for (beside,) in rows.fetchall():
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(beside)))


def postgres_url() -> str:
    """The PostgreSQL server that tests may make databases on."""
    return os.environ.get(POSTGRES_VARIABLE, POSTGRES_URL)


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _descendants(process_id: int) -> dict[int, str]:
    """Map the ids of all that descend from a process to their start ticks; empty where there is no /proc."""
    parents: dict[int, int] = {}
    for entry in _PROC.glob("[0-9]*"):
        if (fields := _stat(int(entry.name))) is not None:
            parents[int(entry.name)] = int(fields[1])
    found: set[int] = {process_id}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return {child: tick for child in found - {process_id} if (tick := _start_tick(child)) is not None}


def _still_there(children: Mapping[int, str]) -> list[int]:
    """Return those that still run; a later process of the same id is told apart by its start."""
    return [child for child, tick in children.items() if _start_tick(child) == tick]


def _end(process_ids: list[int]) -> None:
    for process_id in process_ids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process_id, signal.SIGKILL)


def _start_tick(process_id: int) -> str | None:
    fields = _stat(process_id)
    return fields[19] if fields is not None and fields[0] != "Z" else None


def _stat(process_id: int) -> list[str] | None:
    # What follows the command's name, which may hold blanks: state, parent, …
    try:
        text = (_PROC / str(process_id) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()
