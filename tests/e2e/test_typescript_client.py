"""The TypeScript client: fresh as committed, strictly typed, packed, installed, and run against the service."""

import json
import shutil
from pathlib import Path

import pytest

import typed_clients
from conftest import Service
from node import need_node, run_program
from pictures import draw_photo, encode
from readme_examples import example

PROGRAM = Path(__file__).parent / "typescript" / "program.ts"
COMPILER = typed_clients.TYPESCRIPT / "node_modules" / "typescript" / "bin" / "tsc"
# As strict as the compiler can be; no types but those of the client, the language, browsers and Node.
OPTIONS = {
    "target": "ES2022",
    "module": "NodeNext",
    "lib": ["ES2022", "DOM", "DOM.Iterable"],
    "types": ["node"],
    "typeRoots": [str(typed_clients.TYPESCRIPT / "node_modules" / "@types")],
    "strict": True,
    "skipLibCheck": True,
    "noUncheckedIndexedAccess": True,
    "exactOptionalPropertyTypes": True,
    "noEmitOnError": True,
}


@pytest.fixture(autouse=True)
def node() -> None:
    """Node, with the packages that the client is made with."""
    need_node()
    typed_clients.install_node_packages()


def test_committed_types_are_current(tmp_path: Path) -> None:
    """`src/schema.ts` is what the generator makes of openapi.json, and says that it is generated."""
    typed_clients.typescript_client(tmp_path)
    assert list(typed_clients.differences(tmp_path, typed_clients.TYPES)) == [], "run: sh scripts/clients"
    first, _, _ = (typed_clients.CLIENTS / typed_clients.TYPES).read_text(encoding="utf-8").partition("\n")
    assert typed_clients.GENERATED in first


def test_client_does_what_its_types_say(service: Service, tmp_path: Path) -> None:
    """Packed, installed, compiled strictly, it uploads, edits, polls, reads errors; so does the README's example."""
    install(tmp_path)
    (tmp_path / "photo.jpg").write_bytes(encode(draw_photo(640, 480), "jpeg"))
    shutil.copy(PROGRAM, tmp_path)
    readme = example(typed_clients.TYPESCRIPT / "README.md", "typescript", service.address)
    (tmp_path / "readme.ts").write_text(readme, encoding="utf-8")
    (tmp_path / "tsconfig.json").write_text(
        json.dumps({"compilerOptions": OPTIONS, "files": ["program.ts", "readme.ts"]})
    )
    run_program("node", str(COMPILER), "--project", ".", folder=tmp_path)
    assert "all held" in run_program("node", "program.js", service.address, "photo.jpg", folder=tmp_path)
    assert run_program("node", "readme.js", folder=tmp_path).startswith("succeeded")
    assert (tmp_path / "cut-out.png").read_bytes().startswith(b"\x89PNG")


def install(folder: Path) -> None:
    """Pack the client as for a registry, and install it as a stranger's dependency."""
    packed = run_program("npm", "pack", "--silent", "--pack-destination", str(folder), folder=typed_clients.TYPESCRIPT)
    (folder / "package.json").write_text(json.dumps({"name": "stranger", "private": True, "type": "module"}))
    archive = packed.split()[-1]
    quietly = ("--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
    run_program("npm", "install", *quietly, f"./{archive}", folder=folder)
