// What the page asks the server, and how it writes what it got. Text from the program is set as text, never as HTML.

const KEY = "headcount-token";

// The token may stand behind `#` in the address, which browsers send nowhere. It is taken out of the address at once.
const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) {
  sessionStorage.setItem(KEY, given);
  history.replaceState(null, "", location.pathname + location.search);
}

export class Refused extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export function setToken(token) {
  sessionStorage.setItem(KEY, token);
}

function headers() {
  const token = sessionStorage.getItem(KEY);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

async function refused(response) {
  const body = await response.json().catch(() => ({}));
  const { code = "unknown", message = response.statusText } = body.error ?? {};
  return new Refused(response.status, code, message);
}

/// The answer to a question; `params` that are empty are left out.
export async function ask(path, params = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (value !== "" && value !== null && value !== undefined) query.set(name, value);
  }
  const text = query.toString();
  const response = await fetch(text ? `${path}?${text}` : path, { headers: headers() });
  if (!response.ok) throw await refused(response);
  return response.json();
}

/// Calls `each` with every event, until the stream ends.
export async function stream(path, each) {
  const response = await fetch(path, { headers: headers() });
  if (!response.ok) throw await refused(response);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const event = { type: "message", data: "" };
      for (const line of block.split("\n")) {
        if (line.startsWith("event: ")) event.type = line.slice(7);
        if (line.startsWith("data: ")) event.data += line.slice(6);
      }
      if (event.data) each(event.type, JSON.parse(event.data));
    }
  }
}

// Control characters, marks that change the direction of writing, and what has no width.
const ACTS = /[\u0000-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff]/g;

/// A text with such characters shown instead of obeyed.
export function legible(text) {
  return String(text).replace(ACTS, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);
}

/// As `legible`, for texts of several lines.
export function lines(text) {
  return String(text).split("\n").map(legible).join("\n");
}

/// An element; children are elements or texts.
export function el(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat()) {
    if (child === undefined || child === null || child === false) continue;
    element.append(child instanceof Node ? child : legible(child));
  }
  return element;
}

export function number(count) {
  return count.toLocaleString("en");
}

export function plural(count, one, many = `${one}s`) {
  return `${number(count)} ${count === 1 ? one : many}`;
}

/// `430 ms`, `12 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`
export function human(secs) {
  if (secs < 1) return `${Math.round(secs * 1000)} ms`;
  if (secs < 60) return `${secs < 10 ? secs.toFixed(1) : Math.floor(secs)} s`;
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const at = units.findIndex(([size]) => secs >= size);
  const [size, unit] = units[at];
  const [below, small] = units[at + 1];
  const rest = Math.floor((secs % size) / below);
  return `${Math.floor(secs / size)} ${unit}${rest ? ` ${rest} ${small}` : ""}`;
}

export function facts(pairs) {
  const list = el("dl", { class: "facts" });
  for (const [what, value] of pairs) {
    if (value === undefined || value === null || value === "") continue;
    list.append(el("dt", {}, what), el("dd", {}, value));
  }
  return list;
}
