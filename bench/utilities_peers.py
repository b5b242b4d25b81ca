"""The contenders of the utilities' benchmark: how each is built, started as an HTTP server, asked and ended."""

import base64
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from bench.utilities_inputs import Task
from bench.utilities_load import Ask, tree

from imgapi.pictures.encode import JPEG_QUALITY

ROOT = Path(__file__).parents[1]
PEERS = Path(__file__).with_name("peers")
CACHE = Path(__file__).with_name(".cache")
THUMBOR = ("thumbor==7.8.0", "cairosvg==2.9.0")
START_SECONDS, STOP_SECONDS, BUILD_SECONDS = 60.0, 10.0, 600.0


class PeerMissing(Exception):
    """A peer can't be built or started here; the message says why."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One server.

    Attributes:
        name: In tables.
        versions: What it is made of; called after it was built.
        build: Makes what it needs in the cache; PeerMissing when that can't be had.
        command: Its command line for a port and the folder of pictures.
        environment: What is set for it beside the usual, for a port and the folder of pictures.
        ask: The request for a task; None when it is not meant for that task.
    """

    name: str
    versions: Callable[[], str]
    build: Callable[[], None]
    command: Callable[[int, Path], Sequence[str]]
    environment: Callable[[int, Path], Mapping[str, str]]
    ask: Callable[[Task], Ask | None]


@dataclass(slots=True)
class Running:
    """A server that answers."""

    contender: Contender
    port: int
    process: subprocess.Popen[bytes] = field(repr=False)


# Building.


def _run(command: Sequence[str], folder: Path) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - the recipes of this file
            command, cwd=folder, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise PeerMissing(f"`{' '.join(command[:3])} …` failed: {type(exc).__name__}") from exc
    if done.returncode:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise PeerMissing(f"`{' '.join(command[:3])} …` failed: {lines[-1][:200] if lines else done.returncode}")


@contextmanager
def _built_once(name: str, recipe: bytes) -> Iterator[Path | None]:
    """Yield the folder to build into, or None when it was built by the same recipe before."""
    CACHE.mkdir(exist_ok=True)
    # The folder hides itself from git.
    (CACHE / ".gitignore").write_text("*\n", encoding="ascii")
    folder, stamp = CACHE / name, CACHE / f"{name}.built"
    wanted = hashlib.sha256(recipe).hexdigest()
    if folder.is_dir() and stamp.is_file() and stamp.read_text(encoding="ascii") == wanted:
        yield None
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    yield folder
    stamp.write_text(wanted, encoding="ascii")


def _build_node() -> None:
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise PeerMissing(f"{program} is not installed")
    manifest = PEERS / "package.json"
    with _built_once("node", manifest.read_bytes()) as folder:
        if folder is not None:
            shutil.copy(manifest, folder)
            _run(("npm", "install", "--no-package-lock", "--no-fund", "--no-audit"), folder)
    # Modules are looked for beside the program.
    for source in PEERS.glob("*.js"):
        shutil.copy(source, CACHE / "node")


def _build_thumbor() -> None:
    with _built_once("thumbor", " ".join(THUMBOR).encode()) as folder:
        if folder is not None:
            _run((sys.executable, "-m", "venv", "."), folder)
            _run(("bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *THUMBOR), folder)


def _thumbor_command(port: int, pictures: Path) -> Sequence[str]:
    # The same format and quality as imgapi; two processes take both cores.
    settings = (
        f"QUALITY = {JPEG_QUALITY}\nPROGRESSIVE_JPEG = False\n"
        "LOADER = 'thumbor.loaders.file_loader'\nSTORAGE = 'thumbor.storages.no_storage'\n"
        f"FILE_LOADER_ROOT_PATH = {str(pictures)!r}\n"
    )
    path = pictures.parent / "thumbor.conf"
    path.write_text(settings, encoding="utf-8")
    program = CACHE / "thumbor" / "bin" / "thumbor"
    return (str(program), f"--port={port}", "--ip=127.0.0.1", "--processes=2", f"--conf={path}")


def _build_imgapi() -> None:
    """Install what its users have: some libraries load more where those of the tests are."""
    pins = ROOT / "constraints.txt"
    with _built_once("imgapi", b"".join(file.read_bytes() for file in (ROOT / "pyproject.toml", pins))) as folder:
        if folder is not None:
            _run((sys.executable, "-m", "venv", "."), folder)
            install = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--constraint", str(pins))
            _run(("bin/python", *install, "--editable", str(ROOT)), folder)


def _build_nothing() -> None:
    """Everything is in this environment already."""


# What they are made of.


def _node_version(package: str, folder: str = "node_modules") -> str:
    content = (CACHE / "node" / folder / package / "package.json").read_text(encoding="utf-8")
    return f"{package} {json.loads(content)['version']}"


def _node() -> str:
    program = shutil.which("node") or "node"
    done = subprocess.run((program, "--version"), capture_output=True, text=True, check=True)  # noqa: S603 - its version
    return f"Node {done.stdout.strip()}"


def _sharp_versions() -> str:
    return ", ".join((_node_version("sharp"), _node_version("fastify"), _node()))


def _ipx_versions() -> str:
    own = CACHE / "node" / "node_modules" / "ipx" / "node_modules" / "sharp"
    folder = "node_modules/ipx/node_modules" if own.is_dir() else "node_modules"
    return f"{_node_version('ipx')} with {_node_version('sharp', folder)}"


def _python_versions(*names: str) -> Callable[[], str]:
    return lambda: ", ".join(f"{name} {version(name)}" for name in names)


# Asking.


def _form(path: str, task: Task, fields: Mapping[str, object], read: Callable[[bytes], bytes]) -> Ask:
    boundary = uuid.uuid4().hex
    lead = f'--{boundary}\r\nContent-Disposition: form-data; name="'
    parts = [f'{lead}{name}"\r\n\r\n{value}\r\n'.encode() for name, value in fields.items()]
    parts += [
        f'{lead}image"; filename="{task.filename}"\r\nContent-Type: application/octet-stream\r\n\r\n'.encode(),
        task.source,
        f"\r\n--{boundary}--\r\n".encode(),
    ]
    return Ask("POST", path, {"Content-Type": f"multipart/form-data; boundary={boundary}"}, b"".join(parts), read)


def _read_json(content: bytes) -> bytes:
    return base64.b64decode(json.loads(content)["image_data"], validate=True)


def _ask_imgapi(task: Task) -> Ask:
    if task.side is None:
        return _form("/utils/convert_to_png", task, {}, _read_json)
    return _form("/utils/photo_resize", task, {"max_dim": task.side}, _read_json)


def _ask_naive(task: Task) -> Ask:
    if task.side is None:
        return _form("/convert", task, {}, _read_json)
    return _form("/resize", task, {"side": task.side, "quality": JPEG_QUALITY}, _read_json)


def _ask_sharp(*, read: Callable[[bytes], bytes] = bytes, quality: int = JPEG_QUALITY) -> Callable[[Task], Ask]:
    def ask(task: Task) -> Ask:
        path = "/convert" if task.side is None else f"/resize?side={task.side}&quality={quality}"
        return _form(path, task, {}, read)

    return ask


def _only(*, png: bool, ask: Callable[[Task], Ask]) -> Callable[[Task], Ask | None]:
    return lambda task: ask(task) if (task.side is None) == png else None


def _ask_ipx(task: Task) -> Ask:
    wanted = "f_png" if task.side is None else f"w_{task.side},q_{JPEG_QUALITY},f_jpeg"
    return Ask("GET", f"/{wanted}/{task.filename}", {}, b"", bytes)


def _ask_thumbor(task: Task) -> Ask:
    wanted = "filters:format(png)" if task.side is None else f"fit-in/{task.side}x{task.side}"
    return Ask("GET", f"/unsafe/{wanted}/{task.filename}", {}, b"", bytes)


# Who takes part.


def _sharp(name: str, ask: Callable[[Task], Ask | None], **environment: str) -> Contender:
    return Contender(
        name,
        _sharp_versions,
        _build_node,
        lambda _port, _pictures: ("node", str(CACHE / "node" / "sharp_server.js")),
        lambda port, _pictures: {"PORT": str(port), **environment},
        ask,
    )


CONTENDERS: Sequence[Contender] = (
    Contender(
        "imgapi",
        _python_versions("imgapi", "pillow", "resvg_py", "uvicorn"),
        _build_imgapi,
        lambda port, _pictures: (str(CACHE / "imgapi" / "bin" / "imgapi"), "serve", "--port", str(port)),
        lambda _port, pictures: {"IMGAPI_DATA_DIR": str(pictures.parent / "imgapi"), "DASHSCOPE_API_KEY": ""},
        _ask_imgapi,
    ),
    _sharp("sharp", _ask_sharp()),
    _sharp("sharp, quality 85", _only(png=False, ask=_ask_sharp(quality=85))),
    _sharp("sharp, fastest PNG", _only(png=True, ask=_ask_sharp()), PNG_LEVEL="1"),
    _sharp("sharp, JSON answer", _ask_sharp(read=_read_json), ANSWER="json"),
    Contender(
        "ipx",
        _ipx_versions,
        _build_node,
        lambda _port, _pictures: ("node", str(CACHE / "node" / "ipx_server.js")),
        lambda port, pictures: {"PORT": str(port), "PICTURES": str(pictures)},
        _ask_ipx,
    ),
    Contender(
        "thumbor",
        lambda: ", ".join(THUMBOR).replace("==", " "),
        _build_thumbor,
        _thumbor_command,
        lambda _port, _pictures: {},
        _ask_thumbor,
    ),
    Contender(
        "naive",
        _python_versions("fastapi", "pillow", "cairosvg"),
        _build_nothing,
        lambda port, _pictures: (
            *(sys.executable, "-m", "uvicorn", "naive_server:app", "--app-dir", str(PEERS)),
            *("--port", str(port), "--workers", "2", "--no-access-log"),
        ),
        lambda _port, _pictures: {},
        _ask_naive,
    ),
)

# The same server as another contender, asked or set up differently.
VARIANTS = frozenset({"sharp, quality 85", "sharp, fastest PNG", "sharp, JSON answer"})


# Running.


@contextmanager
def serving(contender: Contender, pictures: Path) -> Iterator[Running]:
    """Build and start a contender on a free port, its output kept in a file; end it and its children afterwards.

    Raises:
        PeerMissing: It can't be built, or ends before it answers.
    """
    contender.build()
    port = _free_port()
    environment = {**os.environ, **contender.environment(port, pictures)}
    log = pictures.parent / f"{contender.name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - the servers of this file
            contender.command(port, pictures), env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        _wait_until_it_listens(process, port, log)
        yield Running(contender, port, process)
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    # Some leave their children behind when they are ended.
    children = [Path("/proc") / str(member) for member in tree(process.pid) if member != process.pid]
    begun = {child: _start_tick(child) for child in children}
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for child, tick in begun.items():
        if tick is not None and _start_tick(child) == tick:
            with suppress(ProcessLookupError):
                os.kill(int(child.name), signal.SIGKILL)


def _start_tick(process: Path) -> str | None:
    # Tells a process from a later one of the same id; None when it is gone.
    try:
        return (process / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except OSError:
        return None


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    raise PeerMissing(f"does not start: {lines[-1][:200] if lines else 'no word why'}")
