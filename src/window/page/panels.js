// The views beside the tree: where tasks wait, leaks, growth, closes.

import { ask, el, facts, human, lines, number, plural } from "./server.js";
import { taker } from "./tree.js";

const byId = (id) => document.getElementById(id);

/// Runs what a button asks for; while it runs the button is off, and what went wrong is said beside it.
async function during(button, note, text, work) {
  button.disabled = true;
  note.textContent = text;
  try {
    note.textContent = await work();
  } catch (error) {
    note.textContent = error.message;
  } finally {
    button.disabled = false;
  }
}

// Where they wait.

export function dump(context) {
  const button = byId("take-dump");
  return during(button, byId("dump-note"), "Asking…", async () => {
    const answer = await ask("dump", context ? { under: context.id } : {});
    byId("dump").replaceChildren(
      ...answer.notes.map((note) => el("p", { class: "note" }, note)),
      ...answer.deadlocks.map(deadlock),
      ...answer.groups.map(group),
      answer.more ? el("p", { class: "quiet" }, `${plural(answer.more, "more group")} not shown`) : "");
    const where = context ? ` in ${context.path}` : "";
    const silent = answer.unanswered ? `, ${answer.unanswered} did not answer` : "";
    const hooks = answer.hooks ? `, ${plural(answer.hooks, "hook")}` : "";
    return `${plural(answer.tasks, "task")}${hooks}${where}${silent}. Took ${human(answer.took_secs)}.`;
  });
}

function deadlock(found) {
  const steps = found.waiters.map((waiter) => el("li", {},
    el("strong", {}, waiter.path || waiter.id), ` waits for ${waiter.awaited.text ?? waiter.awaited.what}`,
    waiter.at && el("span", { class: "quiet" }, ` at ${waiter.at.file}:${waiter.at.line}`)));
  return el("article", { class: "card bad" },
    el("h3", {}, `Deadlock: ${found.waiters.length} wait for each other, and ${found.others} more for them`),
    el("ol", {}, steps));
}

function group(it) {
  const names = new Set(it.members.map((member) => member.path.split("/").at(-1)));
  const title = it.count === 1 ? it.members[0].path
    : names.size === 1 ? `${number(it.count)} × ${[...names][0]}` : `${number(it.count)} ${it.what}s`;
  const members = it.members.map((member) => el("li", {},
    el("span", { class: "name" }, member.path),
    el("span", { class: "quiet" }, ` ${member.activity}, ${human(member.age_secs)} old, made at ${member.location}`),
    member.remark && el("div", { class: "warn" }, member.remark)));
  const rest = it.count - it.members.length;
  return el("article", { class: `card ${it.activity === "polling" ? "busy" : ""}` },
    el("h3", {}, title, el("span", { class: "chip" }, it.what === "hook" ? `hook, ${it.activity}` : it.activity)),
    it.stacks.map(stack),
    it.stacks.length === 0 && el("p", { class: "quiet" }, it.activity === "parked" ? "It waits for nothing that could wake it." : "No stack."),
    el("details", { open: it.count === 1 }, el("summary", {}, it.count === 1 ? "the task" : `the ${it.what}s`),
      el("ul", { class: "plain" }, members, rest > 0 && el("li", { class: "quiet" }, `and ${number(rest)} more`))));
}

function stack(it) {
  const frames = it.frames.map((frame) => el("li", {}, frame.function, el("span", { class: "at" }, `  ${frame.file}:${frame.line}`)));
  const what = it.awaited?.text ?? it.awaited?.what;
  const leaf = it.yields ? "yields, and runs again" : it.leaf;
  return el("ol", { class: "stack" }, frames,
    leaf && el("li", { class: "leaf" }, `→ ${leaf}`),
    what && el("li", { class: "leaf" }, `  waits for ${what}`));
}

// Leaks.

let picture = null;

export function leaks() {
  return during(byId("find-leaks"), byId("leaks-note"), "Looking…", async () => {
    const answer = await ask("leaks");
    if (picture) URL.revokeObjectURL(picture);
    picture = answer.picture ? URL.createObjectURL(new Blob([answer.picture], { type: "image/svg+xml" })) : null;
    byId("leaks").replaceChildren(
      ...answer.groups.map(finding),
      answer.more ? el("p", { class: "quiet" }, `${plural(answer.more, "more group")} not shown`) : "",
      picture ? el("figure", { class: "card picture", tabindex: "0", role: "group", "aria-label": "Who keeps whom alive" },
        el("img", { src: picture, alt: "A picture of the chains above: who keeps whom alive" })) : "",
      ...answer.notes.map((note) => el("p", { class: "quiet" }, note)));
    const allowed = answer.allowed ? `, ${plural(answer.allowed, "allowed one", "allowed ones")}` : "";
    return answer.is_clean ? `No leaks among ${plural(answer.alive, "thing")}${allowed}.`
      : `${plural(answer.findings, "leak")} among ${plural(answer.alive, "thing")}${allowed}.`;
  });
}

function finding(it) {
  const { subject } = it;
  const links = it.chain.map((link) => el("li", { class: link.strength === "suspect" ? "suspect" : "" },
    link.thing ? `${link.thing.kind} ${link.thing.path}` : link.who ?? link.from,
    el("div", { class: "quiet" }, link.how ?? (link.taken ? `taken at ${link.taken}` : ""),
      link.strength === "suspect" && el("strong", { class: "wrong" }, " ← suspect"))));
  return el("article", { class: "card bad" },
    el("h3", {}, it.count > 1 ? `${number(it.count)} × ` : "", `${subject.kind} ${subject.path || subject.name}: ${it.what}`),
    el("ol", { class: "chain", "aria-label": "What keeps it alive, from outside down" }, links,
      el("li", { class: "culprit" }, `${subject.kind} ${subject.path}`, subject.is && el("span", { class: "quiet" }, ` ${subject.is}`))),
    facts([
      ...it.facts.map((fact) => [fact.what, fact.text]),
      ["handles", it.holders && `${it.holders.strong} strong, ${it.holders.untracked} not recorded`],
      ["keeps alive", it.victims.length ? number(it.victims.length + it.more_victims) : ""],
    ]),
    it.holders && it.holders.groups.length > 0 && el("ul", { class: "plain quiet" },
      it.holders.groups.slice(0, 5).map((group) => el("li", {}, `${group.count > 1 ? `${number(group.count)} × ` : ""}taken at ${group.taken} ${taker(group)}`))),
    it.advice && el("p", { class: "todo" }, `To do: ${it.advice}`),
    it.text && el("details", {}, el("summary", {}, "as text"), el("pre", {}, textOf(it.text))));
}

function textOf(text) {
  const node = document.createTextNode(lines(text));
  return node;
}

// Growth.

export async function growth() {
  const answer = await ask("growth");
  const order = (line) => (line.is_rising ? 2 : 0) + (line.more > 0 ? 1 : 0);
  const sorted = [...answer.lines].sort((a, b) => order(b) - order(a) || b.more - a.more || b.counts.at(-1) - a.counts.at(-1));
  byId("growth").replaceChildren(...sorted.map(line));
  const rising = answer.lines.filter((it) => it.is_rising).length;
  byId("growth-note").textContent = answer.samples < 4
    ? `${plural(answer.samples, "sample")} so far, one each few seconds while this is open.`
    : rising ? `${plural(rising, "line")} rising over ${answer.samples} samples.` : `Nothing rises over ${answer.samples} samples.`;
}

function line(it) {
  const last = it.counts.at(-1);
  return el("li", { class: `card ${it.is_rising ? "rising bad" : ""}` },
    el("div", { class: "split" },
      el("strong", {}, it.name, it.is_probe && el("span", { class: "chip" }, "probe")),
      el("span", { class: "big" }, number(last))),
    el("code", { class: "quiet" }, it.location ?? ""),
    plot(it.counts),
    el("div", { class: "split quiet" },
      el("span", {}, `from ${number(it.counts[0])}`),
      el("span", { class: it.is_rising ? "wrong" : "" }, it.is_rising ? "rising" : it.more ? `+${number(it.more)}` : "steady")));
}

function plot(counts) {
  const SVG = "http://www.w3.org/2000/svg";
  const all = counts.length === 1 ? [counts[0], counts[0]] : counts;
  const top = Math.max(...all, 1);
  const points = all.map((count, at) => `${(at / (all.length - 1)) * 100},${54 - (count / top) * 50}`);
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "plot");
  svg.setAttribute("viewBox", "0 0 100 56");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `from ${all[0]} to ${all.at(-1)}, at most ${top}`);
  const area = document.createElementNS(SVG, "polygon");
  area.setAttribute("points", `0,56 ${points.join(" ")} 100,56`);
  const curve = document.createElementNS(SVG, "polyline");
  curve.setAttribute("points", points.join(" "));
  svg.append(area, curve);
  return svg;
}

// Closes.

export async function closes() {
  const answer = await ask("closing");
  const cards = answer.closes.map((it) => close(it.path, it.close, it));
  if (answer.whole) cards.unshift(close("the registry", answer.whole, null));
  byId("closes-count").textContent = cards.length ? String(cards.length + answer.more) : "";
  byId("closes").replaceChildren(...cards);
  byId("closes-note").textContent = cards.length
    ? `${plural(cards.length + answer.more, "close")} under way.` : "No close is under way.";
}

function close(title, it, context) {
  const oldest = it.oldest.map((task) => el("li", {}, el("span", { class: "name" }, task.name),
    el("span", { class: "quiet" }, ` ${task.kind}, ${task.state} for ${human(task.age_secs)}, made at ${task.location}`)));
  const waits = [it.tasks && plural(it.tasks, "task"), it.children && plural(it.children, "context"), it.hooks.length && plural(it.hooks.length, "hook")];
  return el("article", { class: "card busy" },
    el("h3", {}, title, el("span", { class: "chip" }, `for ${human(it.since_secs)} of ${human(it.grace_secs)} grace`)),
    el("p", {}, `Waits for ${waits.filter(Boolean).join(", ") || "its values to be dropped"}.`),
    facts([["reason", it.reason], ["asked for at", it.location]]),
    oldest.length > 0 && el("ul", { class: "plain" }, oldest),
    it.hooks.length > 0 && el("ul", { class: "plain quiet" }, it.hooks.map((hook) => el("li", {}, `hook ${hook}`))),
    el("div", { class: "actions" }, el("button", { type: "button", onclick: () => waitsOf(context) }, "Where it waits")));
}

/// The report of a context that has closed, from its event.
export function report(event) {
  const it = event.report;
  const sums = ["finished", "cancelled", "aborted", "panicked", "failed", "refused", "restarted"];
  const said = sums.filter((sum) => it[sum] > 0).map((sum) => `${number(it[sum])} ${sum}`);
  return el("article", { class: `card ${it.is_clean ? "" : "bad"}` },
    el("h3", {}, `${event.kind} ${event.name}`, el("span", { class: "chip" }, it.is_clean ? "clean" : "not clean")),
    el("p", {}, `Closed in ${human(it.duration_secs)}: tasks ${said.join(", ") || "none"}.`),
    facts([["reason", it.reason], ["opened at", event.location], ["contexts in it", it.children || ""]]),
    it.text && !it.is_clean && el("pre", {}, document.createTextNode(lines(it.text))));
}

let waitsOf = () => {};

export function start(settings) {
  waitsOf = settings.dump;
  byId("take-dump").addEventListener("click", () => dump(null));
  byId("find-leaks").addEventListener("click", () => leaks());
}
