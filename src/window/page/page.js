// The page as a whole: views, the head, and when to look again.

import * as events from "./events.js";
import { ask, el, number, setToken } from "./server.js";
import * as panels from "./panels.js";
import * as tree from "./tree.js";

// What went wrong in the page itself, and what its policy has refused: for its tests.
window.headcountErrors = [];
for (const type of ["error", "unhandledrejection", "securitypolicyviolation"]) {
  addEventListener(type, (event) => window.headcountErrors.push(String(event.message ?? event.reason ?? event.violatedDirective)));
}

const INTERVAL = 2_000;
const byId = (id) => document.getElementById(id);
const tabs = [...document.querySelectorAll("[role=tab]")];
let view = "live";
let isPaused = false;
let timer = 0;
let isLooking = false;
let looksAgain = false;

function show(name) {
  view = name;
  for (const tab of tabs) {
    const isThis = tab.id === `tab-${name}`;
    tab.setAttribute("aria-selected", String(isThis));
    tab.tabIndex = isThis ? 0 : -1;
    byId(tab.getAttribute("aria-controls")).hidden = !isThis;
  }
  look();
}

for (const tab of tabs) {
  tab.addEventListener("click", () => show(tab.id.slice(4)));
  tab.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    const next = tabs[(tabs.indexOf(tab) + by + tabs.length) % tabs.length];
    next.focus();
    show(next.id.slice(4));
  });
}

function dumpOf(context) {
  show("waits");
  panels.dump(context);
}

async function head() {
  const answer = await ask("resourcez");
  const { state, labels } = answer.registry;
  const badge = byId("state");
  badge.textContent = state;
  badge.className = `badge ${state}`;
  const totals = [["tasks", answer.tasks], ["contexts", answer.contexts], ["resources", answer.resources]];
  byId("totals").replaceChildren(...totals.map(([what, count]) => el("div", {}, el("dt", {}, count === 1 ? what.slice(0, -1) : what), el("dd", { id: `total-${what}` }, number(count)))));
  const kinds = new Set(answer.kinds.map((kind) => kind.kind));
  byId("kinds").replaceChildren(...[...kinds].map((kind) => el("option", { value: kind })));
  const hashed = labels === "hashed"
    ? "Names made at run time are hashed (~…), because this window has no token: Window::show_labels() or Window::token(…) shows them." : "";
  notice(state === "closed" ? `The registry is closed${answer.close_reason ? ` (${answer.close_reason})` : ""}. ${hashed}` : hashed);
}

function notice(text, isBad = false) {
  const element = byId("notice");
  if (element.textContent !== text) element.textContent = text;
  element.className = isBad ? "notice bad" : "notice";
  element.hidden = text === "";
}

/// Looks once more, and again after a while. One look at a time.
async function look() {
  if (isLooking) {
    looksAgain = true;
    return;
  }
  isLooking = true;
  clearTimeout(timer);
  try {
    await head();
    await panels.closes();
    if (view === "live") await tree.refresh();
    if (view === "growth") await panels.growth();
    events.listen();
  } catch (error) {
    if (error.code === "unauthorized") wantToken();
    else lost(error);
  }
  isLooking = false;
  if (looksAgain) {
    looksAgain = false;
    look();
  } else if (!isPaused && !document.hidden && !byId("token-dialog").open) {
    timer = setTimeout(look, INTERVAL);
  }
}

function lost(error) {
  const badge = byId("state");
  badge.textContent = error.status ? "refused" : "not reached";
  badge.className = "badge lost";
  notice(error.status ? error.message : "The program does not answer. What is shown is what was last known.", true);
}

let wasAsked = false;
function wantToken() {
  byId("token-wrong").hidden = !wasAsked;
  if (!byId("token-dialog").open) byId("token-dialog").showModal();
}

byId("token-form").addEventListener("submit", () => {
  wasAsked = true;
  setToken(byId("token").value);
  byId("token").value = "";
  setTimeout(look);
});

byId("pause").addEventListener("click", () => {
  isPaused = !isPaused;
  byId("pause").setAttribute("aria-pressed", String(isPaused));
  byId("pause").textContent = isPaused ? "Go on" : "Pause";
  if (!isPaused) look();
});

document.addEventListener("visibilitychange", () => {
  if (!document.hidden && !isPaused) look();
});

tree.start({ changed: look, dump: dumpOf, report: events.reportOf });
panels.start({ dump: dumpOf });
look();
