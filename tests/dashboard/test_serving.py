"""The page and its files as a browser receives them: nothing from elsewhere, nothing inline, cached for as long as it stays the same."""

from __future__ import annotations

import asyncio
import gzip
import importlib.util
import re
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from ecovisor import dashboard
from ecovisor.dashboard import serving

STATIC = Path(serving.__file__).parent / "static"
SCRIPTS = sorted(STATIC.glob("*.js"))


class Client:
    """Asks the application in process, one request at a time."""

    def __init__(self) -> None:
        self._transport = httpx.ASGITransport(Starlette(routes=dashboard.routes()))

    def get(self, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
        """The answer, decompressed."""
        return self.raw(path, headers or {})[0]

    def raw(self, path: str, headers: dict[str, str]) -> tuple[httpx.Response, bytes]:
        """The answer, and the bytes that travelled."""

        async def ask() -> tuple[httpx.Response, bytes]:
            async with (
                httpx.AsyncClient(transport=self._transport, base_url="http://site", headers={"accept-encoding": ""}) as client,
                client.stream("GET", path, headers=headers) as answer,
            ):
                sent = b"".join([part async for part in answer.aiter_raw()])
            body = gzip.decompress(sent) if answer.headers.get("content-encoding") == "gzip" else sent
            kept = [item for item in answer.headers.multi_items() if item[0] != "content-encoding"]
            return httpx.Response(answer.status_code, headers=kept, content=body), sent

        return asyncio.run(ask())


@pytest.fixture
def client() -> Client:
    return Client()


def addresses(page: str) -> list[str]:
    return re.findall(r'(?:href|src)="(/[^"]*)"', page)


def test_the_page_names_only_files_that_are_there(client: Client) -> None:
    named = addresses(client.get("/").text)
    assert any("plotly" in address for address in named)
    assert len(named) == 5
    for address in named:
        assert client.get(address).status_code == 200


def test_the_page_is_asked_for_anew_and_its_files_never_again(client: Client) -> None:
    page = client.get("/")
    assert page.headers["cache-control"] == "no-cache"
    for address in addresses(page.text):
        assert "immutable" in client.get(address).headers["cache-control"]


def test_an_address_changes_with_the_bytes_behind_it(tmp_path: Path) -> None:
    one = tmp_path / "a.js"
    one.write_text("1")
    before = serving._hash(one)
    one.write_text("2")
    assert serving._hash(one) != before


def test_every_answer_forbids_inline_scripts_and_styles_and_other_origins(client: Client) -> None:
    for address in ("/", *addresses(client.get("/").text), "/dashboard/0/nothing.js"):
        headers = client.get(address).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert "*" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


def test_a_compressed_file_is_the_same_file(client: Client) -> None:
    [address] = [address for address in addresses(client.get("/").text) if address.endswith("main.js")]
    plain = client.get(address, headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    answer, sent = client.raw(address, {"accept-encoding": "br, gzip"})
    assert answer.headers["vary"] == "Accept-Encoding"
    assert len(sent) < len(plain.content)
    assert gzip.decompress(sent) == plain.content == (STATIC / "main.js").read_bytes()


@pytest.mark.parametrize(
    "path", ["../serving.py", "..%2Fserving.py", "page.html", "main.js/..%2f..%2fserving.py", "%00", "x" * 3000]
)
def test_nothing_but_the_listed_files_can_be_had(client: Client, path: str) -> None:
    [address] = [address for address in addresses(client.get("/").text) if address.endswith("main.js")]
    answer = client.get(address.removesuffix("main.js") + path)
    assert answer.status_code == 404
    assert "import" not in answer.text


def test_without_the_chart_library_the_page_still_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(serving, "find_spec", lambda name: None if name == "plotly" else found(name))
    page = Client().get("/")
    assert page.status_code == 200
    assert "plotly" not in page.text.replace('id="plotly.js-style-global"', "")


def test_the_files_name_no_other_address() -> None:
    for path in STATIC.iterdir():
        text = path.read_text(encoding="utf-8").replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert "//" not in re.sub(r"^\s*//.*$|(?<=[;{)]) //.*$", "", text, flags=re.MULTILINE), path.name


def test_what_apps_named_never_becomes_markup() -> None:
    for path in SCRIPTS:
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", path.read_text()), (
            path.name
        )


def test_every_script_imports_what_is_there() -> None:
    for path in SCRIPTS:
        text = path.read_text()
        for names, module in re.findall(r'import \{([^}]*)\} from "\./([\w.]+)"', text):
            exported = set(re.findall(r"export (?:const|class|function|async function) (\w+)", (STATIC / module).read_text()))
            for name in names.split(","):
                assert name.strip() in exported, f"{path.name}: {name.strip()} from {module}"
                assert len(re.findall(rf"\b{name.strip()}\b", text)) > 1, f"{path.name} does not use {name.strip()}"


def test_every_script_imports_what_it_uses_of_others() -> None:
    texts = {path.name: path.read_text() for path in SCRIPTS}
    for module, text in texts.items():
        for name in re.findall(r"export (?:const|class|function|async function) (\w+)", text):
            for other, used in texts.items():
                here = re.search(rf"import \{{[^}}]*\b{name}\b[^}}]*\}} from|(?:const|class|function|\{{|,) {name}\b", used)
                called = re.search(
                    rf"(?<![.\w#]){name}\(", re.sub(r"^  (?:async )?\*?\w+\([^)]*\) \{", "", used, flags=re.MULTILINE)
                )
                assert here or not called, f"{other} uses {name} of {module}"
