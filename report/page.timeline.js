"use strict";
const { prompts, texts, language } = JSON.parse(document.getElementById("data").textContent);
const GIB = 2 ** 30;
const COLOURS = 4;
const MOST_CHOSEN = 6;
const NARROW_PERCENT = 6;
const t = (text) => texts[text] ?? text;
const figures = (value) =>
  value.toLocaleString(language, { maximumSignificantDigits: 3, useGrouping: false });
const joules = (value) => (value === null ? "" : `${figures(value)} J`);
const began = (prompt) =>
  document.querySelector(`[data-prompt="${CSS.escape(prompt.prompt_id)}"]`).textContent.trim();
const nameOf = (node) => `${node.title || node.class_type} #${node.node_id}`;

function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

/* Nodes of one type have one colour in all prompts. */
const kinds = [...new Set(prompts.flatMap(({ nodes }) => nodes.map((node) => node.class_type)))];
const colourOf = (node) => 1 + (kinds.indexOf(node.class_type) % COLOURS);

const chosen = new Set();
const detail = document.getElementById("detail");
const boxes = prompts.map((prompt) => {
  const label = document.querySelector(`[data-prompt="${CSS.escape(prompt.prompt_id)}"]`);
  const box = make("input");
  box.type = "checkbox";
  box.addEventListener("change", () => {
    if (box.checked) chosen.add(prompt);
    else chosen.delete(prompt);
    draw();
  });
  label.prepend(box);
  return box;
});

function told(node, prompt) {
  const parts = [`${figures(node.time_s)} s (${figures((100 * node.time_s) / prompt.time_s)} %)`];
  if (node.energy_j !== null) parts.push(joules(node.energy_j));
  if (node.vram !== null) parts.push(`${t("peak")} ${figures(node.vram / GIB)} GiB`);
  if (node.state === "failed") parts.push(t("failed"));
  for (const { node_id, model, bytes } of prompt.loads) {
    if (node_id !== node.node_id) continue;
    parts.push(`${t(bytes < 0 ? "unloaded" : "loaded")} ${model} ${figures(Math.abs(bytes) / GIB)} GiB`);
  }
  if (node.note) parts.push(node.note);
  return `${nameOf(node)}: ${parts.join(", ")}`;
}

function lane(prompt, longest_s) {
  const at = (time_s) => (100 * time_s) / longest_s;
  const track = make("div", "track");
  track.setAttribute("role", "group");
  track.setAttribute("aria-label", `${began(prompt)}. ${t("Arrow keys go from node to node.")}`);
  const ran = prompt.nodes.filter((node) => node.time_s !== null && node.start_s !== null);
  const bars = ran.map((node, i) => {
    const width = at(node.time_s);
    const bar = make("button", "bar", width < NARROW_PERCENT ? "" : node.title || node.class_type);
    bar.type = "button";
    bar.classList.toggle("narrow", width < NARROW_PERCENT);
    bar.classList.toggle("failed", node.state === "failed");
    bar.dataset.colour = colourOf(node);
    bar.style.left = `${at(node.start_s)}%`;
    bar.style.width = `${width}%`;
    bar.tabIndex = i ? -1 : 0;
    bar.title = told(node, prompt);
    bar.setAttribute("aria-label", bar.title);
    const tell = () => (detail.textContent = bar.title);
    bar.addEventListener("focus", tell);
    bar.addEventListener("click", tell);
    bar.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1, Home: -ran.length, End: ran.length }[event.key];
      if (!step) return;
      event.preventDefault();
      const next = bars[Math.min(bars.length - 1, Math.max(0, i + step))];
      for (const other of bars) other.tabIndex = other === next ? 0 : -1;
      next.focus();
    });
    return bar;
  });
  const marks = prompt.loads.map(({ t_s, model, bytes }) => {
    const mark = make("span", bytes < 0 ? "load out" : "load");
    mark.style.left = `${at(t_s)}%`;
    mark.title = `${t(bytes < 0 ? "unloaded" : "loaded")} ${model} ${figures(Math.abs(bytes) / GIB)} GiB`;
    return mark;
  });
  track.append(...bars, ...marks);
  const sums = [`${figures(prompt.time_s)} s`, joules(prompt.energy_j)].filter(Boolean).join(", ");
  return make("div", "lane", make("h3", "", `${began(prompt)}: ${sums}`), track);
}

function scale(longest_s) {
  const power = 10 ** Math.floor(Math.log10(longest_s / 4));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => longest_s / one <= 6);
  const element = make("div", "scale");
  element.setAttribute("aria-hidden", "true");
  for (let time_s = 0; time_s <= longest_s; time_s += step) {
    const tick = make("span", "", figures(time_s));
    tick.style.left = `${(100 * time_s) / longest_s}%`;
    element.append(tick);
  }
  return element;
}

/* A row for each node of the chosen prompts, and what it changed by against the first of them. */
function table(shown) {
  const names = [...new Set(shown.flatMap(({ nodes }) => nodes.map(nameOf)))];
  const columns = shown.flatMap((prompt, i) => [
    [`${began(prompt)}: ${t("Time")}`, (one) => (one?.time_s == null ? null : one.time_s), "s", i],
    [t("Energy"), (one) => one?.energy_j ?? null, "J", i],
  ]);
  const cells = (of) =>
    columns.map(([, value, unit, i]) => {
      const [now, first] = [value(of(shown[i])), value(of(shown[0]))];
      if (now === null) return make("td", "", of(shown[i])?.state === "cached" ? t("cached") : "—");
      const share = i && first ? 100 * (now / first - 1) : null;
      const sign = share > 0 ? "+" : "";
      const change = share === null ? "" : ` (${sign}${share.toFixed(0)}\u00a0%)`;
      return make("td", "", `${figures(now)} ${unit}${change}`);
    });
  const header = (text, scope) => {
    const element = make("th", "", text);
    element.scope = scope;
    return element;
  };
  const rows = [
    make("tr", "", header(t("Whole prompt"), "row"), ...cells((prompt) => prompt)),
    ...names.map((name) => {
      const of = (prompt) => prompt.nodes.find((node) => nameOf(node) === name);
      return make("tr", "", header(name, "row"), ...cells(of));
    }),
  ];
  const head = columns.map(([text]) => header(text, "col"));
  const element = make(
    "table",
    "",
    make("thead", "", make("tr", "", header(t("Node"), "col"), ...head)),
    make("tbody", "", ...rows),
  );
  const region = make("div", "wide", element);
  region.tabIndex = 0;
  region.setAttribute("role", "group");
  region.setAttribute("aria-label", t("Node"));
  return region;
}

function draw() {
  const shown = prompts.filter((prompt) => chosen.has(prompt)).reverse();
  boxes.forEach((box) => (box.disabled = !box.checked && chosen.size >= MOST_CHOSEN));
  const lanes = document.getElementById("lanes");
  const compared = document.getElementById("compared");
  detail.textContent = shown.length ? "" : t("Choose prompts in the table to see them in time, beside each other.");
  if (!shown.length) {
    lanes.replaceChildren();
    compared.replaceChildren();
    return;
  }
  const longest_s = Math.max(...shown.map(({ time_s }) => time_s));
  const unit = make("p", "quiet", t("s from the begin of each prompt"));
  lanes.replaceChildren(...shown.map((prompt) => lane(prompt, longest_s)), scale(longest_s), unit);
  compared.replaceChildren(table(shown));
}

/* The newest one, and the one before it of the same workflow. */
const [newest] = prompts;
const before = prompts.slice(1).find((one) => newest.workflow_id && one.workflow_id === newest.workflow_id);
for (const prompt of [newest, before]) {
  if (!prompt) continue;
  chosen.add(prompt);
  boxes[prompts.indexOf(prompt)].checked = true;
}
document.getElementById("drawing").hidden = !prompts.length;
draw();
