/** A part of a result as a picture, to be posted: no ComfyUI in here. */

import { make } from "./dom.js";

const SHEETS = ["result.css", "card.css"];
const PADDING_PX = 16;
const PIXELS_PER_PX = 2;

/** Properties of a result's element that its parts inherit. */
const INHERITED = ["background-color", "color", "font-family", "font-size", "line-height"];

/**
 * @param {HTMLElement[]} parts Of a result, as they are shown.
 * @returns {Promise<Blob>} A PNG with the palette of the page.
 */
export async function toPng(parts) {
  const body = /** @type {HTMLElement} */ (parts[0].parentElement);
  const result = /** @type {HTMLElement} */ (body.parentElement);
  const width = body.clientWidth + 2 * PADDING_PX;
  const copies = parts.map((part) => /** @type {HTMLElement} */ (part.cloneNode(true)));
  for (const button of copies.flatMap((copy) => [...copy.querySelectorAll("button")])) {
    if (button.getAttribute("aria-pressed") !== "true") button.remove();
  }
  await Promise.all(
    copies.flatMap((copy) => [...copy.querySelectorAll("img")]).map((image) => embed(image)),
  );
  const sheets = await Promise.all(SHEETS.map(textOf));
  const page = make(
    "div",
    "wattbench-body",
    make("style", "", sheets.join("\n")),
    ...copies,
    make("p", "wattbench-quiet", "WattBench"),
  );
  const style = getComputedStyle(result);
  for (const name of INHERITED) page.style.setProperty(name, style.getPropertyValue(name));
  Object.assign(page.style, {
    boxSizing: "border-box",
    width: `${width}px`,
    padding: `${PADDING_PX}px`,
    containerType: "inline-size",
  });
  const height = heightOf(page);
  return drawn(page, width, height);
}

/** @param {HTMLElement} page @returns {number} In CSS pixels. */
function heightOf(page) {
  const probe = make("div", "wattbench-probe", page.cloneNode(true));
  document.body.append(probe);
  const height = Math.ceil(probe.getBoundingClientRect().height);
  probe.remove();
  return height;
}

/**
 * @param {HTMLElement} page
 * @param {number} width
 * @param {number} height
 * @returns {Promise<Blob>}
 */
async function drawn(page, width, height) {
  const markup = new XMLSerializer().serializeToString(page);
  const svg =
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">` +
    `<foreignObject width="100%" height="100%">${markup}</foreignObject></svg>`;
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
  await image.decode();
  const canvas = make("canvas");
  canvas.width = width * PIXELS_PER_PX;
  canvas.height = height * PIXELS_PER_PX;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.scale(PIXELS_PER_PX, PIXELS_PER_PX);
  context.drawImage(image, 0, 0);
  return new Promise((resolve, reject) =>
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("no picture")))),
  );
}

/** A picture within a picture may not be fetched. @param {HTMLImageElement} image */
async function embed(image) {
  const response = await fetch(image.src);
  const blob = await response.blob();
  image.src = await new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = reject;
    reader.readAsDataURL(blob);
  });
}

/** @param {string} file Of this folder. */
async function textOf(file) {
  return (await fetch(new URL(file, import.meta.url))).text();
}
