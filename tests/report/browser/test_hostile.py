"""What models and the web wrote is data: a report that is full of attacks shows them word for word, runs nothing and fetches nothing."""

import http.server
import threading
from collections.abc import Iterator

import pytest
from cli_fixtures import make_config, make_summary
from report_fixtures import make_row, metrics_row

from espl_bench.analysis.study import gather
from espl_bench.leaderboard.grouping import GroupEntry
from espl_bench.report.page import page as whole_page
from espl_bench.report.page_writer import MIB, build
from espl_bench.report.payload import study_json, tables_json
from espl_bench.runs.run_dir import Log, RunDir


class CanaryServer(http.server.ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Canary)
        self.visits: list[str] = []


class Canary(http.server.BaseHTTPRequestHandler):
    """Writes down who came."""

    def do_GET(self) -> None:
        assert isinstance(self.server, CanaryServer)
        self.server.visits.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def canary() -> Iterator[CanaryServer]:
    server = CanaryServer()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()


def attacks(port: int) -> list[str]:
    """Texts that would run or fetch something if they were ever taken for markup, a script, a style or an address."""
    url = f"http://127.0.0.1:{port}"
    return [
        f"<script>window.ran=1;fetch('{url}/script')</script>",
        f"</script><script>window.ran=2;fetch('{url}/closed')</script>",
        f"<img src={url}/img onerror=\"window.ran=3;fetch('{url}/onerror')\">",
        f"<svg onload=\"window.ran=4;fetch('{url}/svg')\"><image href={url}/image /></svg>",
        f'<iframe srcdoc="<script>parent.ran=5</script>" src={url}/frame></iframe>',
        f"[click](javascript:window.ran=6) ![x]({url}/markdown.png)",
        f'<a href="javascript:window.ran=7" id=evil>evil</a><base href={url}/base/>',
        f"<style>@import '{url}/style';body{{display:none;background:url({url}/bg)}}</style><link rel=stylesheet href={url}/sheet>",
        f"<meta http-equiv=refresh content='0;url={url}/refresh'><form action={url}/form><input autofocus onfocus=window.ran=8></form>",
        "<!--<script>--></textarea></title></style></noscript><b onmouseover=window.ran=9>",
        '"};window.ran=10;//\u2028window.ran=11\u2029{{SCRIPT}}{{DATA}} ]]> &lt;script&gt; \\u003c \\" ${window.ran=12} `',
        "\x00\x07\x1b[31m \u202egnp.exe\u202c \ud800 lone, \U0001f600 \u200bzero",
        "__proto__",
        '<think>let me <img src=x onerror=window.ran=13></think><tool_call>{"q": "<script>window.ran=14</script>"}</tool_call> done',
    ]


def hostile_study(folder, texts: list[str]):
    """A run in whose every free field each of the texts stands, and a summary-only entry with hostile names."""
    run = RunDir.create(
        folder / "run", make_config(env="rulebook", env_options={"world": texts[0], texts[1]: 1}), provenance={texts[0]: texts}
    )
    born = {
        "event": "born",
        "step": 0,
        "id": 0,
        "origin": "root",
        "parents": [],
        "principles": texts,
        "mu": 25.0,
        "sigma": 8.0,
        "evidence": [],
    }
    edits = [{"op": text, "ids": [0], "principle": text, "source": text, "reason": text} for text in texts]
    child = born | {"step": 1, "id": 1, "origin": "mutation", "parents": [0], "principles": [*texts, "one more"], "evidence": edits}
    for event in (
        born,
        child,
        {"event": "rejected", "step": 1, "origin": "mutation", "parents": [0], "reason": texts[0], "detail": texts[1]},
    ):
        run.append(Log.POPULATION, event)
    run.append(Log.METRICS, metrics_row(1))
    run.append(Log.TIMING, {"step": 1, "seconds": 1.0, "tokens_per_second": 1.0})
    rows = [
        make_row(
            place, 0, problem_id=text, question=text, answer=text, turns=[text, text], error=text, lengths=[[len(text)], []],
            surprisals=[[100], []], heard=[[{"tool": text, "text": text}, {"tool": None, "text": text}]], outcome="error",
        )
        for place, text in enumerate(texts)
    ]  # fmt: skip
    run.write_rollouts(1, rows)
    summary = make_summary("espl", model=texts[0], env_options={texts[2]: texts[3]})
    (folder / "run" / "summary.json").write_text(summary.to_json(), encoding="utf-8")
    return folder


def assert_nothing_happened(page, canary) -> None:
    page.wait_for_timeout(300)
    assert page.evaluate("window.ran") is None
    assert canary.visits == []
    assert page.watch.dialogs == []
    assert [url for url in page.watch.requests if not url.startswith("file:")] == []
    theirs = "[...document.scripts].filter((each) => !each.dataset.blob && each.id !== 'study' && each.type !== 'module').length"
    assert page.evaluate(theirs) == 0
    assert page.locator("iframe, img, object, embed, base, form[action], #evil").count() == 0


def test_the_attacks_are_real(open_page, canary, tmp_path):
    """The control: taken for markup, they run and fetch. Else the tests below would show nothing."""
    (tmp_path / "naive.html").write_text("<!doctype html><meta charset=utf-8><title>naive</title><div id=place></div>")
    page = open_page(f"file://{tmp_path / 'naive.html'}", strict=False)
    texts = attacks(canary.server_port)
    page.evaluate("(texts) => { place.innerHTML = texts.slice(2, 5).join('\\n'); }", [text.replace("\ud800", "") for text in texts])
    page.wait_for_function("window.ran !== undefined")
    (tmp_path / "written.html").write_text(f"<!doctype html><meta charset=utf-8><body>{texts[0]}{texts[1]}")
    other = open_page(f"file://{tmp_path / 'written.html'}", strict=False)
    other.wait_for_function("window.ran === 2")
    other.wait_for_timeout(300)
    assert {"/img", "/script", "/closed"} <= set(canary.visits)
    canary.visits.clear()


@pytest.fixture
def hostile_page(open_page, canary, tmp_path):
    study = gather([hostile_study(tmp_path, attacks(canary.server_port))])
    made = build(study, title=attacks(canary.server_port)[1], limit=25 * MIB)
    (tmp_path / "report.html").write_bytes(made.page)
    return open_page(f"file://{tmp_path / 'report.html'}")


def go(page, place: str) -> None:
    page.evaluate("(place) => { location.hash = place; }", place)
    page.wait_for_timeout(250)


def said(page, selector: str) -> list[str]:
    return page.eval_on_selector_all(selector, "(nodes) => nodes.map((node) => node.textContent)")


def test_prompts_and_evidence_stand_there_verbatim(hostile_page, canary):
    page, texts = hostile_page, attacks(canary.server_port)
    go(page, "#/run/run/tree?prompt=1")
    assert said(page, ".panel > .principles .said") == [*texts, "one more"]
    assert said(page, ".diff .same .said") == texts
    assert said(page, ".diff .new .said") == ["one more"]
    evidence = said(page, ".evidence li")
    assert len(evidence) == len(texts)
    assert all(told.count(text) >= 3 for told, text in zip(evidence, texts, strict=True)), "the edit, the principle and the reason"
    assert_nothing_happened(page, canary)


def test_rollouts_stand_there_verbatim(hostile_page, canary):
    page, texts = hostile_page, attacks(canary.server_port)
    go(page, "#/run/run/rollouts")
    for place, text in enumerate(texts):
        page.click(f"#option-{place}")
        page.wait_for_selector(f"#option-{place}[aria-selected=true]")
        page.wait_for_timeout(60)
        assert said(page, "#rollout-detail pre.said")[0] == text
        assert said(page, "#rollout-detail pre.said")[-1] == text
        assert ["".join(page.locator(".turn").nth(each).locator(".said").all_text_contents()) for each in (0, 1)] == [text, text]
        assert said(page, "#rollout-detail pre.reply") == [text, text]
        assert said(page, "#rollout-detail .notice") == [text]
        page.check("#colouring-surprisal", force=True)
        assert "".join(page.locator(".turn").first.locator(".said").all_text_contents()) == text
        page.check("#colouring-none", force=True)
        for link in page.locator("#rollout-detail summary").all():
            link.click()
    assert_nothing_happened(page, canary)


def test_names_and_values_stand_everywhere_else(hostile_page, canary):
    page = hostile_page
    texts = attacks(canary.server_port)
    for place in (
        "#/leaderboard",
        "#/curves",
        "#/runs",
        "#/run/run",
        "#/run/run/card",
        f"#/{texts[0]}",
        "#/run/__proto__/tree",
        "#/run/run/constructor",
    ):
        go(page, place)
        for detail in page.locator("main summary").all():
            detail.click()
    assert page.title() == texts[1]
    go(page, "#/leaderboard")
    assert texts[0] in page.locator("main").text_content()
    go(page, "#/run/run/card")
    assert texts[0] in page.locator("main").text_content()
    assert_nothing_happened(page, canary)


def test_two_hostile_runs_side_by_side(open_page, canary, tmp_path):
    texts = attacks(canary.server_port)
    for name in ("a", "b"):
        hostile_study(tmp_path / name, texts if name == "a" else texts[::-1])
    made = build(gather([tmp_path / "a", tmp_path / "b"]), title="t", limit=25 * MIB)
    (tmp_path / "report.html").write_bytes(made.page)
    page = open_page(f"file://{tmp_path / 'report.html'}#/compare")
    page.wait_for_selector("section[aria-label=Prompts] .principles")
    shown = said(page, "section[aria-label=Prompts] .principles .said")
    assert shown == [*texts, "one more", *texts[::-1], "one more"]
    assert all(text in page.locator("main").text_content() for text in texts[:2])
    assert_nothing_happened(page, canary)


def test_scripts_that_got_into_the_page_would_not_run(open_page, canary, tmp_path):
    """The second line of defence: even markup that an error let through is stopped by the policy."""
    document = study_json(gather([hostile_study(tmp_path, ["a"] * 14)]), tables_json([GroupEntry("espl", make_summary())]), "t", live=False)
    markup = "".join(attacks(canary.server_port)[:5]).encode()
    broken = whole_page("t", document, {}).replace(b"</main>", b"</main>" + markup)
    (tmp_path / "broken.html").write_bytes(broken)
    page = open_page(f"file://{tmp_path / 'broken.html'}", strict=False)
    page.wait_for_timeout(500)
    assert page.evaluate("window.ran") is None
    assert canary.visits == []
    assert any("Content Security Policy" in told for told in page.watch.complaints)
