/** The HUD's panel as an element, and the text of its badge: no ComfyUI in here. */

import { make } from "./dom.js";
import * as format from "./format.js";
import { createChart } from "./hud_chart.js";
import { BLANK } from "./tables.js";

/**
 * @typedef {import("./hud_feed.js").Reading} Reading
 * @typedef {import("./hud_feed.js").State} State
 * @typedef {import("./hud_feed.js").Status} Status
 * @typedef {import("./translator.js").Translator} Translator
 *
 * As offer.py has it.
 * @typedef {{name: string, description: string, available: boolean, reason: string,
 *   remedy: string}} Offer
 *
 * @typedef {object} Panel
 * @property {HTMLElement} element
 * @property {(status: Status) => void} setStatus
 * @property {(text: string) => void} setProgress How far what runs is, as the server says it.
 * @property {(offers: Offer[]) => void} setFindings What could measure this machine.
 * @property {(state: State, time_s: number, intervalS: number, pageShare: number | null) => void} show
 */

/** Where a recording lies that stands for a meter: its name is enough here. */
const FOLDER = /(?<=^replay:).*[\\/]/;

/** More devices than this are shown folded, all but the first. */
const MAX_UNFOLDED = 2;

const HOTTEST_C = 100;

/** How the tops of the charts are written. */
const WRITERS = [format.power, format.share, format.memory, format.temperature, format.clock];

/** @param {Element} element @param {string} text Written only if it differs: readers would say it. */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** @param {Reading} device */
export function deviceName(device) {
  return `${device.name} (${device.device})`;
}

/**
 * Power, memory of all, temperature, and the joules of a prompt that runs, in one line; what is not
 * known is left out.
 *
 * @param {Reading} device
 * @param {import("./hud_feed.js").Job | null} job
 * @param {Translator} translate
 * @param {string} language
 */
export function badgeText(device, job, translate, language) {
  const isCounting = job?.is_running && device.energy_j !== null;
  const parts = [
    device.power_w === null ? "" : format.power(language, device.power_w),
    isCounting ? format.energy(language, device.energy_j, null) : "",
    vramText(device, language) ?? "",
    device.temperature_c === null ? "" : format.temperature(language, device.temperature_c),
    device.meter ? "" : translate("set_up"),
  ];
  return parts.filter(Boolean).join(" · ") || BLANK;
}

/**
 * @param {Translator} translate
 * @param {() => string} language
 * @returns {Panel}
 */
export function createPanel(translate, language) {
  const statusLine = make("p", "wattbench-hud-status");
  statusLine.setAttribute("role", "status");
  const devices = make("div", "wattbench-hud-devices");
  const legend = make("p", "wattbench-hud-cost", translate("charts"));
  const cost = make("p", "wattbench-hud-cost");
  const host = createHost(translate);
  const progress = make("p", "wattbench-hud-progress");
  const title = make("header", "", make("h2", "", translate("title")), statusLine, progress);
  const findings = make("section", "wattbench-hud-findings");
  findings.hidden = true;
  const element = make("div", "wattbench-hud", title, devices, host.element, findings, legend, cost);
  /** @type {Status} */
  let status = "starting";
  let isThrottled = false;
  let shape = "";
  /** @type {ReturnType<typeof createDevice>[]} */
  let views = [];

  function announce() {
    const throttled = status === "live" && isThrottled ? ` ${translate("throttled")}` : "";
    setText(statusLine, translate(`status_${status}`) + throttled);
  }

  announce();
  return {
    element,
    setFindings(offers) {
      findings.hidden = !offers.length;
      findings.replaceChildren(
        make("h3", "", translate("findings")),
        make("ul", "", ...offers.map((offer) => finding(offer, translate))),
      );
    },
    setProgress(text) {
      setText(progress, text.split(" · ").map(translate).join(" · "));
    },
    setStatus(next) {
      status = next;
      announce();
    },
    show(state, time_s, intervalS, pageShare) {
      const newShape = state.devices.map((device) => `${device.device} ${device.meter}`).join();
      if (newShape !== shape) {
        shape = newShape;
        const isFolded = state.devices.length > MAX_UNFOLDED;
        views = state.devices.map((_, i) => createDevice(translate, isFolded, i === 0));
        devices.replaceChildren(...views.map((view) => view.element));
      }
      state.devices.forEach((device, i) =>
        views[i].show(device, state.job, time_s, intervalS, language()),
      );
      host.show(state.host ?? null, time_s, intervalS, language());
      legend.hidden = !state.host && state.devices.every(
        (device) => !device.meter && device.vram_used_bytes === null,
      );
      isThrottled = state.devices.some((device) => device.throttle_reasons?.length);
      announce();
      setText(cost, costText(state.cost_share, pageShare, translate, language()));
    },
  };
}

/** @param {Offer} offer @param {Translator} translate */
function finding({ name, description, available, reason, remedy }, translate) {
  const said = available ? [description] : [reason, remedy];
  const text = said.filter(Boolean).map(translate).join(". ");
  return make("li", "", make("strong", "", name), ` ${available ? "✓" : "✗"} ${text}`);
}

/**
 * @param {number | null} serverShare
 * @param {number | null} pageShare
 * @param {Translator} translate
 * @param {string} language
 */
function costText(serverShare, pageShare, translate, language) {
  const [server, page] = [serverShare, pageShare].map((share) =>
    share === null ? BLANK : format.percent(language, share),
  );
  return `${translate("cost")} ${translate("cost_server")} ${server}, ${translate("cost_page")} ${page}`;
}

/**
 * @param {Translator} translate
 * @param {boolean} isFolded
 * @param {boolean} isFirst
 */
function createDevice(translate, isFolded, isFirst) {
  const name = make(isFolded ? "span" : "h3", "wattbench-hud-name");
  const brief = make("span", "wattbench-hud-brief");
  const source = make("p", "wattbench-hud-source");
  const charts = WRITERS.map(createChart);
  const [powerRow, energyRow, busyRow, vramRow, temperatureRow, clockRow, throttleRow] = [
    createRow(translate("power"), charts[0].element),
    createRow(translate("energy")),
    createRow(translate("busy"), charts[1].element),
    createRow(translate("vram"), charts[2].element),
    createRow(translate("temperature"), charts[3].element),
    createRow(translate("clock"), charts[4].element),
    createRow(translate("throttle")),
  ];
  const rows = [powerRow, energyRow, busyRow, vramRow, temperatureRow, clockRow, throttleRow];
  const plotted = [powerRow, busyRow, vramRow, temperatureRow, clockRow];
  const meterRows = rows.filter((row) => row !== vramRow);
  const list = make("dl", "", ...rows.map((row) => row.element));
  const element = isFolded
    ? make("details", "wattbench-hud-device", make("summary", "", name, " ", brief), source, list)
    : make("section", "wattbench-hud-device", name, source, list);
  if (element instanceof HTMLDetailsElement) element.open = isFirst;

  /**
   * @param {Reading} device
   * @param {import("./hud_feed.js").Job | null} job
   * @param {number} time_s
   * @param {number} intervalS
   * @param {string} language
   */
  function show(device, job, time_s, intervalS, language) {
    setText(name, deviceName(device));
    setText(brief, isFolded ? badgeText(device, job, translate, language) : "");
    setText(source, sourceText(device, translate));
    // Without a meter its rows would all be blank; the reason stands above, once.
    for (const row of meterRows) row.element.hidden = !device.meter;
    // A meter that failed told nothing: the reason stands with the power, once.
    const untold = device.power_reason ? "" : translate("not_told");
    const whyNoPower = device.meter ? translate(device.power_reason) : "";
    powerRow.write(powerText(device, translate, language), whyNoPower);
    energyRow.label(translate(job && !job.is_running ? "energy_last" : "energy"));
    energyRow.write(
      energyText(device, job, translate, language),
      device.energy_reason === device.power_reason ? "" : translate(device.energy_reason),
    );
    busyRow.write(optional(device.gpu_utilisation ?? null, format.share, language), untold);
    vramRow.write(vramText(device, language), translate(device.vram_reason));
    temperatureRow.write(optional(device.temperature_c, format.temperature, language), untold);
    clockRow.write(optional(device.sm_clock_hz, format.clock, language), untold);
    throttleRow.write(throttleText(device, translate), untold);
    const series = [
      [device.power_w, device.power_limit_w],
      [device.gpu_utilisation ?? null, 1],
      [device.vram_used_bytes, device.vram_total_bytes],
      [device.temperature_c, HOTTEST_C],
      [device.sm_clock_hz, null],
    ];
    series.forEach(([value, full], i) => {
      const top = charts[i].add(time_s, value, full, intervalS);
      plotted[i].top(WRITERS[i](language, top));
    });
  }

  return { element, show };
}

/** The processors and the main memory. @param {Translator} translate */
function createHost(translate) {
  const charts = [createChart(), createChart()];
  const rows = [
    createRow(translate("cpu"), charts[0].element),
    createRow(translate("ram"), charts[1].element),
  ];
  const list = make("dl", "", ...rows.map((row) => row.element));
  const heading = make("h3", "wattbench-hud-name", translate("computer"));
  const element = make("section", "wattbench-hud-device wattbench-hud-host", heading, list);

  /**
   * @param {import("./hud_feed.js").Host | null} host
   * @param {number} time_s
   * @param {number} intervalS
   * @param {string} language
   */
  function show(host, time_s, intervalS, language) {
    element.hidden = !host;
    if (!host) return;
    const { cpu_share, ram_used_bytes, ram_total_bytes } = host;
    rows[0].write(optional(cpu_share, format.share, language), translate("status_starting"));
    rows[1].write(
      `${format.memory(language, ram_used_bytes)} / ${format.memory(language, ram_total_bytes)}`,
      "",
    );
    rows[0].top(format.share(language, charts[0].add(time_s, cpu_share, 1, intervalS)));
    rows[1].top(
      format.memory(language, charts[1].add(time_s, ram_used_bytes, ram_total_bytes, intervalS)),
    );
  }

  return { element, show };
}

/**
 * @param {string} label
 * @param {SVGSVGElement} [chart]
 */
function createRow(label, chart) {
  const term = make("dt", "", label);
  const value = make("span", "wattbench-hud-value");
  const note = make("span", "wattbench-hud-reason");
  const element = make("div", "wattbench-hud-row", term, make("dd", "", value, note));
  const top = make("span", "wattbench-hud-top");
  if (chart) element.append(make("dd", "wattbench-hud-plot", top, chart));
  return {
    element,
    /** @param {string} text */
    label: (text) => setText(term, text),
    /** @param {string} text What the top of the chart stands for. */
    top: (text) => setText(top, text),
    /** @param {string | null} text @param {string} reason */
    write(text, reason) {
      setText(value, text ?? BLANK);
      setText(note, text === null ? reason : "");
      chart?.parentElement?.toggleAttribute("hidden", text === null);
    },
  };
}

/**
 * @param {number | null} value
 * @param {(language: string, value: number) => string} write
 * @param {string} language
 */
function optional(value, write, language) {
  return value === null ? null : write(language, value);
}

/** @param {Reading} device @param {Translator} translate */
function sourceText(device, translate) {
  if (!device.meter) return translate(device.power_reason);
  const scope = translate(`scope_${device.scope}`);
  const meter = device.meter.replace(FOLDER, "");
  const parts = [meter, translate(device.provenance), scope, translate(device.meter_note)];
  return parts.filter(Boolean).join(" · ");
}

/** @param {Reading} device @param {Translator} translate @param {string} language */
function powerText(device, translate, language) {
  if (device.power_w === null) return null;
  const limit =
    device.power_limit_w === null ? "" : ` / ${format.power(language, device.power_limit_w)}`;
  const mean = device.power_source === "counter" ? ` ${translate("mean")}` : "";
  return format.power(language, device.power_w) + limit + mean;
}

/**
 * @param {Reading} device
 * @param {import("./hud_feed.js").Job | null} job
 * @param {Translator} translate
 * @param {string} language
 */
function energyText(device, job, translate, language) {
  if (device.energy_j === null || !job) return null;
  const energy = format.energy(language, device.energy_j, device.energy_error_j);
  const method = translate(device.energy_method);
  return `${energy} · ${format.duration(language, job.duration_s)} · ${method}`;
}

/** @param {Reading} device @param {string} language */
function vramText(device, language) {
  if (device.vram_used_bytes === null) return null;
  const total = optional(device.vram_total_bytes, format.memory, language);
  return format.memory(language, device.vram_used_bytes) + (total === null ? "" : ` / ${total}`);
}

/** @param {Reading} device @param {Translator} translate */
function throttleText(device, translate) {
  if (device.throttle_reasons === null) return null;
  return device.throttle_reasons.join(", ") || translate("none");
}
