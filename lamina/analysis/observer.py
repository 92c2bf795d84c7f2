"""The script of the page of the visual Turing test; `lamina.analysis.turing` writes the page around it.

An image is shown at the first frame after a pause of half a second with a cross, and taken away at the first frame at
which its exposure has passed. The stage is gray before and after. Answers are accepted from the
moment at which the image appears, and are kept in the browser's storage under a key of the page's own.
"""

SCRIPT = r"""
"use strict";
const facts = JSON.parse(document.getElementById("facts").textContent);
const get = (id) => document.getElementById(id);
const kinds = ["real", "generated"];
const key = "lamina turing " + facts.name + " " + facts.images.length + " " + facts.mask.join("");
const GAP = 500; // ms between an answer and the next image
const SLACK = 4; // ms that a frame may be early: a quarter of a frame at 60 Hz
let answers = [], order = [], now = null, busy = false;
try { answers = JSON.parse(localStorage.getItem(key)) || []; } catch { answers = []; }

function keep() {
  try { localStorage.setItem(key, JSON.stringify(answers)); } catch { /* kept until the page is closed */ }
  const all = answers.length === facts.images.length;
  const end = all ? ": save the answers" : "";
  get("told").textContent = answers.length + " of " + facts.images.length + " images" + end;
  for (const form of ["json", "csv", "forget"]) get(form).disabled = !answers.length;
}

function shuffled(values) {
  for (let i = values.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [values[i], values[j]] = [values[j], values[i]];
  }
  return values;
}

function begin() {
  if (now || busy) return;
  const seen = new Set(answers.map((answer) => answer.image));
  order = shuffled([...facts.images.keys()].filter((image) => !seen.has(image)));
  get("begin").disabled = true;
  next();
}

async function next() {
  const image = order.pop();
  get("stage").replaceChildren();
  if (image === undefined) { now = null; get("begin").disabled = false; return keep(); }
  busy = true;
  const chosen = Number(get("exposure").value);
  const exposure = chosen || facts.exposures[Math.floor(Math.random() * facts.exposures.length)];
  const picture = new Image();
  picture.alt = "";
  picture.src = "data:image/png;base64," + facts.images[image];
  get("stage").textContent = "+";
  await Promise.all([picture.decode(), new Promise((done) => setTimeout(done, GAP))]);
  requestAnimationFrame((start) => {
    get("stage").replaceChildren(picture);
    now = { image, exposure, start: performance.now() };
    busy = false;
    for (const kind of kinds) get(kind).disabled = false;
    const hide = (time) => {
      if (time - start >= exposure - SLACK) picture.remove();
      else if (picture.isConnected) requestAnimationFrame(hide);
    };
    requestAnimationFrame(hide);
  });
}

function answer(kind) {
  if (!now) return;
  const truth = kinds[facts.marks[now.image] ^ facts.mask[now.image]];
  const reaction = Math.round(performance.now() - now.start);
  answers.push({ image: now.image, truth, answer: kind, exposure: now.exposure, reaction });
  now = null;
  for (const name of kinds) get(name).disabled = true;
  busy = order.length > 0;
  keep();
  next();
}

function save(text, form) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: form === "csv" ? "text/csv" : "application/json" }));
  link.download = "answers." + form;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

const columns = ["image", "truth", "answer", "exposure", "reaction"];
const asJson = () => JSON.stringify({ page: facts.name, answers }, null, 1) + "\n";
const asCsv = () => [columns, ...answers.map((a) => columns.map((c) => a[c]))].map((r) => r.join(",") + "\n").join("");

get("begin").onclick = begin;
for (const kind of kinds) get(kind).onclick = () => answer(kind);
get("json").onclick = () => save(asJson(), "json");
get("csv").onclick = () => save(asCsv(), "csv");
get("forget").onclick = () => { if (confirm("Forget all answers?")) { answers = []; keep(); } };
document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  const pressed = event.key.toLowerCase();
  if (pressed === "r") answer("real");
  else if (pressed === "g") answer("generated");
  else if (pressed === " " && !get("begin").disabled) { event.preventDefault(); begin(); }
});
keep();
"""
