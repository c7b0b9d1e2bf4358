"""Reading scenarios: every wrong field is one line that names file, field, value, bound and remedy."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecovisor.adapters.scenario_checks import interval_of, moment_s, span_s
from ecovisor.adapters.scenario_files import list_bundled, load_scenario
from ecovisor.adapters.scenario_keys import apply_override, value_of
from ecovisor.model.errors import SettingsError
from ecovisor.settings import Run

GOOD = """
schema = 1
[site.battery]
capacity_wh = 100
[signals.carbon]
kind = "constant"
value = 200
[[apps]]
name = "train"
share = 0.5
workload = { kind = "batch", work_core_hours = 10 }
policy = { kind = "suspend-resume", threshold_g_per_kwh = 250 }
[[apps]]
name = "web.eu"
share = 0.5
workload = { kind = "constant", demand_w = 5 }
[run]
start = 2020-06-01T00:00:00Z
duration = "1d"
"""


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "site.toml"
    path.write_text(GOOD, encoding="utf-8")
    return path


def refusal(source: object, *overrides: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load_scenario(str(source), overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_good_file_is_read_with_its_folder(good: Path) -> None:
    scenario, folder = load_scenario(str(good))
    assert [app.name for app in scenario.apps] == ["train", "web.eu"]
    assert folder == good.parent


def test_every_bundled_scenario_is_valid_and_titled() -> None:
    bundled = list_bundled()
    assert {"edge-site", "two-apps", "many-apps"} <= set(bundled)
    for name, title in bundled.items():
        scenario, _ = load_scenario(name)
        assert title == scenario.title != ""


def test_a_file_comes_before_a_bundled_scenario_of_the_same_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "two-apps").write_text(GOOD, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert load_scenario("two-apps")[0].apps[0].name == "train"


def test_what_cannot_be_found_or_read_is_one_line(tmp_path: Path, good: Path) -> None:
    assert refusal(tmp_path / "no.toml").endswith("no.toml: no such file; check the path, or write a scenario with 'ecovisor init'")
    assert refusal("edge-sit") == "edge-sit: neither a file nor a bundled scenario; did you mean 'edge-site'?"
    assert "is a folder" in refusal(tmp_path)
    good.write_bytes(b"schema = 1\n# caf\xe9\n")
    assert "site.toml: is not UTF-8 (byte 16); save it as UTF-8" in refusal(good)
    good.write_text("schema = 1\n[site\n", encoding="utf-8")
    assert "site.toml: line 2: is no TOML" in refusal(good)
    good.write_text("schema = 1\n[site]\n[site]\n", encoding="utf-8")
    assert "site.toml: line 3: is no TOML" in refusal(good)
    good.write_text('schema = """\n\n', encoding="utf-8")
    assert "site.toml: line 2: is no TOML" in refusal(good)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_one_line(good: Path) -> None:
    good.chmod(0)
    assert "cannot be read: Permission denied" in refusal(good)


def test_a_byte_order_mark_is_no_obstacle(good: Path) -> None:
    good.write_text("\ufeff" + GOOD, encoding="utf-8")
    assert load_scenario(str(good))[0].schema == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("schema = 1", "", "schema: missing; write 'schema = 1' as the first line"),
        ("schema = 1", "schema = 2", "schema: 2 is not supported; this version reads 'schema = 1'"),
        ("[site.battery]", "[site.batery]", "site.batery: no such key; did you mean 'battery'?"),
        ("value = 200", "valeu = 200", "signals.carbon.valeu: no such key; did you mean 'value'?"),
        ("value = 200", 'value = "200"', "signals.carbon.value: is text ('200'), must be a number; give a number"),
        ("value = 200", "value = nan", "signals.carbon.value: is nan, must be a finite number; give a number"),
        ("value = 200", "", "signals.carbon.value: missing; the signal 'constant' needs it"),
        (
            "capacity_wh = 100",
            "capacity_wh = -5",
            "site.battery.capacity_wh: is -5, must be more than 0; give a value within the bound",
        ),
        (
            "capacity_wh = 100",
            "capacity_wh = inf",
            "site.battery.capacity_wh: is inf, must be a finite number; leave the field out",
        ),
        ("share = 0.5", "share = 1.5", "apps[0].share (app 'train'): is 1.5, must be at most 1; give a value within the bound"),
        ("share = 0.5", "share = 0.7", "apps: the shares of grid add up to 1.2 (train 0.7, web.eu 0.5); lower share or grid_share"),
        ("share = 0.5", "share = 0.5\nsolar_share = 0.6", "apps: the shares of solar add up to 1.1 (train 0.6, web.eu 0.5)"),
        ('name = "train"', "", "apps[0].name: missing; add name = …"),
        ('name = "train"', 'name = "web.eu"', "apps[1].name (app 'web.eu'): 'web.eu' is already the name of apps[0]"),
        ('name = "train"', 'name = "_site"', "apps[0].name (app '_site'): '_site' is reserved"),
        ('name = "train"', 'name = "a b"', "apps[0].name (app 'a b'): 'a b' is no name; use letters"),
        ("work_core_hours = 10", "work_core_hour = 10", "apps[0].workload.work_core_hour (app 'train'): no such key"),
        (", work_core_hours = 10", "", "apps[0].workload.work_core_hours (app 'train'): missing; the workload 'batch' needs it"),
        ("demand_w = 5", "demand_w = -5", "apps[1].workload.demand_w (app 'web.eu'): is -5, must be at least 0"),
        (", demand_w = 5", "", "apps[1].workload.demand_w (app 'web.eu'): missing; the workload 'constant' needs it"),
        (
            'kind = "suspend-resume"',
            'kind = "suspend-resme"',
            "no policy is called 'suspend-resme'; did you mean 'suspend-resume'?",
        ),
        ('kind = "batch"', 'kind = "my.py:Work"', "apps[0].workload.kind (app 'train'): no file 'my.py' in"),
        (
            "threshold_g_per_kwh = 250",
            "charge_rate_w = 5",
            "makes no sense for the policy 'suspend-resume'; only battery-arbitrage takes it",
        ),
        (
            "threshold_g_per_kwh = 250",
            "scale = 3",
            "scale (app 'train'): makes no sense for the policy 'suspend-resume'; only wait-and-scale",
        ),
        (
            "threshold_g_per_kwh = 250",
            "options = {a = 1}",
            "options (app 'train'): makes no sense for the policy 'suspend-resume'; only plug-ins",
        ),
        (
            "threshold_g_per_kwh = 250",
            "threshold_g_per_kwh = 9, percentile = 3",
            "percentile (app 'train'): given together with threshold",
        ),
        ("threshold_g_per_kwh = 250", 'window = "2 days"', "apps[0].policy.window (app 'train'): '2 days' is no positive duration"),
        ("[signals.carbon]", "[signals.co2]", "apps[0].policy.kind (app 'train'): suspend-resume needs the signal 'carbon'"),
        ("2020-06-01T00:00:00Z", "2020-06-01T00:00:00", "run.start: '2020-06-01T00:00:00' names no time zone; append 'Z'"),
        ("2020-06-01T00:00:00Z", '"June"', "run.start: 'June' is no instant; write ISO 8601"),
        ('duration = "1d"', "", "run.duration: neither is given of duration and end; give exactly one"),
        ('duration = "1d"', 'duration = "1d"\nend = 2020-06-02T00:00:00Z', "run.duration: both are given of duration and end"),
        ('duration = "1d"', "end = 2020-05-02T00:00:00Z", "run.end: 2020-05-02T00:00:00Z is not after the start"),
        ('duration = "1d"', 'duration = "-1d"', "run.duration: '-1d' is no positive duration; write for example"),
        ('duration = "1d"', 'duration = "1d"\ntick = "7min"', "run.tick: 7 min does not divide the run of 1 d"),
        (
            'duration = "1d"',
            'duration = "1d"\ntick = 60',
            'run.tick: is a whole number (60), must be text; put it in quotes, with its unit: "60s"',
        ),
        (
            'duration = "1d"',
            'duration = "1d"\nrecord = "everything"',
            "run.record: 'everything' is not one of its values; known: all, totals",
        ),
        ('duration = "1d"', 'duration = "1d"\nseed = 1.5', "run.seed: is a number (1.5), must be a whole number"),
        ("[run]", "[runs]", "runs: no such key; did you mean 'run'?"),
        ("[site.battery]", '[site]\ntimezone = "America/Los_Angelos"\n[site.battery]', "did you mean 'America/Los_Angeles'?"),
        (
            "[site.battery]",
            '[site]\ntimezone = "../x"\n[site.battery]',
            "site.timezone: no time zone is called '../x'; give an IANA name",
        ),
        ("[site.battery]", '[site]\nexcess = ["curtail", "share"]\n[site.battery]', "site.excess: has a policy after 'curtail'"),
        ("[site.battery]", '[site]\nexcess = ["share", "share"]\n[site.battery]', "site.excess: names a policy twice"),
        (
            "[site.battery]",
            '[site]\nexcess = ["shore"]\n[site.battery]',
            "site.excess[0]: 'shore' is not one of its values; did you mean 'share'?",
        ),
        ("[site.battery]", "[site]\nexport_limit_w = 5\n[site.battery]", "site.export_limit_w: is 5 W, but nothing is exported"),
        ("[site.battery]\ncapacity_wh = 100", "[[site]]", "site: is a list, must be a table; give a table"),
        (
            "value = 200",
            'value = 200\nzone = "FR"',
            "signals.carbon.zone: makes no sense for the signal 'constant'; only modelled-carbon takes it",
        ),
        ('kind = "constant"\nvalue = 200', 'kind = "file"', "signals.carbon.file: missing; the signal 'file' needs it"),
        (
            'kind = "constant"\nvalue = 200',
            'kind = "fil"\nvalue = 2',
            "signals.carbon.kind: no signal is called 'fil'; did you mean 'file'?",
        ),
    ],
)
def test_a_wrong_field_is_one_line_naming_file_field_value_and_remedy(good: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    good.write_text(GOOD.replace(old, new, 1), encoding="utf-8")
    found = refusal(good)
    assert found.startswith(f"{good}: ")
    assert message in found


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("apps.train.workload.deadline=-1h", "'-1h' is no positive duration"),
        ("apps.train.workload.deadline=2020-05-01T00:00Z", "is not after the start"),
        ("apps.train.workload.start=2d", "apps[0].workload.start (app 'train'): 2020-06-03T00:00:00Z is outside the run"),
        ("apps.train.workload.start=2020-06-01T05:00", "names no time zone"),
        ("apps.train.workload.scaling_table=[]", "has 0 points, must have 2 to 16"),
        (
            "apps.train.workload.scaling_table=[[1, 1], [2]]",
            "scaling_table[1] (app 'train'): is [2.0], must be two positive numbers",
        ),
        ("apps.train.workload.scaling_table=[[2, 1], [1, 1]]", "scaling_table[1] (app 'train'): 1 cores do not follow 2"),
        (
            "apps.train.workload={kind='batch', work_core_hours=1, scaling_table=[[1,1]], usl_coherency=0.1}",
            "together with the universal",
        ),
        ("apps.train.workload.checkpoint_duration=5min", "given without checkpoint_interval"),
        (
            "apps.train.workload={kind='batch', work_core_hours=1, checkpoint_interval='5min', checkpoint_duration='5min'}",
            "not shorter",
        ),
        ("apps.train.workload={kind='trace', trace='lod'}", "no signal is called 'lod'; known: carbon"),
        ("apps.train.policy={kind='wait-and-scale', scale=0.5}", "scale (app 'train'): is 0.5, must be at least 1"),
        ("apps.train.policy={kind='static-carbon-rate'}", "carbon_rate_g_per_h (app 'train'): missing"),
        ("apps.train.policy={kind='battery-arbitrage', charge_below_g_per_kwh=9, discharge_above_g_per_kwh=5}", "is 9, more than"),
        ("signals.carbon.forecast=perfct", "forecast: makes no sense for the signal 'constant'"),
        (
            "signals.carbon={kind='file', file='x.csv', forecast='perfct'}",
            "'perfct' is no forecast of a file signal; did you mean 'perfect'?",
        ),
        ("signals.carbon={kind='file', file='x.csv', max_gap='long'}", "signals.carbon.max_gap: 'long' is no positive duration"),
        ("signals.carbon={kind='file', file='x.csv', timezone='Mars'}", "signals.carbon.timezone: no time zone is called 'Mars'"),
        ("signals.carbon={kind='modelled-carbon', zone='FR', step='x'}", "signals.carbon.step: 'x' is no positive duration"),
        ("apps.train.workload={kind='mine', work_core_hours=1}", "no workload is called 'mine'"),
        ("site.battery={charge_c_rate=1}", "site.battery.capacity_wh: missing"),
        ("site.server.cores=6", "site.server.power_curve_w: missing for a server of 6 cores"),
        ("site.batery.capacity_wh=5", "site.batery: no such key; did you mean 'battery'?"),
        ("apps[0].share=0.9", "apps: the shares of grid add up to 1.4"),
    ],
)
def test_a_wrong_override_is_one_line_naming_it(good: Path, override: str, message: str) -> None:
    found = refusal(good, override)
    assert found.startswith((f"--set {override}: ", f"{good}: "))
    assert message in found


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("run.tick", "--set run.tick: has no '='"),
        ("=3", "--set =3: has no key before '='"),
        ("run..tick=3", "'run..tick' is no key path"),
        ("site.excess[x]=3", "'site.excess[x]' is no key path"),
        ("apps.trian.share=1", "no app is called 'trian'; did you mean 'train'?"),
        ("apps[7].share=1", "apps has 2 entries, numbered from 0"),
        ("schema.x=1", "schema is no table with a key 'x'"),
        ("schema.x.y=1", "schema is no table with a key 'x'"),
    ],
)
def test_an_override_that_is_no_key_path_is_refused(good: Path, override: str, message: str) -> None:
    assert message in refusal(good, override)


def test_an_override_names_apps_by_name_or_index_and_makes_tables(good: Path) -> None:
    scenario, _ = load_scenario(
        str(good),
        [
            "apps.train.share=0.25",
            "apps.web.eu.share=0.1",
            "apps[1].cores=2",
            "site.server.preset=microserver",
            "run.tick=5min",
            "site.battery.capacity_wh=200",
            "run.start=2020-06-02T00:00Z",
            'site.excess=["share", "export", "curtail"]',
            "site.excess[0]=share",
        ],
    )
    assert [(app.share, app.cores) for app in scenario.apps] == [(0.25, 1.0), (0.1, 2.0)]
    assert scenario.site.server.preset == "microserver"
    assert scenario.site.battery is not None
    assert scenario.site.battery.capacity_wh == 200
    assert (scenario.run.tick, scenario.run.start) == ("5min", "2020-06-02T00:00Z")


def test_a_later_override_wins(good: Path) -> None:
    assert load_scenario(str(good), ["run.seed=1", "run.seed=2"])[0].run.seed == 2


def test_a_signal_with_a_dot_in_its_name_can_be_overridden(good: Path) -> None:
    good.write_text(GOOD + '[signals."load.eu"]\nkind = "constant"\nvalue = 1\n', encoding="utf-8")
    assert load_scenario(str(good), ["signals.load.eu.value=7"])[0].signals["load.eu"].value == 7


def test_copies_are_counted_in_shares_and_names(good: Path) -> None:
    assert load_scenario(str(good), ["apps.train.count=1000"])[0].apps[0].count == 1000
    assert "'train-7' is also a copy of apps[0]" in refusal(good, "apps.train.count=10", "apps[1].name=train-7")
    load_scenario(str(good), ["apps.train.count=5", "apps[1].name=train-7"])


def test_a_scenario_without_app_tells_so_in_an_override(good: Path) -> None:
    good.write_text('schema = 1\n[run]\nstart = "2020-06-01T00:00Z"\nduration = "1d"\n', encoding="utf-8")
    assert load_scenario(str(good))[0].apps == []
    assert "no app is called 'x'; the scenario has no apps" in refusal(good, "apps.x.share=1")


def test_a_plug_in_file_beside_the_scenario_is_accepted(good: Path) -> None:
    (good.parent / "mine.py").write_text("class Mine: ...\n", encoding="utf-8")
    overrides = ["apps.train.policy={kind='mine.py:Mine', options={a=1}}", "signals.extra={kind='mine.py:Mine', value=1}"]
    assert load_scenario(str(good), overrides)[0].apps[0].policy.options == {"a": 1}
    assert "only batch, task-queue and training take it; put it in options" in refusal(
        good, "apps.train.workload={kind='mine.py:Mine', work_core_hours=1}"
    )


def test_zero_is_a_duration_only_where_nothing_may_happen() -> None:
    assert span_s("0s", "x") == span_s("0", "x") == 0.0
    assert span_s("5min", "x") == 300.0
    assert moment_s("6h", 100.0, "x") == 100.0 + 6 * 3600
    assert moment_s("1970-01-01T00:01Z", 100.0, "x") == 60.0


@given(st.integers(1, 10_000), st.integers(1, 3600))
def test_a_run_is_a_whole_number_of_ticks(ticks: int, tick_s: int) -> None:
    interval = interval_of(Run(start="2020-06-01T00:00:00+02:00", duration=f"{ticks * tick_s}s", tick=f"{tick_s}s"))
    assert (interval.ticks, interval.tick_s) == (ticks, tick_s)
    assert interval.end_s - interval.start_s == ticks * tick_s


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_override_is_applied_or_refused_in_one_line(key: str, value: str) -> None:
    tables: dict[str, object] = {"apps": [{"name": "a"}], "signals": {}, "run": {"start": "x"}}
    with suppress(SettingsError):
        assert apply_override(tables, f"{key}={value}")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.3", 0.3),
        ("true", True),
        ("5min", "5min"),
        ('"5"', "5"),
        ("1\nb=2", "1\nb=2"),
        ("2020-06-01T00:00:00Z", "2020-06-01T00:00:00+00:00"),
    ],
)
def test_the_value_of_an_override_is_toml_or_text(text: str, value: object) -> None:
    assert value_of(text) == value
