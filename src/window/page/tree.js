// The live tree: unfolded part by part, in pages, with what came and what ended since the last look.

import { ask, el, facts, human, legible, number, plural } from "./server.js";

const FADE = 10_000; // what ended stays so long
const FADED = 30; // of one part at most
const FRESH = 3_000;
const PAGES = 4; // pages of one part that are asked for again each time

const tree = document.getElementById("tree");
const details = document.getElementById("details");
const filter = document.getElementById("filter");

/// What is unfolded: the id of a context, or "" for the top, with the number of pages that are shown.
const open = new Map([["", 1]]);
/// By part: the entries that are shown, by id.
const shown = new Map();
/// Entries that ended: by id, with the time.
const ended = new Map();
/// How tasks ended, by id, as events say it; the latest last.
const outcomes = new Map();
let selected = null;
let hooks = {};

export function start(settings) {
  hooks = settings;
  filter.addEventListener("input", () => restart());
  filter.addEventListener("reset", () => setTimeout(restart));
  filter.addEventListener("submit", (event) => event.preventDefault());
  tree.addEventListener("click", (event) => {
    const item = event.target.closest("li[role=treeitem]");
    if (!item) return;
    if (event.target.closest(".twisty")) toggle(item);
    else select(item);
  });
  tree.addEventListener("dblclick", (event) => {
    const item = event.target.closest("li[role=treeitem]");
    if (item) toggle(item);
  });
  tree.addEventListener("keydown", onKey);
}

let pending = 0;
function restart() {
  clearTimeout(pending);
  pending = setTimeout(() => {
    open.clear();
    open.set("", 1);
    shown.clear();
    ended.clear();
    tree.replaceChildren();
    hooks.changed();
  }, 150);
}

function wanted() {
  const form = new FormData(filter);
  return Object.fromEntries([...form].map(([name, value]) => [name, value.trim()]));
}

function isFiltered() {
  return Object.values(wanted()).some((value) => value !== "");
}

/// Asks for every part that is unfolded, and shows it.
export async function refresh() {
  const parts = isFiltered() ? [""] : [...open.keys()];
  for (const part of parts) {
    try {
      show(part, await load(part));
    } catch (error) {
      // The context has gone: it is shown as ended by the part that it is in.
      if (part !== "" && (error.code === "gone" || error.code === "other_registry")) open.delete(part);
      else throw error;
    }
  }
}

async function load(part) {
  const params = part === "" ? wanted() : { parent: part };
  const pages = open.get(part) ?? 1;
  let answer = await ask("tree", params);
  const entries = answer.entries;
  for (let page = 1; page < Math.min(pages, PAGES) && answer.next; page += 1) {
    answer = await ask("tree", { ...params, after: answer.next });
    entries.push(...answer.entries);
  }
  return { ...answer, entries };
}

function show(part, answer) {
  const now = Date.now();
  const before = shown.get(part);
  const after = new Map(answer.entries.map((entry) => [entry.id, entry]));
  // What is beyond the pages that are shown has not ended: it is not looked at.
  if (before && !answer.next) {
    for (const [id, entry] of before) {
      if (!after.has(id) && !ended.has(id)) ended.set(id, { entry, part, at: now });
    }
  }
  for (const [id, { at }] of ended) {
    if (now - at > FADE || after.has(id)) ended.delete(id);
  }
  for (const [id, entry] of after) {
    entry.seen = before ? before.get(id)?.seen ?? now : 0;
  }
  shown.set(part, after);
  const list = part === "" ? tree : document.getElementById(`in-${part}`);
  if (list) draw(list, part, answer, now);
  if (part === "") {
    const text = isFiltered() ? `${number(answer.matched)} of ${number(answer.total)}` : "";
    setText(document.getElementById("matched"), text);
    document.getElementById("empty").hidden = after.size > 0 || ended.size > 0;
    setText(document.getElementById("empty"), isFiltered() ? "Nothing that is alive is like this." : "Nothing is alive.");
  }
  if (selected && after.has(selected.id)) describe(after.get(selected.id));
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/// Changes what has changed: rows stay, and with them the focus and what is unfolded.
function draw(list, part, answer, now) {
  const depth = Number(list.dataset.depth ?? 0);
  const rows = new Map([...list.children].map((row) => [row.dataset.id, row]));
  const gone = [...ended.values()].filter((it) => it.part === part).slice(-FADED).map((it) => it.entry);
  const all = [...answer.entries, ...gone].sort((a, b) => a.created_at - b.created_at);
  let at = list.firstElementChild;
  for (const entry of all) {
    let row = rows.get(entry.id);
    rows.delete(entry.id);
    if (row) update(row, entry, now);
    else row = make(entry, depth, now);
    if (row === at) at = at.nextElementSibling;
    else list.insertBefore(row, at);
  }
  for (const row of rows.values()) row.remove();
  if (answer.next) list.append(more(part, depth, answer));
  if (!tree.querySelector("[tabindex='0']")) tree.querySelector("li[role=treeitem]")?.setAttribute("tabindex", "0");
}

function more(part, depth, answer) {
  const left = answer.matched - answer.entries.length;
  const button = el("button", {
    type: "button",
    onclick: () => {
      open.set(part, (open.get(part) ?? 1) + 1);
      hooks.changed();
    },
  }, `Show 500 more of ${number(left)}`);
  const pages = open.get(part) ?? 1;
  const full = pages >= PAGES;
  const text = el("span", { class: "quiet" }, `${number(left)} more: filter to find them`);
  const row = el("li", { class: "more", role: "none", "data-id": "" }, full ? text : button);
  row.style.setProperty("--depth", depth);
  return row;
}

function make(entry, depth, now) {
  const row = el("div", { class: "row" },
    el("span", { class: "twisty", "aria-hidden": "true" }),
    el("span", { class: "what" },
      el("span", { class: "name" }), el("span", { class: "chip" }), el("span", { class: "count" })),
    el("span", { class: "state" }, el("span", { class: "dot" }), el("span", { class: "word" })),
    el("span", { class: "age" }),
    el("span", { class: "site" }));
  const item = el("li", { role: "treeitem", "data-id": entry.id, tabindex: "-1", "aria-level": depth + 1 }, row);
  item.dataset.depth = depth;
  row.style.setProperty("--depth", depth);
  const name = row.querySelector(".name");
  setText(name, legible(isFiltered() ? entry.path : entry.name));
  name.title = legible(entry.path);
  setText(row.querySelector(".chip"), entry.kind === entry.class && entry.kind === "task" ? "task" : legible(entry.kind));
  const site = row.querySelector(".site");
  setText(site, `\u200e${legible(entry.location)}`);
  site.title = legible(entry.location);
  update(item, entry, now);
  return item;
}

function update(item, entry, now) {
  const isOver = ended.has(entry.id);
  const state = isOver ? outcomes.get(entry.id) ?? "ended" : entry.state;
  const row = item.firstElementChild;
  row.querySelector(".dot").className = `dot ${isOver ? (state === "panicked" ? "closed" : "ended") : state.split(" ")[0]}`;
  setText(row.querySelector(".word"), entry.detail && !isOver ? `${state}, ${legible(entry.detail)}` : state);
  setText(row.querySelector(".age"), isOver ? since(ended.get(entry.id).at, now) : human(entry.age_secs));
  const children = isOver ? 0 : entry.children;
  setText(row.querySelector(".count"), children ? `${number(children)} in it` : "");
  row.querySelector(".twisty").classList.toggle("some", children > 0);
  item.classList.toggle("ended", isOver);
  item.classList.toggle("fresh", !isOver && now - entry.seen < FRESH);
  if (children > 0 && !isFiltered()) item.setAttribute("aria-expanded", String(open.has(entry.id)));
  else item.removeAttribute("aria-expanded");
  if (children === 0 && open.has(entry.id)) fold(item);
  if (children > 0 && open.has(entry.id) && !item.querySelector(":scope > ul")) unfold(item);
}

function since(at, now) {
  return now - at < 1_000 ? "just now" : `${human((now - at) / 1000)} ago`;
}

function toggle(item) {
  if (!item.hasAttribute("aria-expanded")) return;
  if (open.has(item.dataset.id)) fold(item);
  else {
    unfold(item);
    hooks.changed();
  }
}

function unfold(item) {
  const id = item.dataset.id;
  open.set(id, open.get(id) ?? 1);
  const list = el("ul", { role: "group", id: `in-${id}` });
  list.dataset.depth = Number(item.dataset.depth) + 1;
  item.append(list);
  item.setAttribute("aria-expanded", "true");
}

function fold(item) {
  for (const list of [...item.querySelectorAll("ul[id^='in-']")]) {
    const id = list.id.slice(3);
    open.delete(id);
    shown.delete(id);
  }
  item.querySelector(":scope > ul")?.remove();
  if (item.hasAttribute("aria-expanded")) item.setAttribute("aria-expanded", "false");
}

function find(part, id) {
  return shown.get(part)?.get(id);
}

function select(item) {
  for (const other of tree.querySelectorAll("[aria-selected=true]")) other.removeAttribute("aria-selected");
  for (const other of tree.querySelectorAll("[tabindex='0']")) other.setAttribute("tabindex", "-1");
  item.setAttribute("aria-selected", "true");
  item.setAttribute("tabindex", "0");
  item.focus({ preventScroll: true });
  const id = item.dataset.id;
  const list = item.parentElement;
  const part = list === tree ? "" : list.id.slice(3);
  const entry = find(part, id) ?? ended.get(id)?.entry;
  if (!entry) return;
  selected = { id };
  describe(entry, true);
}

/// Shows what is known of an entry. What was asked for beside it stays while it is the same one.
function describe(entry, isNew = false) {
  const head = el("div", {},
    el("h2", {}, entry.name),
    el("p", { class: "path" }, entry.path),
    facts([
      ["kind", entry.kind],
      ["state", ended.has(entry.id) ? outcomes.get(entry.id) ?? "ended" : entry.state],
      ["says", entry.detail],
      ["age", human(entry.age_secs)],
      ["created", new Date(entry.created_at * 1000).toLocaleString()],
      ["made at", entry.location],
      ["in it", entry.children ? number(entry.children) : ""],
      ["strong handles", entry.strong_count],
      ["weak handles", entry.weak_count || ""],
      ["hooks", entry.hooks || ""],
      ["handles of ended tasks", entry.handles_of_ended_tasks || ""],
      ["id", entry.id],
    ]));
  if (!isNew && details.dataset.id === entry.id) {
    details.firstElementChild.replaceWith(head);
    return;
  }
  details.dataset.id = entry.id;
  const answer = el("div");
  const actions = el("div", { class: "actions" });
  if (entry.strong_count !== null) {
    actions.append(el("button", { type: "button", onclick: () => showHolders(entry, answer) }, "Who holds it"));
  }
  if (entry.class === "context") {
    actions.append(el("button", { type: "button", onclick: () => hooks.dump(entry) }, "Where its tasks wait"));
  }
  details.replaceChildren(head, actions, answer);
  hooks.report?.(entry, answer);
}

async function showHolders(entry, into) {
  try {
    const { holders } = await ask("holders", { id: entry.id });
    const groups = holders.groups.map((group) => el("li", { class: "card" },
      el("div", {}, group.count > 1 ? `${number(group.count)} × ` : "", "taken at ", el("code", {}, group.taken)),
      el("div", { class: "quiet" }, taker(group)),
      group.inside && el("div", { class: "quiet" }, `in ${group.inside.name}${group.inside.field ? `.${group.inside.field}` : ""}`)));
    into.replaceChildren(el("div", {},
      el("h3", {}, `${plural(holders.strong, "strong handle")}: ${holders.tracked} recorded, ${holders.untracked} not`),
      el("ul", { class: "plain" }, groups),
      holders.untracked > 0 && el("p", { class: "quiet" }, "HEADCOUNT_LEVEL=holders records each handle from the start.")));
  } catch (error) {
    into.replaceChildren(el("p", { class: "quiet" }, error.message));
  }
}

export function taker(group) {
  const { what, name, state } = group.by;
  const by = what === "unknown" ? "" : `by ${what} ${name ?? ""}${state ? ` (${state})` : ""}, `;
  return group.oldest_secs === null ? by : `${by}${human(group.oldest_secs)} ago`;
}

function onKey(event) {
  const item = event.target.closest("li[role=treeitem]");
  if (!item || event.target !== item) return;
  const all = [...tree.querySelectorAll("li[role=treeitem]")];
  const at = all.indexOf(item);
  const isOpen = item.getAttribute("aria-expanded") === "true";
  const to = {
    ArrowDown: () => all[at + 1],
    ArrowUp: () => all[at - 1],
    Home: () => all[0],
    End: () => all[all.length - 1],
    ArrowRight: () => {
      if (isOpen) return all[at + 1];
      toggle(item);
      return item;
    },
    ArrowLeft: () => {
      if (isOpen) fold(item);
      return isOpen ? item : item.parentElement.closest("li[role=treeitem]");
    },
    Enter: () => item,
    " ": () => item,
  }[event.key];
  if (!to) return;
  event.preventDefault();
  const next = to();
  if (!next) return;
  select(next);
  next.firstElementChild.scrollIntoView({ block: "nearest" });
}

/// Notes how something ended.
export function note(id, outcome) {
  outcomes.set(id, outcome);
  if (outcomes.size > 5_000) outcomes.delete(outcomes.keys().next().value);
}

/// Shows one entry by its id, alone, as a filter does.
export function reveal(name) {
  filter.elements.name.value = name;
  filter.dispatchEvent(new Event("input"));
}
