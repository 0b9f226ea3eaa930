// Starts the page: the header, the view that the address names, and in `espl-bench view` a look every two seconds whether runs have moved on.

import { el, link, notice, say } from "./dom.js";
import { route } from "./router.js";
import { tick } from "./state.js";
import { live, refresh, study } from "./store.js";
import { leaderboard } from "./leaderboard.js";
import { curves } from "./curves.js";
import { comparison } from "./compare.js";
import { runList, runPage } from "./runs.js";
import { themeChoice } from "./theme.js";

const PAGES = { leaderboard, curves, runs: runList, run: runPage, compare: comparison };
const EVERY = 2000;
const main = document.getElementById("main");
let turn_ = 0;

function header(page) {
  const entries = [["leaderboard", "Leaderboard"], ["curves", "Curves"], ["runs", "Runs"], ...(study.runs.length > 1 ? [["compare", "Two runs"]] : [])].map(([name, text]) => link(name, { "aria-current": name === page || (name === "runs" && page === "run") ? "page" : null }, text));
  return [el("span", { class: "brand" }, "espl-bench"), el("span", { class: "title" }, study.title), el("nav", { "aria-label": "Pages" }, entries), live ? el("span", { class: "live", id: "live" }, liveText()) : null, themeChoice()];
}

// What is being followed: a server that answers is not yet a run that lives.
function liveText() {
  const going = study.runs.filter((run) => run.state === "running").length;
  if (going) return `live, ${going} running`;
  return study.runs.length || study.boards ? "live, nothing running" : "live, waiting for a run";
}

function firstPage() {
  if (study.boards?.tests?.length || study.runs.length !== 1) return "leaderboard";
  return "runs";
}

// Draws the view anew. What had the focus, what was unfolded and where it was scrolled to stay so.
async function draw() {
  const mine = ++turn_;
  const page = route().parts[0] ?? firstPage();
  const focused = document.activeElement?.id;
  const unfolded = new Map([...main.querySelectorAll("details")].map((each) => [each.firstChild.textContent, each.open]));
  const slid = main.querySelector(".side")?.scrollTop ?? 0;
  let content;
  try {
    content = PAGES[page] ? await PAGES[page](draw) : [el("h1", {}, "Not here"), notice("This report has no such page.")];
  } catch (error) {
    content = [el("h1", {}, "Not readable"), notice(error.message)];
  }
  if (mine !== turn_) return;  // a later call has overtaken this one
  const again = main.dataset.page === location.hash.split("?")[0];
  const scroll = again ? scrollY : 0;
  main.dataset.page = location.hash.split("?")[0];
  document.getElementById("top").replaceChildren(...header(page).filter(Boolean));
  main.replaceChildren(...content.flat(Infinity).filter(Boolean));
  if (again) {
    for (const each of main.querySelectorAll("details")) each.open = unfolded.get(each.firstChild.textContent) ?? each.open;
    const side = main.querySelector(".side");
    if (side) side.scrollTop = slid;
  }
  scrollTo(0, scroll);
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

async function follow() {
  const badge = () => document.getElementById("live");
  try {
    if (await refresh()) {
      await draw();
      say(`updated: ${liveText()}`);
    }
    tick();
    badge()?.classList.remove("lost");
  } catch {  // the server was stopped: what is on the page stays
    badge()?.classList.add("lost");
    if (badge()) badge().textContent = "server stopped";
  }
  setTimeout(follow, EVERY);
}

document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
addEventListener("hashchange", draw);
await refresh();
await draw();
if (live) setTimeout(follow, EVERY);
