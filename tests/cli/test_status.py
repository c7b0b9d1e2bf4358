"""`ecovisor status`: the verdict, its reasons and its exit status, against a played server that is well, unwell, wrong or gone."""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from starlette.responses import Response
from tests.cli.live_site import server
from tests.cli.standing_in import failed
from tests.dashboard.played import OPERATOR_TOKEN, PlayedSite, token_of
from tests.dashboard.played_server import PlayedApi, PlayedServer

from ecovisor import wire
from ecovisor.cli import connection, live_reader, run

__all__ = ["server"]


def test_a_healthy_site_is_said_to_be_and_the_status_is_0(server: PlayedServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["status"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("healthy  edge-site  tick 30")
    assert "3 app(s) · containers: 5 running, 1 suspended" in told
    assert "!" not in told


def stale(api: PlayedApi) -> None:
    api.site.sources["carbon"] = wire.SourceState(name="carbon", quality="stale", age_s=340.0, detail="no answer in 5 s")


def missing(api: PlayedApi) -> None:
    api.site.sources["plant"] = wire.SourceState(name="plant", quality="missing", age_s=3700.0, detail="refused")


def late(api: PlayedApi) -> None:
    api.site.advance(dt_s=420.0)


def broken(api: PlayedApi) -> None:
    api.site.state = "failed"


def unready(api: PlayedApi) -> None:
    api.not_ready = ["the disk is full"]


def still(api: PlayedApi) -> None:
    api.site.wall_s -= 3610.0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (stale, "carbon stale for 6 min: no answer in 5 s"),
        (missing, "plant missing for 1 h 2 min: refused"),
        (late, "the last tick took 7 min instead of 5 min"),
        (broken, "5 container(s) failed"),
        (unready, "the disk is full"),
        (still, "no new tick for 1 h"),
    ],
)
def test_a_degraded_site_has_its_reason_and_the_status_is_1(
    server: PlayedServer, capsys: pytest.CaptureFixture[str], change: Callable[[PlayedApi], None], reason: str
) -> None:
    change(server.api)
    assert run(["status"]) == 1
    told = capsys.readouterr().out
    assert told.startswith("degraded  ")
    assert [line for line in told.splitlines() if line.startswith("! ")] == [f"! {reason}"]
    assert run(["status", "--json"]) == 1
    assert msgspec.json.decode(capsys.readouterr().out)["reasons"] == [reason]


def test_the_json_holds_the_whole_snapshot(server: PlayedServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["status", "--json"]) == 0
    told = msgspec.json.decode(capsys.readouterr().out)
    assert (told["status"], told["reasons"]) == ("healthy", [])
    assert msgspec.convert(told["snapshot"], wire.SiteSnapshot) == server.api.site.site_snapshot()


def test_an_apps_token_is_about_that_app(
    server: PlayedServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ECOVISOR_TOKEN", token_of("web"))
    server.api.not_ready = ["a secret reason"]
    assert run(["status", "--json"]) == 1
    told = msgspec.json.decode(capsys.readouterr().out)
    assert told["snapshot"]["app"] == "web"
    assert told["reasons"] == ["the server is not ready; the operator's token shows why"]
    assert run(["status"]) == 1
    assert capsys.readouterr().out.startswith("degraded  web  tick 30")


def test_options_go_before_the_environment(
    server: PlayedServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ECOVISOR_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("ECOVISOR_TOKEN", "wrong")
    token = tmp_path / "token"
    token.write_text(f"{OPERATOR_TOKEN}\n")
    assert run(["status", "--url", server.url, "--token-file", str(token)]) == 0
    monkeypatch.delenv("ECOVISOR_TOKEN")
    monkeypatch.setenv("ECOVISOR_TOKEN_FILE", str(token))
    assert run(["status", "--url", server.url]) == 0
    assert "healthy" in capsys.readouterr().out


def test_a_socket_serves_as_well(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ECOVISOR_URL", raising=False)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s"
        api = PlayedApi(PlayedSite(past_ticks=2))
        api.answer_changes = lambda request: Response(msgspec.json.encode(api.site.site_snapshot()))  # a socket knows who comes
        with PlayedServer(api, unix=path):
            assert run(["status", "--json", "--unix", str(path)]) == 1
            monkeypatch.setenv("ECOVISOR_SOCKET", str(path))
            assert run(["status", "--json"]) == 1
    assert all(line.startswith('{"status":"degraded","reasons":["no new tick') for line in capsys.readouterr().out.splitlines())


# -- what cannot be answered is one line, and the status is 2


def test_nobody_there(server: PlayedServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.stop()
    assert f"{server.url} cannot be reached" in failed(["status"], capsys)


def test_without_any_address_the_usual_one_is_tried(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ECOVISOR_URL", "ECOVISOR_SOCKET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(connection, "DEFAULT_URL", "http://127.0.0.1:9")
    assert "http://127.0.0.1:9 cannot be reached" in failed(["status"], capsys)


def test_a_wrong_token(server: PlayedServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECOVISOR_TOKEN", "wrong")
    assert "does not accept the token; ask for a new one" in failed(["status"], capsys)
    monkeypatch.delenv("ECOVISOR_TOKEN")
    assert "does not accept the token; give --token-file or set ECOVISOR_TOKEN" in failed(["status"], capsys)


def test_a_token_file_that_is_not_there(server: PlayedServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nowhere" in failed(["status", "--token-file", "nowhere"], capsys)


def test_a_file_of_certificates_that_is_none(server: PlayedServer, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    wrong = tmp_path / "ca.pem"
    wrong.write_text("no certificate")
    assert "ca.pem: cannot be used" in failed(["status", "--ca-file", str(wrong)], capsys)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (Response(b"<html>", media_type="text/html"), "answers, but not as an ecovisor does"),
        (Response(b'{"site": 3}', media_type="application/json"), "answers, but not as an ecovisor does"),
        (Response(b'{"type":"t","title":"t","status":503,"detail":"it is starting"}', 503), "answers 503: it is starting"),
        (Response(b"", 500), "answers 500: Internal Server Error"),
    ],
)
def test_an_answer_that_is_none(server: PlayedServer, capsys: pytest.CaptureFixture[str], answer: Response, told: str) -> None:
    server.api.answer_changes = lambda request: answer
    assert told in failed(["status"], capsys)


def test_a_server_that_never_answers(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_reader, "DEADLINE_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        assert "did not answer within 0.1 s" in failed(["status", "--url", f"http://127.0.0.1:{deaf.getsockname()[1]}"], capsys)


def test_a_server_that_hangs_up(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as rude:

        def hang_up() -> None:
            connection, _ = rude.accept()
            with connection:
                connection.recv(65536)

        thread = threading.Thread(target=hang_up)
        thread.start()
        assert "broke the connection" in failed(["status", "--url", f"http://127.0.0.1:{rude.getsockname()[1]}"], capsys)
        thread.join()
