"""What a study leaves behind: its data exactly, whole or not at all, and pages that say all of it and need nothing else."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.studies.made_up_study import FAILED_CLAIM, BadlyDrawn, Calm, Waiting

from ecovisor.model.errors import InputError, SettingsError
from ecovisor.studies import folder as study_folder
from ecovisor.studies.findings import Column, Number, Table
from ecovisor.studies.folder import new_folder, run_study
from ecovisor.studies.record import Record, read_record, write_tables
from ecovisor.studies.report import summary, write_report
from ecovisor.studies.report_chart import paper_and_ours
from ecovisor.studies.report_html import report as page_of
from ecovisor.studies.report_words import Failure, difference, figure_name, spelled
from ecovisor.studies.study import Context
from ecovisor.studies.traces import Traces


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return run_study(Waiting(), Context(traces=Traces()), tmp_path_factory.mktemp("made") / "fig4")


def test_a_study_s_folder_has_its_data_what_is_known_its_plots_and_a_page(record: Record) -> None:
    assert sorted(path.name for path in record.folder.iterdir()) == [
        "README.md", "hours.csv", "hours.png", "policies.csv", "study.json",
    ]  # fmt: skip
    assert (record.folder / "hours.csv").read_text() == "hour_h,carbon_g_per_kwh\n0.0,0.1\n1.0,\n2.0,1e-17\n"
    info = json.loads((record.folder / "study.json").read_text())
    assert info["settings"] == {"seeds": 10, "seed": 0, "modelled": True}
    assert info["versions"]["python"].startswith("3.")
    assert info["pictures"] == [{"file": "hours.png", "caption": "Carbon by the hour."}]
    assert info["claims"][1]["held"] is False
    assert info["numbers"][2]["ours"] is None


def test_what_is_read_back_is_what_was_found(record: Record) -> None:
    found = Waiting().run(Context(traces=Traces()))
    back = record.findings
    assert (back.claims, back.parameters, back.notes, back.origins) == (found.claims, found.parameters, found.notes, found.origins)
    assert [repr(number) for number in back.numbers] == [repr(number) for number in found.numbers]
    assert [repr(rerun) for rerun in back.reruns] == [repr(rerun) for rerun in found.reruns]
    assert repr(back.tables) == repr(found.tables)


COLUMNS = st.one_of(
    st.lists(st.floats(width=64), min_size=3, max_size=3),
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\x00")), min_size=3, max_size=3),
)


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), COLUMNS, min_size=1, max_size=4))
def test_tables_are_exact_both_ways(tmp_path_factory: pytest.TempPathFactory, columns: dict[str, Column]) -> None:
    folder = tmp_path_factory.mktemp("table")
    tables = write_tables({"t": Table(columns=columns)}, folder)
    info = {"name": "x", "title": "", "source": "", "tables": tables, "numbers": [], "claims": [], "parameters": [], "reruns": []}
    (folder / "study.json").write_text(json.dumps(info | {"origins": {}, "notes": []}))
    back = read_record(folder).findings.tables["t"].columns
    assert list(back) == list(columns)
    for name, values in columns.items():
        assert list(map(repr, back[name])) == list(map(repr, values))


def test_columns_of_unequal_length_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"table 't': its columns have \[1, 2\] rows"):
        write_tables({"t": Table(columns={"a": [1.0], "b": [1.0, 2.0]})}, tmp_path)


def test_data_that_were_changed_are_refused(tmp_path: Path) -> None:
    folder = run_study(Waiting(), Context(traces=Traces()), tmp_path / "fig4").folder
    (folder / "hours.csv").write_text("hour_h,carbon_g_per_kwh\n0.0,7.0\n")
    with pytest.raises(InputError, match=r"hours\.csv: is not what study\.json says"):
        read_record(folder)
    (folder / "hours.csv").unlink()
    with pytest.raises(InputError, match=r"it has no hours\.csv"):
        read_record(folder)
    (folder / "study.json").write_text("{}")
    with pytest.raises(InputError, match=r"cannot be read"):
        read_record(folder)


def test_a_study_that_cannot_be_drawn_leaves_no_half_folder(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        run_study(BadlyDrawn(), Context(traces=Traces()), tmp_path / "badly")
    assert not (tmp_path / "badly").exists()


def test_without_matplotlib_the_tables_are_there_and_a_note_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_folder, "find_spec", lambda name: None)
    record = run_study(Waiting(), Context(traces=Traces()), tmp_path / "fig4")
    assert record.pictures == []
    assert record.findings.notes == ["Power is modelled.", study_folder.NO_PICTURES]
    assert (record.folder / "hours.csv").is_file()


@given(st.integers(150, 400), st.integers(150, 300))
@settings(max_examples=20, deadline=None)
def test_a_line_below_a_picture_leaves_the_picture_as_it_is(
    tmp_path_factory: pytest.TempPathFactory, width: int, height: int
) -> None:
    import numpy as np
    from matplotlib import image

    path = tmp_path_factory.mktemp("picture") / "a.png"
    before = np.random.default_rng(width * height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image.imsave(path, before)
    study_folder._write_below(path, "modelled")
    after = np.rint(255 * image.imread(path)[:, :, :3]).astype(np.uint8)
    assert after.shape == (height + 32, width, 3)
    assert (after[:height] == before).all()
    assert after[height:].min() < 180


def test_a_folder_is_there_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "fig4"

    def interrupted() -> None:
        with new_folder(target, overwrite=False) as partial:
            (partial / "study.json").write_text("{}")
            assert not target.exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []
    for content in ("1", "2"):
        with new_folder(target, overwrite=content == "2") as partial:
            (partial / "study.json").write_text(content)
        assert (target / "study.json").read_text() == content
        assert [path.name for path in target.parent.iterdir()] == ["fig4"]
    with pytest.raises(SettingsError, match="exists"), new_folder(target, overwrite=False):
        pass


def test_what_no_study_wrote_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(SettingsError, match="something else"), new_folder(tmp_path / "mine", overwrite=True):
        pass
    with (
        pytest.raises(SettingsError, match="cannot be written"),
        new_folder(tmp_path / "mine" / "thesis.txt" / "x", overwrite=False),
    ):
        pass
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


class _Page(HTMLParser):
    """What a browser would fetch, and the text that is shown."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.linked: list[str] = []
        self.words = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "srcset", "data", "action"):
                self.fetched.append(value or "")
            if name == "id":
                self.ids.append(value or "")
            if name == "href":
                self.linked.append(value or "")

    def handle_data(self, data: str) -> None:
        self.words += f"{data} "


def test_the_page_needs_nothing_else_and_says_everything(record: Record, tmp_path: Path) -> None:
    calm = run_study(Calm(), Context(traces=Traces()), tmp_path / "fig5")
    text = page_of([record, calm], [Failure("broken", "ValueError: <one> (x.py, line 3)")])
    page = _Page(text)
    assert all(address.startswith("data:image/png;base64,") for address in page.fetched)
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert "url(" not in text and "@import" not in text
    assert set(page.linked) == {"#summary", "#fig4", "#fig5"} and set(page.ids) == {"summary", "fig4", "fig5"}
    for told in (
        "2 of 3", "Waiting emits less", FAILED_CLAIM, "14.2 g against 25.1 g", "−25.01", "−22.2 ± 4.0", "−21.0 ± 6.0", "−31.0",
        "+2.8 pp", "Shorter jobs.", "Direct emissions", "6.10 → 7.00 ×", "Half of it.", "It never ends.", "Something else",
        "Not stated", "assumed", "Carbon by the hour.", "Power is modelled.", "modelled from the statistics", "hours.csv",
        "Input series are modelled", "ValueError: <one>", "It is calm",
    ):  # fmt: skip
        assert told in page.words, told
    assert len(page.fetched) == 1


def test_the_page_of_a_study_alone_has_no_contents(record: Record) -> None:
    page = _Page(page_of([record], []))
    assert "nav" not in page.tags and "h2" not in page.tags
    assert "Figure 4: Waiting against not waiting" in page.words


def test_a_report_where_nothing_could_be_run_says_so() -> None:
    assert "nothing could be run" in page_of([], [Failure("x", "y")])


def test_the_report_of_several_stands_beside_their_folders(record: Record, tmp_path: Path) -> None:
    calm = run_study(Calm(), Context(traces=Traces()), tmp_path / "fig5")
    waiting = run_study(Waiting(), Context(traces=Traces()), tmp_path / "fig4")
    write_report([waiting, calm], [Failure("broken", "badly")], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fig4", "fig5", "report.html", "report.md", "studies.json"]
    text = (tmp_path / "report.md").read_text("utf-8")
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", text):
        assert (tmp_path / picture).is_file()
    assert "2 of 3 claims hold; 3 numbers" in text and "- broken: badly" in text
    told = json.loads((tmp_path / "studies.json").read_text())
    assert (told["held"], told["claims"], told["claims_held"], told["modelled"]) == (False, 3, 2, True)
    assert told["studies"][0]["numbers"][0]["difference"] == pytest.approx(2.76)


def test_a_study_alone_has_a_page_and_no_second_list_of_claims(tmp_path: Path) -> None:
    waiting = run_study(Waiting(), Context(traces=Traces()), tmp_path / "fig4")
    write_report([waiting], [], waiting.folder)
    assert (waiting.folder / "report.html").is_file()
    assert not (waiting.folder / "studies.json").exists()
    assert summary([waiting], [])["held"] is False


def test_tables_in_markdown_have_as_many_cells_in_every_row(record: Record) -> None:
    text = (record.folder / "README.md").read_text("utf-8")
    tables = re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    assert len(tables) == 3
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (-25.04, "%", "−25.0"), (0.0, "g", "0"), (1234.5, "g", "1,234"), (6.1, "×", "6.10"), (0.04567, "Wh", "0.0457"),
        (99.96, "s", "100.0"), (1.5e7, "g", "1.5e+07"), (math.nan, "g", "–"), (math.inf, "g", "–"), (None, "g", "–"),
    ],
)  # fmt: skip
def test_numbers_are_spelled_as_people_read_them(value: float | None, unit: str, text: str) -> None:
    assert spelled(value, unit) == text


@pytest.mark.parametrize(
    ("paper", "ours", "unit", "text"),
    [
        (10.0, 12.0, "%", "+2.0 pp"), (10.0, 8.0, "%", "−2.0 pp"), (10.0, 10.0, "%", "0.0 pp"), (7.4, 6.1, "×", "−1.30"),
        (None, 1.0, "%", "–"), (1.0, math.nan, "%", "–"),
    ],
)  # fmt: skip
def test_differences_have_their_sign(paper: float | None, ours: float, unit: str, text: str) -> None:
    assert difference(Number(name="x", unit=unit, paper=paper, ours=ours)) == text


def test_figures_have_their_names() -> None:
    assert [figure_name(name) for name in ("fig4", "fig11", "robustness", "mine.py:Mine")] == [
        "Figure 4", "Figure 11", "Robustness", "mine.py:Mine",
    ]  # fmt: skip


@given(st.lists(st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4), st.floats(0.0, 1e3)), min_size=1, max_size=5))
@example([(0.0, 0.0, 5e-324)])
@example([(0.0, 1e-11, 0.0)])
def test_everything_drawn_lies_in_the_drawing(values: list[tuple[float, float, float]]) -> None:
    rows = [("Figure 4", Number(name="x" * 80, unit="%", paper=paper, ours=ours, spread=spread)) for paper, ours, spread in values]
    drawing = paper_and_ours(rows, "%")
    bars = [(float(left), float(width)) for left, width in re.findall(r"left:([^%]*)%;width:([^%]*)%", drawing)]
    places = [float(left) for left in re.findall(r"left:([^%]*)%", drawing)] + [left + width for left, width in bars]
    assert len(re.findall('class="(?:ours|paper)"', drawing)) == len(bars) == 2 * len(values)
    assert all(-0.02 <= place <= 100.02 for place in places)
    assert all(width >= 0.0 for _, width in bars)


def test_a_drawing_of_nothing_is_left_out() -> None:
    assert paper_and_ours([("Figure 4", Number(name="x", unit="%", paper=None, ours=1.0))], "%") == ""
