// The demo page: choose a photo and a part of it, see the most similar listings. Strings from the server are only ever
// inserted as text, never as HTML.
const $ = (id) => document.getElementById(id);
const K = 60;        // listings to request: the filter chips are made from all of them
const SHOWN = 24;    // listings to show
const CHIPS = 5;     // chips per column
const JUDGED = 10;   // best listings that a confidence depends on
const STEP = 0.02;   // how far an arrow key moves the box, as a share of the photo

let about = null;    // the server's description of the catalogue
let file = null;     // the photo
let box = null;      // the selected part, in pixels of the upright photo
let query = null;    // the last embedding, with its attributes and times
let facets = [];     // columns and their frequent values
const chosen = new Map();
const upTo = new Map();
let running = null;  // the AbortController of the current search
let more = false;    // whether all listings are shown, not only the first
let generation = 0;  // the number of the current search; results of older ones are dropped
let pictures = [];

function element(name, text = "", attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// A busy server is asked once more, after the time that it names.
async function send(path, options, again = true) {
  let reply;
  try {
    reply = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server cannot be reached. Check the connection and try again.");
  }
  if (reply.status !== 503 || !again) return reply;
  const seconds = Math.min(5, Number(reply.headers.get("retry-after")) || 1);
  await new Promise((done) => setTimeout(done, 1000 * seconds));
  options.signal?.throwIfAborted();
  return send(path, options, false);
}

async function ask(path, options = {}) {
  const headers = { ...options.headers };
  const token = $("token").querySelector("input").value.trim();
  if (token) headers.authorization = `Bearer ${token}`;
  const reply = await send(path, { ...options, headers });
  if (reply.ok) return reply;
  if (reply.status === 401) $("token").hidden = false;
  if (reply.status === 503) throw new Error("The server is busy. Try again in a moment.");
  const problem = await reply.json().catch(() => ({}));
  throw new Error(problem.detail || problem.title || `The server answered with ${reply.status}.`);
}

function say(text, bad = false) {
  $("status").textContent = text;
  $("status").classList.toggle("bad", bad);
  $("retry").hidden = !bad || !file;
}

// After an error, nothing of an earlier photo stays.
function clear() {
  $("results").replaceChildren();
  for (const id of ["seen", "filters", "times", "all"]) $(id).hidden = true;
}

async function start() {
  try {
    about = await (await ask("page/about")).json();
    const count = new Intl.NumberFormat().format(about.listings);
    $("about").textContent = `${count} listings of ${about.catalog}`;
  } catch (error) {
    say(error.message, true);
  }
}

// The photo.

async function setPhoto(next) {
  if (!next) return;
  const image = $("photo");
  const [before, url] = [image.src, URL.createObjectURL(next)];
  const trial = new Image();
  trial.src = url;
  try {
    await trial.decode();
  } catch {
    URL.revokeObjectURL(url);
    say("The browser cannot show this file. Choose a JPEG, PNG or WebP file.", true);
    $("retry").hidden = true;
    return;
  }
  image.src = url;
  await image.decode();
  if (before) URL.revokeObjectURL(before);
  file = next;
  $("frame").hidden = false;
  $("drop").classList.add("full");
  document.querySelector("main").classList.remove("empty");
  chosen.clear();
  upTo.clear();
  whole();
}

function whole() {
  const { naturalWidth: w, naturalHeight: h } = $("photo");
  box = { x: 0, y: 0, w, h };
  draw();
  find(true);
}

function isWhole() {
  const { naturalWidth: w, naturalHeight: h } = $("photo");
  return box.x < 1 && box.y < 1 && box.w > w - 1 && box.h > h - 1;
}

function draw() {
  const { naturalWidth: w, naturalHeight: h } = $("photo");
  const style = $("box").style;
  style.left = `${100 * box.x / w}%`;
  style.top = `${100 * box.y / h}%`;
  style.width = `${100 * box.w / w}%`;
  style.height = `${100 * box.h / h}%`;
  $("box").classList.toggle("whole", isWhole());
  $("whole").hidden = isWhole();
}

// Sets the box between two points, clamped to the photo and to a minimum size.
function between(ax, ay, bx, by) {
  const { naturalWidth: w, naturalHeight: h } = $("photo");
  const least = Math.min(w, h, Math.max(8, 0.05 * Math.min(w, h)));
  const span = (a, b, end) => {
    let [low, high] = [Math.max(0, Math.min(a, b)), Math.min(end, Math.max(a, b))];
    if (high - low < least) [low, high] = [Math.min(low, end - least), Math.min(low, end - least) + least];
    return [low, high - low];
  };
  const [x, width] = span(ax, bx, w);
  const [y, height] = span(ay, by, h);
  box = { x, y, w: width, h: height };
}

function moveTo(x, y) {
  const { naturalWidth: w, naturalHeight: h } = $("photo");
  box = { ...box, x: Math.max(0, Math.min(w - box.w, x)), y: Math.max(0, Math.min(h - box.h, y)) };
}

$("frame").addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || !file) return;
  event.preventDefault();
  $("box").focus({ preventScroll: true });
  const area = $("photo").getBoundingClientRect();
  const scale = $("photo").naturalWidth / area.width;
  const point = (e) => [(e.clientX - area.left) * scale, (e.clientY - area.top) * scale];
  const [startX, startY] = point(event);
  const before = { ...box };
  const corner = event.target.dataset.corner;
  const inside = event.target.id === "box" && !isWhole();
  // Dragging a corner keeps the opposite corner fixed; dragging elsewhere draws a new box.
  const anchorX = corner ? (corner.includes("w") ? box.x + box.w : box.x) : startX;
  const anchorY = corner ? (corner.includes("n") ? box.y + box.h : box.y) : startY;
  let moved = false;
  const move = (e) => {
    const [x, y] = point(e);
    moved = moved || Math.hypot(x - startX, y - startY) > 4 * scale;
    if (!moved) return;
    if (inside) moveTo(before.x + x - startX, before.y + y - startY);
    else between(anchorX, anchorY, x, y);
    draw();
  };
  const end = (e) => {
    $("frame").removeEventListener("pointermove", move);
    $("frame").removeEventListener("pointerup", end);
    $("frame").removeEventListener("pointercancel", end);
    if (e.type === "pointercancel") box = before;
    draw();
    if (moved && e.type === "pointerup") find(true);
  };
  $("frame").setPointerCapture(event.pointerId);
  $("frame").addEventListener("pointermove", move);
  $("frame").addEventListener("pointerup", end);
  $("frame").addEventListener("pointercancel", end);
});

let pause = 0;
$("box").addEventListener("keydown", (event) => {
  const { naturalWidth: w, naturalHeight: h } = $("photo");
  const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [0, 0];
  if (event.key === "Escape") return whole();
  if (!dx && !dy) return;
  event.preventDefault();
  const [x, y] = [dx * STEP * w, dy * STEP * h];
  if (event.shiftKey) between(box.x, box.y, box.x + Math.max(1, box.w + x), box.y + Math.max(1, box.h + y));
  else moveTo(box.x + x, box.y + y);
  draw();
  clearTimeout(pause);
  pause = setTimeout(() => find(true), 350);
});

for (const input of [$("file"), $("camera")]) {
  input.addEventListener("change", () => { setPhoto(input.files[0]); input.value = ""; });
}
$("retry").addEventListener("click", () => find(true));
$("all").addEventListener("click", () => { more = true; $("all").hidden = true; drawListings(); });
$("whole").addEventListener("click", () => { $("box").focus(); whole(); });
$("token").addEventListener("change", () => { start(); if (file) find(true); });
addEventListener("paste", (event) => setPhoto([...event.clipboardData.files][0]));
for (const name of ["dragover", "dragleave", "drop"]) {
  addEventListener(name, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", name === "dragover");
    if (name === "drop") setPhoto(event.dataTransfer.files[0]);
  });
}

// Searching.

function quoted(text) {
  return `'${text.replaceAll("'", "''")}'`;
}

function filter() {
  const parts = [];
  for (const [column, values] of chosen) {
    if (values.size) parts.push(`${quoted(column)} in (${[...values].map(quoted).join(", ")})`);
  }
  for (const [column, most] of upTo) parts.push(`${quoted(column)} <= ${quoted(String(most))}`);
  return parts.join(" and ");
}

async function embed(signal) {
  const { naturalWidth: w, naturalHeight: h } = $("photo");
  const [x, y] = [Math.min(w - 1, Math.round(box.x)), Math.min(h - 1, Math.round(box.y))];
  const region = [x, y, Math.max(1, Math.min(w - x, Math.round(box.w))), Math.max(1, Math.min(h - y, Math.round(box.h)))];
  const path = isWhole() ? "page/embed" : `page/embed?region=${region.join(",")}`;
  const begun = performance.now();
  const headers = { "content-type": "application/octet-stream", "magpie-deadline-ms": "10000" };
  const made = await (await ask(path, { method: "POST", body: file, headers, signal })).json();
  const there = made.stages.reduce((sum, stage) => sum + stage.ms, 0);
  return { ...made, sent: performance.now() - begun - there };
}

async function search(text, signal) {
  const body = { model_id: query.model_id, embedding: query.embedding, k: Math.min(K, about?.max_k ?? K) };
  if (text) body.filter = text;
  const begun = performance.now();
  const headers = { "content-type": "application/json", "magpie-deadline-ms": "5000" };
  const reply = await ask("v1/search", { method: "POST", body: JSON.stringify(body), headers, signal });
  const found = await reply.json();
  const took = /search;dur=([\d.]+)/.exec(reply.headers.get("server-timing") ?? "");
  const searched = took ? Number(took[1]) : 0;
  return { listings: found.listings, searched, answered: performance.now() - begun - searched };
}

// How likely the first listing is right, in the words of the model; null if the model is not calibrated.
async function confidence(listings, signal) {
  if (!about?.calibrated || !listings.length) return null;
  const scores = listings.slice(0, JUDGED).map(({ score }) => score);
  return (await ask(`page/confidence?scores=${scores.join(",")}`, { signal })).json();
}

async function find(again) {
  if (!file) return;
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  const number = ++generation;
  clearTimeout(pause);
  say("Searching …");
  $("results").classList.add("waiting");
  try {
    if (again) {
      query = await embed(signal);
      // Chips come from the unfiltered results; chosen chips stay.
      const all = await search("", signal);
      if (number !== generation) return;
      facets = count(all.listings);
      drawChips();
      if (!filter()) {
        const sure = await confidence(all.listings, signal);
        return number === generation ? show(all, sure) : undefined;
      }
    }
    const found = await search(filter(), signal);
    const sure = await confidence(found.listings, signal);
    if (number === generation) show(found, sure);
  } catch (error) {
    if (number !== generation || error.name === "AbortError") return;
    clear();
    say(error.message, true);
  } finally {
    if (number === generation) $("results").classList.remove("waiting");
  }
}

// The columns, each with its values among the listings, most frequent first.
function count(listings) {
  return (about?.columns ?? []).map(({ name, kind }) => {
    const counts = new Map();
    for (const { fields } of listings) {
      if (fields[name]) counts.set(fields[name], (counts.get(fields[name]) ?? 0) + 1);
    }
    const values = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
    return { name, kind, values };
  });
}

function chip(column, value, note) {
  const values = chosen.get(column) ?? new Set();
  const made = element("button", `${value} `, { type: "button", "aria-pressed": values.has(value), title: note.endsWith("%") ? "The network's confidence" : `Among the nearest ${K}` });
  made.append(element("small", note));
  made.dataset.column = column;
  made.dataset.value = value;
  made.addEventListener("click", () => {
    if (!values.delete(value)) values.add(value);
    chosen.set(column, values);
    drawChips({ column, value });
    find(false);
  });
  return made;
}

function drawChips(focus) {
  const seen = [element("b", "Looks like")];
  // The label is null if the head is not confident. A label that the catalogue does not have would not help a shopper.
  for (const { name, label, probability } of query.attributes.filter(({ label }) => label !== null)) {
    const facet = facets.find((f) => f.name === name && f.kind === "word");
    const value = facet?.values.find(([v]) => v.toLowerCase() === label.toLowerCase())?.[0];
    const note = `${Math.round(100 * probability)} %`;
    if (value) seen.push(chip(name, value, note));
  }
  $("seen").replaceChildren(...seen);
  $("seen").hidden = seen.length === 1;
  const [rows, rest] = [[], []];
  const heads = new Set(query.attributes.map(({ name }) => name));
  for (const { name, kind, values } of facets) {
    const row = element("div", "", { class: "chips", role: "group", "aria-label": name });
    row.append(element("b", name));
    if (kind === "word") {
      const picked = [...(chosen.get(name) ?? [])].filter((v) => !values.some(([value]) => value === v)).map((v) => [v, 0]);
      const frequent = values.filter(([value], at) => at < CHIPS || chosen.get(name)?.has(value));
      if (values.length < 2 && !chosen.get(name)?.size) continue;
      for (const [value, times] of [...frequent, ...picked]) row.append(chip(name, value, String(times)));
    } else {
      const input = element("input", "", { type: "number", min: 0, step: "any", placeholder: "up to", "aria-label": `${name} up to` });
      input.value = upTo.get(name) ?? "";
      input.addEventListener("change", () => {
        if (input.value === "" || !Number.isFinite(input.valueAsNumber)) upTo.delete(name);
        else upTo.set(name, input.valueAsNumber);
        find(false);
      });
      row.append(input);
    }
    (heads.has(name) || kind !== "word" ? rows : rest).push(row);
  }
  $("rows").replaceChildren(...rows);
  $("rest").replaceChildren(...rest);
  $("more").hidden = rest.length === 0;
  $("filters").hidden = rows.length + rest.length === 0;
  const count = [...chosen.values()].reduce((sum, values) => sum + values.size, upTo.size);
  $("filters").querySelector("summary").textContent = count ? `Filters (${count})` : "Filters";
  if (!focus) return;
  // Restore the focus: the chip was replaced by a new element.
  const same = [...document.querySelectorAll(".chips button")].filter((b) => b.dataset.column === focus.column && b.dataset.value === focus.value);
  same[0]?.focus();
}

// Results.

let listed = [];     // the listings found, best first

function show({ listings, searched, answered }, sure) {
  [listed, more] = [listings, false];
  drawListings();
  const stages = query.stages.map(({ name, ms }) => [name === "network" ? "model" : name, ms]);
  drawStages([["upload", query.sent], ...stages, ["search", searched], ["reply", answered]]);
  if (!listings.length) return say(filter() ? "No listing passes these filters." : "The catalogue is empty.");
  if (!sure) return say(`${listings.length} listings, best first.`);
  const percent = `${Math.round(100 * sure.probability)} %`;
  say(sure.enough ? `A good match: ${percent} sure.` : `No good match, ${percent} sure. The catalogue may not have it.`);
}

function drawListings() {
  pictures.forEach((url) => URL.revokeObjectURL(url));
  pictures = [];
  $("results").replaceChildren(...(more ? listed : listed.slice(0, SHOWN)).map(card));
  $("all").hidden = more || listed.length <= SHOWN;
}

function priced({ price, currency }) {
  const amount = Number(price);
  if (!price || !Number.isFinite(amount)) return price ?? "";
  try {
    return new Intl.NumberFormat(undefined, { style: "currency", currency }).format(amount);
  } catch {
    // Not a currency code of ISO 4217.
    return [price, currency].filter(Boolean).join(" ");
  }
}

function card({ score, id, photo, fields }) {
  const item = element("li", "", { class: "listing" });
  const picture = element("div", "", { class: "picture" });
  picture.append(element("span", score.toFixed(2), { class: "score", title: "Cosine between your photo and this listing's nearest photo" }));
  load(picture, id, photo, fields.title || id);
  const text = element("div", "", { class: "text" });
  const link = /^https?:\/\//.test(fields.url ?? "") ? element("a", fields.title || id, { href: fields.url, rel: "noopener noreferrer", target: "_blank" }) : element("span", fields.title || id);
  const rest = about?.columns.filter(({ name, kind }) => kind === "word" && name !== "currency" && fields[name]).slice(0, 4).map(({ name }) => fields[name]);
  text.append(link, element("small", (rest ?? []).join(" · ")));
  text.append(element("span", priced(fields), { class: "price" }));
  item.append(picture, text);
  return item;
}

async function load(picture, id, photo, title) {
  try {
    const reply = await ask(`page/picture?id=${encodeURIComponent(id)}&photo=${encodeURIComponent(photo)}`);
    const url = URL.createObjectURL(await reply.blob());
    pictures.push(url);
    picture.prepend(element("img", "", { src: url, alt: title }));
  } catch {
    // The catalogue does not have this picture.
    picture.classList.add("none");
  }
}

function drawStages(stages) {
  const longest = Math.max(...stages.map(([, ms]) => ms), 0.001);
  const rows = stages.flatMap(([name, ms]) => {
    const bar = element("span");
    bar.style.width = `${Math.max(0, 100 * ms / longest)}%`;
    const time = element("dd", `${ms.toFixed(ms < 10 ? 2 : 0)} ms`);
    time.prepend(bar);
    return [element("dt", name), time];
  });
  $("stages").replaceChildren(...rows);
  $("times").hidden = false;
}

$("filters").open = matchMedia("(min-width: 52.01rem)").matches;
start();
