#!/usr/bin/env python3
"""Checks the page of `specthink serve` in a real browser.

Usage: page_check.py http://127.0.0.1:8080 [--browser /usr/bin/chromium] [--screenshots FOLDER]
       page_check.py --program target/debug/specthink ...

The server must use the built-in pair and keep journals; --program starts such a server. Needs the Python package
playwright and a Chromium (Debian's `chromium` will do; nothing is downloaded). Text that a model cannot be made to
write, and failures that a server does not have on demand, are played to the page in place of the server's response.
Prints what it checks; exits with 1 at the first thing that is not as docs/serve.md says.
"""

import argparse
import json
import pathlib
import tempfile

from playwright.sync_api import TimeoutError, sync_playwright
from served import expect, server

MS = 30_000
TRIES = 12
ASKS = "**/v1/chat/completions"
ENDED = ".answer[aria-busy=false]"
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
POLICY = {
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "img-src 'self' data:",
    "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
}
HOSTILE = [
    ("small", "turn", "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>\n\n"),
    ("large", "reflection", "Wait: `<svg onload=document.title='owned'>` <a href=https://evil.example/>x</a>\n\n"),
    ("small", "turn", "<style>body{display:none}</style>\\boxed{<b>1</b>}"),
]
CORRECTED = [
    ({"content": "7 times 8 is "}, {"writer": "small", "why": "turn"}),
    ({"content": "5"}, {"writer": "large", "why": "review", "correction": {"stood": "54", "gap": 3.25}}),
    ({"content": "6"}, {"writer": "large", "why": "review", "correction": {"stood": "\n", "gap": 1.5}}),
    ({"content": ", so 56."}, {"writer": "small", "why": "turn"}),
]
CONTRAST = """element => {
    const rgb = color => {
        const canvas = document.createElement("canvas").getContext("2d");
        canvas.fillStyle = color;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data.slice(0, 3)];
    };
    const light = color => {
        const linear = c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
        const [r, g, b] = rgb(color).map(c => linear(c / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
    };
    const [ink, ground] = [element, document.body].map(e => getComputedStyle(e));
    const pair = [light(ink.color), light(ground.backgroundColor)];
    return Math.max(...pair) / Math.min(...pair);
}"""


def stream(*chunks, is_whole=True):
    """Returns the body of a stream of chunks, each a (delta, specthink)."""
    events = [json.dumps({"choices": [{"index": 0, "delta": delta}], "specthink": ours}) for delta, ours in chunks]
    return "".join(f"data: {event}\n\n" for event in events + ["[DONE]"] * is_whole)


def written(spans):
    """Returns the chunks of texts by several writers."""
    return [({"content": text}, {"writer": writer, "why": why}) for writer, why, text in spans]

# Wherever a stream is cut, even within a character, its events are the same. An incomplete event does not count.
CUT_EVENTS = """async end => {
    const { events } = await import("/page/sse.js");
    const lines = [": ping", "data: é→😀", "", "event: x", "data:a", "data:  b", "", "data: half", ""];
    const bytes = new TextEncoder().encode(lines.join(end));
    const found = new Set();
    for (let cut = 0; cut <= bytes.length; cut++) {
        const parts = new ReadableStream({
            start(to) {
                to.enqueue(bytes.slice(0, cut));
                to.enqueue(bytes.slice(cut));
                to.close();
            },
        });
        const got = [];
        for await (const event of events(parts)) got.push(event);
        found.add(JSON.stringify(got));
    }
    return [...found];
}"""
SOURCES = """async text => {
    const { sourceRanges } = await import("/page/source.js");
    return sourceRanges(text).map(([from, to]) => text.slice(from, to));
}"""


class Check:
    """A browser, and everything that its pages asked for or complained about."""

    def __init__(self, browser, address, folder):
        self.browser, self.address, self.folder = browser, address.rstrip("/"), folder
        self.asked, self.complaints = [], []

    def open(self, size=WIDE, scheme="light"):
        page = self.browser.new_page(viewport=size, color_scheme=scheme)
        page.set_default_timeout(MS)
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda message: self.hear(message))
        response = page.goto(self.address)
        page.wait_for_selector(".server[data-state=ready]")
        return page, response

    def hear(self, message):
        # The browser logs every error response; the page shows those in words.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self.complaints.append(message.text)

    def play(self, page, body, status=200, kind="text/event-stream"):
        """Plays a response to the next questions of a page."""
        page.unroute(ASKS)
        page.route(ASKS, lambda route: route.fulfill(status=status, body=body, content_type=kind))
        page.fill("#question", "played")
        page.press("#question", "Enter")
        page.wait_for_selector(ENDED)

    def shoot(self, page, name):
        if self.folder:
            page.screenshot(path=self.folder / f"{name}.png", full_page=True)


def check_headers(check):
    page, response = check.open()
    policy = {part.strip() for part in response.headers.get("content-security-policy", "").split(";")}
    expect(policy == POLICY, f"the Content-Security-Policy of the page is {sorted(policy)}")
    expect(response.headers.get("x-content-type-options") == "nosniff", "the page is served without nosniff")
    check.shoot(page, "empty")
    page.close()
    print("headers are strict")


def answer_by_both(page):
    """Clicks examples until an answer has a takeover."""
    examples = page.locator(".example")
    for at in range(TRIES):
        examples.nth(at % examples.count()).click()
        page.wait_for_selector(f"{ENDED} .figures")
        if page.locator(".answer .takeover").count() > 0:
            break


def check_example(check):
    """Clicking examples gives, sooner or later, an answer by both writers, with its figures."""
    page, _ = check.open()
    answer_by_both(page)
    expect(page.locator(".text .run.small").count() > 0, "no words by the small model")
    expect(page.locator(".text .takeover.large").count() > 0, f"no takeover in {TRIES} answers")
    expect(page.locator(".strip .segment").count() >= 3, "the time strip lacks parts")
    for name in ["Tokens", "share", "First text", "Speed", "Bytes"]:
        expect(page.locator(".figures dt", has_text=name).count() > 0, f"the figures lack {name}")
    page.locator(".takeover.large").first.hover()
    tip = page.locator("#tip").inner_text()
    expect("took over" in tip or "led out" in tip, f"a takeover's reason on hover is {tip!r}")
    check.shoot(page, "answer-wide-light")
    page.emulate_media(color_scheme="dark")
    check.shoot(page, "answer-wide-dark")
    page.set_viewport_size(NARROW)
    expect(page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "a phone has to scroll sideways")
    check.shoot(page, "answer-narrow-dark")
    page.emulate_media(color_scheme="light")
    check.shoot(page, "answer-narrow-light")
    page.close()
    print("an example is answered by both models, with reasons and figures")


def check_compare(check):
    page, _ = check.open()
    page.check("#compare")
    page.locator(".example").first.click()
    page.wait_for_selector(f"{ENDED} .figures >> nth=2")
    titles = page.locator(".answer h2").all_inner_texts()
    expect(titles == ["Small model alone", "Both models", "Large model alone"], f"compared are {titles}")
    for at, other in [(0, "large"), (2, "small")]:
        alone = page.locator(".answer").nth(at).locator(f".text .run.{other}")
        expect(alone.count() == 0, f"{titles[at]} has words by the {other} model")
    check.shoot(page, "compare")
    page.close()
    print("three answers are shown side by side")


def check_controls(check):
    """Policy and targets are sent in the API's form."""
    page, _ = check.open()
    options = page.locator("#policy option").all_inner_texts()
    expect("paper" in options and "random" in options, f"the policies offered are {options}")
    page.select_option("#policy", "random")
    page.fill("#share", "10")
    page.fill("#latency", "2.5")
    page.fill("#question", "Start with 84. Add 37. Double it. Add 5. What is the result?")
    with page.expect_request(ASKS) as asked:
        page.click("#go")
    body = asked.value.post_data_json
    ours = {"policy": "random", "targets": ["share<=10%", "latency<=2.5s"]}
    expect(body["specthink"] == ours, f"policy and targets are sent as {body.get('specthink')}")
    page.wait_for_selector(f"{ENDED} .figures")
    page.select_option("#policy", "small-only")
    expect(page.locator("#share").is_disabled(), "targets can be set for a policy without takeovers")
    page.close()
    print("policy and targets are sent")


def check_hostile(check):
    page, _ = check.open()
    check.play(page, stream(*written(HOSTILE)))
    shown = page.locator(".answer .text").inner_text()
    expect(all(text.strip() in shown for _, _, text in HOSTILE), f"hostile text is shown as {shown!r}")
    expect(page.title() == "specthink", "hostile text ran")
    expect(page.locator(".answer :is(img, script, style, svg, a, b)").count() == 0, "hostile text became markup")
    page.close()
    print("hostile text stays text")


def check_corrections(check):
    """Corrections are shown within the small model's words, each with the text that it replaced."""
    page, _ = check.open()
    options = page.locator("#policy option").all_inner_texts()
    expect("review" in options and "strict+review" in options, f"the policies offered are {options}")
    check.play(page, stream(*CORRECTED))
    corrections = page.locator(".answer .correction")
    expect(corrections.all_inner_texts() == ["5", "6"], f"corrections are {corrections.all_inner_texts()}")
    names = [correction.get_attribute("aria-label") for correction in corrections.all()]
    expected = ["corrects “54”, by a gap of 3.3 nats", "corrects “⏎”, by a gap of 1.5 nats"]
    expect(names == [f"Large model: {words}" for words in expected], f"corrections are announced as {names}")
    tip = page.locator("#tip")
    corrections.first.focus()
    expect(tip.inner_text() == names[0], f"a correction with the focus says {tip.inner_text()!r}")
    corrections.last.hover()
    expect(tip.inner_text() == names[1], f"a correction under the pointer says {tip.inner_text()!r}")
    check.shoot(page, "corrections")
    page.close()
    print("corrections are shown with what they replaced")


def check_modules(check):
    page, _ = check.open()
    for end in ["\n", "\r\n"]:
        found = page.evaluate(CUT_EVENTS, end)
        expect(found == ['["é→😀","a\\n b"]'], f"a cut stream with {end!r} gives {found}")
    found = page.evaluate(SOURCES, r"\boxed{a{b}c} `x` $5 and $6 $\pi r$ \(y\) \n ```z")
    expected = [r"\boxed{a{b}c}", "`x`", r"$\pi r$", r"\(y\)", "```z"]
    expect(found == expected, f"what is shown as source is {found}")
    page.close()
    print("streams are read wherever they are cut, and source is recognised")


def check_failures(check):
    page, _ = check.open()
    error = json.dumps({"error": {"message": "256 requests are already waiting", "code": "queue_full"}})
    check.play(page, error, 429, "application/json")
    alert = page.locator(".answer [role=alert]")
    expect("256 requests are already" in alert.inner_text(), f"a refusal is shown as {alert.inner_text()!r}")
    check.shoot(page, "error")
    check.play(page, stream(*written(HOSTILE[:1]), is_whole=False))
    expect("connection was lost" in alert.inner_text(), f"a lost connection is shown as {alert.inner_text()!r}")
    check.play(page, stream(*written(HOSTILE[:1]), is_whole=False) + f"data: {error}\n\n")
    expect("256 requests" in alert.inner_text(), f"an error in the stream is shown as {alert.inner_text()!r}")
    check.play(page, stream(({}, {"degraded": "connection refused"}), *written(HOSTILE[:1])))
    notice = page.locator(".notice").inner_text()
    expect("No large model" in notice and "refused" in notice, f"a lost large node is shown as {notice!r}")
    page.unroute(ASKS)
    page.route(ASKS, lambda route: route.abort())
    page.press("#question", "Enter")
    page.wait_for_selector(f"{ENDED} [role=alert]")
    expect("cannot be reached" in alert.inner_text(), f"an unreachable server is shown as {alert.inner_text()!r}")
    page.unroute(ASKS)
    held = []
    page.route(ASKS, lambda route: held.append(route))
    page.press("#question", "Enter")
    page.click("#stop")
    page.wait_for_selector(".answer[data-state=stopped]")
    expect(page.evaluate("document.activeElement.id") == "go", "the focus does not move from the stop button")
    for route in held:
        route.abort()
    page.close()
    print("failures are shown, and an answer can be stopped")


def check_keyboard(check):
    page, _ = check.open()
    page.keyboard.press("Tab")
    expect(page.evaluate("document.activeElement.id") == "question", "Tab does not reach the question first")
    check.play(page, stream(*written(HOSTILE)))
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.locator(".takeover:focus").count() > 0:
            break
    expect(page.locator(".takeover:focus").count() == 1, "Tab does not reach a takeover")
    name = page.locator(".takeover:focus").get_attribute("aria-label")
    expect(name.startswith("Large model: took over at a reflection"), f"a takeover is announced as {name!r}")
    expect(page.locator("#tip").inner_text().startswith(name), "a takeover with the focus does not show its reason")
    page.keyboard.press("Escape")
    expect(page.locator("#tip").is_hidden(), "Escape does not close the tooltip")
    unnamed = page.locator("input, select, textarea").evaluate_all(
        "fields => fields.filter(field => field.labels.length === 0).map(field => field.id)"
    )
    expect(unnamed == [], f"fields without a label: {unnamed}")
    page.close()
    print("the keyboard reaches everything")


def shown(page):
    """Returns what the page shows of an answer: its words by writer, and the figures."""
    runs = page.locator(".answer .text .run").evaluate_all("runs => runs.map(run => [run.className, run.textContent])")
    return runs, page.locator(".answer .after").inner_text()


def check_nodes(check):
    page, _ = check.open()
    entries = page.locator("#node-list li")
    words = entries.all_inner_texts()
    expect([word.split(":")[0] for word in words] == ["small", "large"], f"the nodes are shown as {words}")
    expect(all("serving" in word for word in words), f"the nodes are shown as {words}")
    hostile = {"part": "large", "name": "<b>n</b>", "state": "gone", "why": "<b>it crashed</b>", "sessions": 0}
    body = json.dumps({"object": "list", "data": [hostile]})
    page.route("**/v1/nodes", lambda route: route.fulfill(body=body, content_type="application/json"))
    page.reload()
    page.wait_for_selector("#node-list li[data-state=away]")
    expect(entries.all_inner_texts() == ["large: <b>n</b>, <b>it crashed</b>, 0 sessions"], "a node's state is missing")
    expect(page.locator("#node-list b").count() == 0, "what a node says became markup")
    page.close()
    print("nodes are shown with their state")


def check_earlier(check):
    """Earlier answers are listed and shown again unchanged, by pointer and keyboard, also after a reload."""
    page, _ = check.open()
    answer_by_both(page)
    live, question = shown(page), page.input_value("#question")
    page.wait_for_selector("#earlier-list li")
    before = page.locator("#earlier-list li").count()
    first = page.locator("#earlier-list button").first
    expect(first.inner_text().startswith(question[:40]), f"the last answer is listed as {first.inner_text()!r}")
    page.fill("#question", "something else")
    first.click()
    page.wait_for_selector(f".answer .asked, {ENDED} .figures >> nth=1")
    page.wait_for_selector(f"{ENDED} .figures")
    expect(shown(page) == live, f"an answer was {live}, but is shown again as {shown(page)}")
    expect(page.locator(".asked dd").all_inner_texts() == [question], "the question of an earlier answer is not shown")
    expect(first.get_attribute("aria-current") == "true", "the answer that is shown is not marked in the list")
    page.locator(".answer .takeover.large").first.hover()
    expect("took over" in page.locator("#tip").inner_text(), "a takeover of an earlier answer does not show its reason")
    check.shoot(page, "earlier-wide-light")
    page.emulate_media(color_scheme="dark")
    check.shoot(page, "earlier-wide-dark")
    page.reload()
    page.wait_for_selector("#earlier-list li")
    expect(page.locator("#earlier-list li").count() >= min(before, 6), "a reload loses earlier answers")
    page.set_viewport_size(NARROW)
    page.locator("#earlier-list button").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(f"{ENDED} .figures")
    # The page scrolls to it smoothly.
    for _ in range(TRIES):
        page.wait_for_timeout(500)
        top = page.locator("#answers").bounding_box()["y"]
        if 0 <= top < NARROW["height"] / 2:
            break
    expect(0 <= top < NARROW["height"] / 2, f"an earlier answer is shown at {top}, out of view")
    expect(page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "a phone has to scroll sideways")
    check.shoot(page, "earlier-narrow-dark")
    page.emulate_media(color_scheme="light")
    check.shoot(page, "earlier-narrow-light")
    page.close()
    print("earlier answers are shown again unchanged")


EARLIER = {
    "id": "played-0", "object": "answer", "created": 1_700_000_000, "question": "<b>2 + 3?</b>", "policy": "strict",
    "small": "s", "large": None, "end": "failed", "failure": "it is gone", "share": 0.5, "takeovers": 0,
    "corrections": 0, "degraded": True, "cost": None, "total_us": 12_000,
    "tokens": {"small": 1, "large": 1, "policy": 0},
}


def check_earlier_played(check):
    """A list with a second page, and an answer that failed."""
    page, _ = check.open()
    of_page = [{**EARLIER, "id": f"played-{at}"} for at in range(6)]
    pages = [{"object": "list", "data": of_page, "has_more": True},
             {"object": "list", "data": [{**EARLIER, "id": "last-0", "end": "deadline"}], "has_more": False}]
    asked = []

    def listed(route):
        asked.append(route.request.url)
        body = json.dumps(pages["after=" in route.request.url])
        route.fulfill(status=200, body=body, content_type="application/json")

    page.route("**/v1/answers?*", listed)
    head = {"policy": "strict", "id": "played-5", "question": {"messages": [
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": "<i>why</i>"}]}}
    body = stream(({"role": "assistant", "content": ""}, head), *written(HOSTILE[:1]), is_whole=False)
    error = json.dumps({"error": {"message": "the journal is damaged", "code": "internal"}})
    page.route("**/v1/answers/played-5?*", lambda route: route.fulfill(
        status=200, body=body + f"data: {error}\n\n", content_type="text/event-stream"))
    page.reload()
    more = page.locator("#earlier-more")
    more.click()
    page.wait_for_selector("#earlier-list li >> nth=6")
    expect("after=played-5" in asked[-1], f"more answers are asked for by {asked[-1]}")
    expect(more.is_hidden(), "the button for more is shown at the end of the list")
    expect(page.evaluate("document.activeElement.dataset.id") == "last-0", "the focus does not move to the new entry")
    entries = page.locator("#earlier-list button").all_inner_texts()
    expect("<b>2 + 3?</b>" in entries[0] and "failed" in entries[0], f"a failed answer is listed as {entries[0]!r}")
    expect("cut off" in entries[6] and "50 % large" in entries[6], f"an answer is listed as {entries[6]!r}")
    expect(page.locator("#earlier-list b").count() == 0, "a question became markup")
    page.locator("#earlier-list button").nth(5).click()
    alert = page.locator(".answer [role=alert]")
    expect("damaged" in alert.inner_text(), f"an unreadable answer is shown as {alert.inner_text()!r}")
    said = page.locator(".asked dd").all_inner_texts()
    expect(said == ["Be brief.", "<i>why</i>"], f"a conversation is shown as {said}")
    page.close()
    print("the list of earlier answers continues, and failures in it are shown")


def check_contrast(check):
    for scheme in ["light", "dark"]:
        page, _ = check.open(scheme=scheme)
        page.wait_for_selector("#earlier-list li")
        for place in [".run.small", ".run.large", ".correction", ".run.policy", ".hint", ".lead", ".server", "footer",
                      ".recall .question", ".recall .about"]:
            contrast = page.locator(place).first.evaluate(CONTRAST)
            expect(contrast >= 4.5, f"{place} has a contrast of {contrast:.2f} in {scheme}")
        page.close()
    print("contrasts are at least 4.5")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", nargs="?", help="the address of a running server")
    parser.add_argument("--program", help="start a server with this specthink, instead of using an address")
    parser.add_argument("--browser", default="/usr/bin/chromium", help="path of a Chromium")
    parser.add_argument("--screenshots", type=pathlib.Path, metavar="FOLDER", help="write screenshots to this folder")
    given = parser.parse_args()
    if given.program:
        with tempfile.TemporaryDirectory() as folder, server(given.program, "--journal-dir", folder) as address:
            check_all(given, address)
    elif given.address:
        check_all(given, given.address)
    else:
        parser.error("give the address of a running server, or --program")


def check_all(given, address):
    with sync_playwright() as playwright:
        # Containers have no user namespaces for the sandbox, and the page is trusted.
        browser = playwright.chromium.launch(executable_path=given.browser, args=["--no-sandbox"])
        check = Check(browser, address, given.screenshots)
        for part in [check_headers, check_example, check_compare, check_controls, check_corrections, check_modules,
                     check_nodes, check_hostile, check_failures, check_keyboard, check_earlier, check_earlier_played,
                     check_contrast]:
            try:
                part(check)
            except TimeoutError as error:
                expect(False, f"{part.__name__} timed out: {error}")
        browser.close()
    expect(check.complaints == [], f"the browser complained: {set(check.complaints)}")
    paths = {url.removeprefix(check.address) for url in check.asked if not url.startswith("data:")}
    known = ("/page/", "/v1/")
    others = {path for path in paths if path not in ("/", "/ready", "/version") and not path.startswith(known)}
    expect(others == set(), f"the page requested {others}")
    print("nothing else was requested; all is as it should be")


if __name__ == "__main__":
    main()
