// What happens, as it happens: the list of events, the reports of closes, and how tasks ended.

import { el, legible, number, stream } from "./server.js";
import * as panels from "./panels.js";
import * as tree from "./tree.js";

const LISTED = 200;
const REPORTS = 30;
const RETRY = 5_000;
const list = document.getElementById("events");
const note = document.getElementById("events-note");
/// The reports of contexts that have closed, by id; the latest last.
const reports = new Map();
let waiting = [];
let count = 0;
let lost = 0;
let isListening = false;
let retryAt = 0;

/// Listens, unless it does so already. When the registry has closed there is nothing more to hear.
export async function listen() {
  if (isListening || Date.now() < retryAt) return;
  isListening = true;
  try {
    await stream("events", take);
  } catch (error) {
    note.textContent = error.message;
  }
  if (retryAt === Infinity) return;
  isListening = false;
  retryAt = Date.now() + RETRY;
}

function take(type, event) {
  if (type === "begin") {
    retryAt = 0;
  } else if (type === "end") {
    if (event.state === "closed") retryAt = Infinity;
    note.textContent = event.state === "closed" ? "The registry has closed: nothing more happens." : "The stream has ended.";
  } else if (type === "lost") {
    lost += event.lost;
  } else {
    count += 1;
    waiting.push(event);
    if (waiting.length > LISTED) waiting = waiting.slice(-LISTED);
    if (type === "ended") tree.note(event.id, event.outcome);
    if (type === "closed") keep(event);
  }
}

function keep(event) {
  reports.delete(event.id);
  reports.set(event.id, event);
  if (reports.size > REPORTS) reports.delete(reports.keys().next().value);
}

/// Shows the report of an entry that has closed.
export function reportOf(entry, into) {
  const event = reports.get(entry.id);
  if (event) into.replaceChildren(panels.report(event));
}

// In one go, however much happens.
setInterval(() => {
  if (waiting.length === 0) return;
  const fresh = waiting.reverse().map((event) => {
    const at = new Date(event.at * 1000);
    const text = event.text ?? event.outcome ?? event.what;
    return el("li", {},
      el("time", { datetime: at.toISOString() }, at.toLocaleTimeString("en-GB")),
      el("span", { class: event.what === "failed" || event.outcome === "panicked" ? "wrong" : "" }, event.what.replace("_", " ")),
      el("span", {}, el("span", { class: "name" }, event.name), el("span", { class: "chip" }, event.kind), ` ${legible(text)}`));
  });
  waiting = [];
  list.prepend(...fresh);
  while (list.children.length > LISTED) list.lastElementChild.remove();
  const missed = lost ? `, ${number(lost)} lost because this page was too slow` : "";
  if (retryAt !== Infinity) note.textContent = `${number(count)} since this page was opened${missed}.`;
  const cards = [...reports.values()].reverse().map(panels.report);
  document.getElementById("reports").replaceChildren(...cards);
  document.getElementById("reports-title").hidden = cards.length === 0;
}, 500);
