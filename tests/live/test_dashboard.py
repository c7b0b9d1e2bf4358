"""The dashboard in a real browser (headless Chromium), against a played site whose every figure is known.

Screenshots go to the test's temporary folder, for people to look at (`--basetemp` keeps them where you want them).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright
from starlette.requests import Request
from starlette.responses import Response
from tests.dashboard.played import OPERATOR_TOKEN, START_S, PlayedSite, token_of
from tests.dashboard.played_server import PlayedApi, PlayedServer

from ecovisor import wire
from ecovisor.cli.live_tables import figures, quantity, share_of
from ecovisor.model.units import human_duration

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no {CHROMIUM}: install Debian's package chromium"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield launched
        launched.close()


class Visit:
    """A browser's page on a played site, with all that it complained about and asked for."""

    def __init__(self, browser: Browser, server: PlayedServer, **context: object) -> None:
        self.server = server
        self.site = server.api.site
        self.context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, "locale": "en-GB", **context})  # type: ignore[arg-type]
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.requested: list[str] = []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(f"{error}"))
        self.page.on("request", lambda request: self.requested.append(request.url))

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning", "assert"}:
            self.complaints.append(f"{message.type}: {message.text} ({message.location.get('url', '')})")

    def open(self, token: str = OPERATOR_TOKEN) -> Page:
        """Open the page with a token and wait for its first figures."""
        self.page.goto(f"{self.server.url}/#token={token}")
        expect(self.page.locator("#tick")).to_have_text(f"{self.site.tick:,}")
        return self.page

    def text(self, selector: str) -> str:
        return self.page.locator(selector).inner_text()

    def row(self, table: str, name: str) -> list[str]:
        """Cells of a table's row."""
        rows = self.page.locator(f"#{table} tbody tr").filter(has=self.page.locator("th", has_text=name))
        return [cell.strip() for cell in rows.first.locator("th, td").all_inner_texts()]

    def ticks(self, number: int = 1) -> None:
        """Let the site go on, and wait until the page shows it."""
        self.site.advance(number)
        expect(self.page.locator("#tick")).to_have_text(f"{self.site.tick:,}")

    def drawn(self, chart: str) -> None:
        """Bring a chart into sight and wait until it is drawn."""
        self.page.locator(f"#{chart}").scroll_into_view_if_needed()
        self.page.wait_for_function("name => document.getElementById(name).data?.length > 0", arg=chart)

    def drawn_to(self, chart: str, trace: int, expected: Mapping[int, float]) -> None:
        """Wait until a trace of a chart has these values (charts over time do not follow every tick at once)."""
        script = """([chart, trace, expected]) => {
          const { y } = document.getElementById(chart).data[trace];
          return Object.entries(expected).every(([k, value]) => y.at(k) !== null && Math.abs(y.at(k) - value) < 1e-6);
        }"""
        self.page.wait_for_function(script, arg=[chart, trace, {str(k): value for k, value in expected.items()}])

    def traces(self, chart: str) -> dict[str, list[float | None]]:
        """Values of a chart's traces, by name; a later trace of the same name is left out."""
        found: dict[str, list[float | None]] = {}
        for name, values in self.page.evaluate(
            "name => document.getElementById(name).data.map(t => [t.name, Array.from(t.y)])", chart
        ):
            found.setdefault(name, values)
        return found

    def ledger_read(self) -> None:
        """Wait until the page has read what it wants of the ledger."""
        expect(self.page.locator("#sources-foot")).to_be_empty(timeout=120_000)


Opening = Callable[..., Visit]


@pytest.fixture
def visit(browser: Browser) -> Iterator[Opening]:
    opened: list[Visit] = []

    def make(site: PlayedSite | None = None, api: PlayedApi | None = None, **context: object) -> Visit:
        server = PlayedServer(api or PlayedApi(site or PlayedSite()))
        server.start()
        opened.append(Visit(browser, server, **context))
        return opened[-1]

    yield make
    for one in opened:
        one.context.close()
        one.server.stop()


def cleaned(visit: Visit, *, allowed: str = "") -> None:
    """Nothing was complained of, and nothing came from elsewhere."""
    assert [one for one in visit.complaints if not allowed or allowed not in one] == []
    foreign = [url for url in visit.requested if not url.startswith((visit.server.url, "data:", "blob:"))]
    assert foreign == []


# -- what it shows


def test_it_opens_without_a_complaint_and_asks_nobody_else(visit: Opening) -> None:
    one = visit()
    page = one.open()
    for chart in ("flow", "signals", "sources", "battery", "carbon"):
        one.drawn(chart)
        box = page.locator(f"#{chart} .main-svg").first.bounding_box()
        assert box is not None
        assert box["width"] > 300
        assert box["height"] > 200
        assert page.locator(f"#{chart}").get_attribute("aria-label")
    one.ticks(3)
    page.mouse.move(400, 700)
    page.mouse.move(420, 720)
    cleaned(one)


def test_the_figures_are_the_snapshots(visit: Opening) -> None:
    one = visit()
    one.open()
    one.ticks(70)
    shown = one.site.site_snapshot()
    for tile, value, unit in (
        ("solar", shown.solar_w, "W"),
        ("grid", shown.import_w, "W"),
        ("battery", shown.battery_level_wh, "Wh"),
        ("load", shown.node_power_w, "W"),
        ("intensity", shown.carbon_intensity_g_per_kwh, "g/kWh"),
        ("carbon", sum(app.carbon.rate_g_per_h or 0.0 for app in shown.apps), "g/h"),
    ):
        assert one.text(f"#tile-{tile} .value") == quantity(value, unit), tile
    from_grid, load = (sum(getattr(app.totals, name) for app in shown.apps) for name in ("grid_to_load_wh", "load_wh"))
    assert one.text("#tile-grid_share .value") == share_of(from_grid, load)
    for app in shown.apps:
        name, power, _, solar, battery, grid, rate, total, budget, share, overdraw, _, _ = one.row("apps", app.app)
        expected = [app.load.power_w, app.load.solar_w, app.load.battery_w, app.load.grid_w, app.load.overdraw_w]
        assert [name, power, solar, battery, grid, overdraw] == [app.app, *(quantity(value, "W") for value in expected)]
        assert [rate, total] == [quantity(app.carbon.rate_g_per_h, "g/h"), quantity(app.carbon.total_g, "g")]
        assert share == share_of(app.totals.grid_to_load_wh, app.totals.load_wh)
        assert budget == ("–" if app.carbon.budget is None else f"{share_of(app.carbon.budget.spent_g, 400)} of 400 g")
        level, charge = one.row("setpoints", app.app)[2], one.row("setpoints", app.app)[4]
        assert level == figures(app.battery.level_wh)
        assert charge == f"{figures(app.battery.charge_rate_w)} of {quantity(app.battery.charge_limit_w, 'W')}"
    cleaned(one)


def test_containers_are_shown_with_power_against_cap(visit: Opening) -> None:
    one = visit()
    page = one.open()
    rows = page.locator("#containers tbody tr")
    containers = [(app.app, container) for app in one.site.site_snapshot().apps for container in app.containers]
    assert rows.count() == len(containers)
    for k, (app, container) in enumerate(containers):
        cells = [cell.strip() for cell in rows.nth(k).locator("th, td").all_inner_texts()]
        cap = "none" if container.cap_w is None else quantity(container.cap_w, "W")
        assert cells[:4] == [app, container.id, container.state, quantity(container.power_w, "W")]
        assert cells[5] == cap
        if container.cap_w is not None:
            track = rows.nth(k).locator(".track")
            part = track.evaluate("t => t.children[0].getBoundingClientRect().width / t.getBoundingClientRect().width")
            assert part == pytest.approx(container.power_w / container.cap_w, abs=0.01)
    page.fill("#containers-filter", "suspended")
    expect(rows).to_have_count(1)


def test_the_charts_hold_the_ledger_and_leave_gaps_out(visit: Opening) -> None:
    site = PlayedSite(missing=set(range(100, 112)))
    one = visit(site)
    one.open()
    one.ledger_read()
    one.ticks()
    for chart in ("sources", "battery", "carbon"):
        one.drawn(chart)
    past = site.rows[-288:]
    served = [sum(row["grid_to_load_w"] for row in rows.values()) for rows in past]
    one.drawn_to("sources", 2, {0: served[0], 287: served[287]})
    one.drawn_to("battery", 0, {0: past[0]["render"]["battery_level_wh"], 287: past[287]["render"]["battery_level_wh"]})
    one.drawn_to("carbon", 0, {287: site.total("render", "carbon_g")})
    drawn = one.traces("sources")
    for name, column in (("solar", "solar_to_load_w"), ("battery", "battery_discharge_w"), ("grid", "grid_to_load_w")):
        expected = [sum(row[column] for row in rows.values()) for rows in past]
        for k, value in enumerate(drawn[name][:288]):
            missing = k + 1 in site.missing
            assert value is None if missing else value == pytest.approx(expected[k], abs=1e-6), (name, k)
    levels = one.traces("battery")
    for app in site.apps:
        assert levels[app][286] == pytest.approx(past[286][app]["battery_level_wh"])
    totals = one.traces("carbon")
    for app in site.apps:
        assert totals[app][287] == pytest.approx(site.total(app, "carbon_g"))
        assert totals[app][200] == pytest.approx(sum(row[app]["carbon_g"] for row in site.rows[:202]))
    notes = one.page.evaluate("() => document.getElementById('sources').layout.annotations.map(a => a.text)")
    assert notes == ["no data"]


def test_the_flow_diagram_balances_and_is_the_snapshots(visit: Opening) -> None:
    one = visit()
    page = one.open()
    one.ticks(60)
    one.drawn("flow")
    shown = one.site.site_snapshot()
    served = f"render  {quantity(shown.apps[0].load.power_w, 'W')}"
    page.wait_for_function("text => document.getElementById('flow').data[0].node.label.includes(text)", arg=served)
    node, link = page.evaluate("() => { const [d] = document.getElementById('flow').data; return [d.node, d.link]; }")
    labels = [label.split("  ")[0] for label in node["label"]]
    flows = {(labels[s], labels[t]): v for s, t, v in zip(link["source"], link["target"], link["value"], strict=True)}
    for app in shown.apps:
        for source, value in (("solar", app.load.solar_w), ("battery", app.load.battery_w), ("grid", app.load.grid_w)):
            assert flows.get((source, app.app), 0.0) == pytest.approx(value, abs=0.006)
    assert sum(v for (s, _), v in flows.items() if s == "grid") == pytest.approx(shown.import_w, abs=0.02)
    charged = sum(app.battery.charge_w for app in shown.apps)
    assert sum(v for (_, t), v in flows.items() if t == "into battery") == pytest.approx(charged, abs=0.02)


def test_forecasts_are_dashed_and_follow_now(visit: Opening) -> None:
    one = visit()
    one.open()
    one.drawn("signals")
    one.page.wait_for_function("() => document.getElementById('signals').data.length === 4")
    traces = one.page.evaluate(
        "() => document.getElementById('signals').data.map(t => [t.line.dash, t.yaxis, Array.from(t.x), Array.from(t.y)])"
    )
    ahead_s = offset_s(one.site.now_s, "America/Los_Angeles")
    for dash, axis, x, y in traces[1::2]:
        signal = "carbon" if axis == "y" else "solar"
        expected = one.site.forecast(signal, "web", 24 * 3600.0)
        scale = 1.0 if signal == "carbon" else len(one.site.apps)
        assert dash == "dash"
        assert x[0] == pytest.approx((one.site.now_s + expected.step_s / 2 + ahead_s) * 1000)
        assert y == pytest.approx([(value or 0.0) * scale for value in expected.values])


# -- what changes


def test_a_tick_moves_the_figures(visit: Opening) -> None:
    one = visit()
    one.open()
    before = one.text("#tile-load .value"), one.text("#site-time")
    one.ticks()
    one.ticks(12)
    assert (one.text("#tile-load .value"), one.text("#site-time")) != before
    assert one.text("#tile-load .value") == quantity(one.site.site_snapshot().node_power_w, "W")
    cleaned(one)


def test_nothing_is_silent_about_late_ticks_gaps_and_stale_sources(visit: Opening) -> None:
    one = visit()
    page = one.open()
    badges = page.locator("#badges")
    expect(badges).to_contain_text("late ticks 0")
    expect(badges).to_contain_text("gaps 0")
    one.site.sources["carbon"] = wire.SourceState(name="carbon", quality="stale", age_s=340.0, detail="no answer in 5 s")
    one.site.sources["plant"] = wire.SourceState(name="plant", quality="missing", age_s=7200.0, detail="connection refused")
    one.site.carbon_known = False
    one.site.advance(gap=True)
    one.site.advance(dt_s=420.0)
    for told in (
        "late ticks 1",
        "gaps 1",
        "last tick took 7 min",
        "carbon stale, 6 min old",
        "plant missing, 2 h old",
        "carbon unknown",
    ):
        expect(badges).to_contain_text(told)
    assert one.text("#tile-intensity .value") == "–"
    expect(page.locator("#events")).to_contain_text("late _site: the tick took 420 s")


def test_a_site_that_stands_still_is_said_to(visit: Opening) -> None:
    site = PlayedSite(compression=30_000.0)  # ticks of 10 ms
    one = visit(site)
    one.open()
    expect(one.page.locator("#badges")).to_contain_text("no tick for", timeout=15_000)
    one.ticks()
    expect(one.page.locator("#badges")).not_to_contain_text("no tick for")


def test_a_lost_server_is_announced_and_its_return_is_shown(visit: Opening) -> None:
    one = visit()
    page = one.open()
    last = one.site.tick
    one.server.stop()
    banner = page.locator("#offline")
    expect(banner).to_be_visible(timeout=15_000)
    expect(banner).to_contain_text("Disconnected since")
    expect(banner).to_contain_text(f"Last data: tick {last:,}")
    assert one.text("#tick") == f"{last:,}"
    one.site.advance(24)
    one.server.start()
    expect(banner).to_be_hidden(timeout=20_000)
    expect(page.locator("#tick")).to_have_text(f"{one.site.tick:,}", timeout=20_000)
    one.ledger_read()
    one.drawn("sources")
    expected = [sum(row["grid_to_load_w"] for row in rows.values()) for rows in one.site.rows[-24:]]
    one.drawn_to("sources", 2, {-25 + k: value for k, value in enumerate(expected)})
    assert one.traces("sources")["grid"][-25:-1] == pytest.approx(expected, abs=1e-6)


def test_ticks_that_were_missed_are_read_from_the_ledger(visit: Opening) -> None:
    one = visit()
    one.open()
    one.ledger_read()
    one.ticks(5)  # all at once: the page sees the last of them only
    one.drawn("sources")
    expected = [sum(row["grid_to_load_w"] for row in rows.values()) for rows in one.site.rows[-5:]]
    one.drawn_to("sources", 2, {-6 + k: value for k, value in enumerate(expected)})


def test_without_a_stream_it_polls_and_says_so(visit: Opening) -> None:
    one = visit(api=PlayedApi(PlayedSite(), events=False))
    one.open()
    expect(one.page.locator("#badges")).to_contain_text("polling")
    one.ticks()


def test_the_sun_can_be_taken_away_by_the_operator_only(visit: Opening) -> None:
    one = visit()
    page = one.open()
    page.get_by_role("button", name="No sun").click()
    expect(page.locator("#badges")).to_contain_text("sun ×0")
    assert one.site.sun_ratio == 0.0
    one.ticks(2)
    assert one.text("#tile-solar .value") == "0 W"
    page.locator("#sun-ratio").focus()
    page.keyboard.press("End")
    expect(page.locator("#badges")).to_contain_text("sun ×1.5")
    app = visit()
    app.open(token_of("web"))
    expect(app.page.locator("#sun")).to_be_hidden()


def test_a_refused_sun_says_why(visit: Opening) -> None:
    def refuse(request: Request) -> Response | None:
        return (
            Response(b'{"detail": "the plant is real"}', 409, media_type="application/problem+json")
            if request.method == "PUT"
            else None
        )

    one = visit(api=PlayedApi(PlayedSite(), answer_changes=refuse))
    one.open().get_by_role("button", name="Half").click()
    expect(one.page.locator("#sun-problem")).to_have_text("Not set: the plant is real")


# -- who sees what


def test_an_app_sees_itself_and_asks_for_nothing_else(visit: Opening) -> None:
    one = visit()
    page = one.open(token_of("train"))
    one.ledger_read()
    one.ticks(3)
    shown = one.site.snapshot("train")
    assert one.text("#tile-load .value") == quantity(shown.load.power_w, "W")
    assert one.text("#tile-battery .value") == quantity(shown.battery.level_wh, "Wh")
    assert one.text("#tile-solar .value") == quantity(shown.solar.power_w, "W")
    assert page.locator("#apps tbody tr").count() == 1
    text = page.locator("body").inner_text()
    for other in ("render", "web", "_site"):
        assert other not in text
    asked = one.server.api.asked
    assert [line for line in asked if "/admin/" in line] == ["GET /v1/admin/site?"]
    assert not any("app=" in line for line in asked)
    cleaned(one, allowed="/v1/admin/site")  # the browser notes that the operator's view was refused, once


def test_the_token_is_asked_for_kept_in_the_tab_and_forgotten(visit: Opening) -> None:
    one = visit()
    page = one.page
    page.goto(one.server.url)
    expect(page.locator("#token")).to_be_focused()
    page.fill("#token", "wrong")
    page.keyboard.press("Enter")
    expect(page.locator("#login-problem")).to_have_text("This token is not accepted.")
    page.fill("#token", OPERATOR_TOKEN)
    page.keyboard.press("Enter")
    expect(page.locator("#tick")).to_have_text(f"{one.site.tick:,}")
    page.reload()
    expect(page.locator("#tick")).to_have_text(f"{one.site.tick:,}")
    assert page.evaluate("() => [localStorage.length, document.cookie]") == [0, ""]
    page.click("#sign-out")
    expect(page.locator("#token")).to_be_visible()
    page.reload()
    expect(page.locator("#token")).to_be_visible()


def test_while_nobody_answers_a_visitor_can_leave(visit: Opening) -> None:
    one = visit()
    page = one.page
    page.route("**/v1/**", lambda route: route.abort())
    page.goto(f"{one.server.url}/#token={OPERATOR_TOKEN}")
    expect(page.locator("#offline")).to_contain_text("the server cannot be reached")
    page.evaluate("() => document.getElementById('sign-out').click()")
    expect(page.locator("#token")).to_be_visible()
    page.unroute("**/v1/**")
    page.wait_for_timeout(3000)
    expect(page.locator("#token")).to_be_visible()


def test_a_token_in_the_address_leaves_it(visit: Opening) -> None:
    one = visit()
    page = one.open()
    assert page.url == f"{one.server.url}/"
    assert not any("token" in url for url in one.requested if url != f"{one.server.url}/#token={OPERATOR_TOKEN}")
    assert OPERATOR_TOKEN not in page.content()


def test_a_token_that_ends_is_asked_for_anew(visit: Opening) -> None:
    api = PlayedApi(PlayedSite())
    one = visit(api=api)
    one.open()
    api.answer_changes = lambda request: Response(b'{"detail": "expired"}', 401, media_type="application/problem+json")
    one.site.advance()
    expect(one.page.locator("#login-problem")).to_have_text("This token is not accepted any more.", timeout=15_000)


# -- hostile and large


def test_names_are_text_whatever_they_contain(visit: Opening) -> None:
    names = (
        '<img src=x onerror="document.title=1">',
        "a&lt;b&gt; <b>bold</b>",
        '<a href="https://example.org/">x</a>',
        "%{y} ${x} \"'",
    )
    site = PlayedSite(names=names, commands=["<script>document.title=2</script>"], metrics={names[0]: {"<i>queue</i>": 3.0}})
    site.sources["carbon"] = wire.SourceState(name="<u>carbon</u>", quality="stale", age_s=1.0, detail="<script>alert(1)</script>")
    one = visit(site)
    page = one.open()
    for chart in ("flow", "signals", "sources", "battery", "carbon"):
        one.drawn(chart)
        box = page.locator(f"#{chart}").bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.5)
        page.mouse.move(box["x"] + box["width"] * 0.97, box["y"] + box["height"] * 0.2)
    one.ticks(2)
    shown = page.locator("#apps tbody th").all_text_contents()
    assert shown == [*names, "_site"]
    assert page.locator("#containers tbody td").filter(has_text="<script>document.title=2</script>").count() == 8
    expect(page.locator("#badges")).to_contain_text("<u>carbon</u> stale")
    labels = page.locator("#flow .node-label").all_text_contents()
    assert any(label.startswith("<img src=x onerro") for label in labels)
    assert any(label.startswith("a&lt;b&gt; <b>bol") for label in labels)
    assert page.locator("img, #panels script, #panels a, #panels b b, #panels u, #panels i:not(.track i)").count() == 0
    assert page.title() == "edge-site · ecovisor"
    cleaned(one)


def test_a_hundred_apps_are_the_largest_and_the_rest_in_charts_and_all_in_tables(visit: Opening, tmp_path: Path) -> None:
    site = PlayedSite(names=[f"app-{k:02d}" for k in range(100)], past_ticks=60)
    one = visit(site)
    page = one.open()
    one.ticks()
    assert page.locator("#apps tbody tr").count() == 101
    assert page.locator("#containers tbody tr").count() == 200
    one.drawn("flow")
    labels = page.locator("#flow .node-label").all_text_contents()
    assert len([label for label in labels if label.startswith("app-")]) == 6
    assert any(label.startswith("94 others") for label in labels)
    one.ledger_read()
    one.drawn("sources")
    one.drawn_to("sources", 2, {-2: sum(row["grid_to_load_w"] for row in site.rows[-1].values())})
    grid = [value for value in one.traces("sources")["grid"] if value is not None]
    assert grid[30] == pytest.approx(sum(row["grid_to_load_w"] for row in site.rows[30].values()))
    page.evaluate("() => scrollTo(0, 0)")
    page.screenshot(path=tmp_path / "hundred-apps.png", full_page=True)
    cleaned(one)


def test_columns_are_sorted_by_keyboard_and_the_site_stays_last(visit: Opening) -> None:
    one = visit()
    page = one.open()
    heading = page.locator("#apps thead button", has_text="Grid share")
    heading.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#apps thead th", has_text="Grid share")).to_have_attribute("aria-sort", "descending")
    apps = [app for app in one.site.site_snapshot().apps if app.app != "_site"]
    expected = sorted(apps, key=lambda app: -app.totals.grid_to_load_wh / app.totals.load_wh)
    assert page.locator("#apps tbody th").all_text_contents() == [*(app.app for app in expected), "_site"]


def test_every_control_can_be_reached_by_keyboard(visit: Opening) -> None:
    one = visit()
    page = one.open()
    page.locator("body").focus()
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("() => document.activeElement.id || document.activeElement.dataset.sun || ''"))
    assert {"sign-out", "sources-of", "window", "events", "containers-filter", "sun-ratio", "0", "0.5", "1"} <= reached


# -- numbers and times


def offset_s(time_s: float, zone: str) -> float:
    offset = datetime.fromtimestamp(time_s, ZoneInfo(zone)).utcoffset()
    assert offset is not None
    return offset.total_seconds()


def test_numbers_read_the_same_as_in_the_terminal(visit: Opening) -> None:
    one = visit()
    page = one.open()
    chosen = random.Random(7)
    values = [0.0, 9.995, 99.95, 999.4, 999.6, 1e6] + [chosen.uniform(-1, 1) * 10 ** chosen.uniform(-4, 6) for _ in range(400)]
    [address] = [url for url in one.requested if url.endswith("/format.js")]
    script = """async ([address, values]) => {
      const f = await import(address);
      return values.map(v => [f.figures(v), f.quantity(v, 'W'), f.duration(Math.abs(v))]);
    }"""
    for value, (three, watts, span) in zip(values, page.evaluate(script, [address, values]), strict=True):
        assert three == figures(value)
        assert watts == quantity(value, "W")
        if abs(value) >= 60:
            assert span == human_duration(abs(value))


def test_site_time_is_the_zones(visit: Opening) -> None:
    one = visit()
    page = one.open()
    [address] = [url for url in one.requested if url.endswith("/format.js")]
    zones = ["UTC", "America/Los_Angeles", "Asia/Kolkata", "Europe/Berlin", "Pacific/Chatham", "America/St_Johns"]
    times = [START_S + 86400.0 * 31 * k + 1234 for k in range(13)]
    script = """async ([address, zones, times]) => {
      const f = await import(address);
      return zones.map(z => times.map(t => f.offsetOf(t, z)));
    }"""
    for zone, offsets in zip(zones, page.evaluate(script, [address, zones, times]), strict=True):
        assert offsets == [offset_s(time_s, zone) for time_s in times]
    shown = datetime.fromtimestamp(one.site.now_s, ZoneInfo("America/Los_Angeles"))
    assert f"{shown:%a, %d %b %Y, %H:%M:%S}" in one.text("#site-time")


# -- for people


@pytest.mark.parametrize(
    ("name", "context"),
    [
        ("light", {"color_scheme": "light"}),
        ("dark", {"color_scheme": "dark"}),
        ("phone", {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True}),
        ("wall", {"viewport": {"width": 3840, "height": 2160}}),
    ],
)
def test_it_fits_every_screen_and_nothing_jumps(visit: Opening, tmp_path: Path, name: str, context: dict[str, object]) -> None:
    one = visit(PlayedSite(missing=set(range(100, 112)), past_ticks=350), **context)
    page = one.open()
    one.ledger_read()
    for chart in ("flow", "signals", "sources", "battery", "carbon"):
        one.drawn(chart)
    places = """() => [...document.querySelectorAll('.panel, .tile')].map(e => {
      const r = e.getBoundingClientRect();
      return [r.x, r.y + scrollY, r.width, r.height].map(Math.round);
    })"""
    before = page.evaluate(places)
    one.ticks(5)
    page.wait_for_timeout(500)
    assert page.evaluate(places) == before
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    page.evaluate("() => scrollTo(0, 0)")
    page.wait_for_timeout(3500)
    page.screenshot(path=tmp_path / f"{name}.png", full_page=True)
    cleaned(one)
