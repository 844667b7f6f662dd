/** Tables as text: Markdown to paste, and CSV for a spreadsheet. */

import { BLANK, createReasons, written } from "./tables.js";

/**
 * @typedef {import("./tables.js").Table} Table
 */

/** As the server writes a number: mean, half width of its interval, and its share or range. */
const NUMBER = /^(-?\d[\d.]*)(?: ± (\d[\d.]*))?(?: \((.*)\))?$/;

const PARTS = ["", " ±", ", in brackets"];

/**
 * @param {{table: Table, caption: string}[]} tables
 * @param {string[]} notes Translated, as the captions are.
 * @param {import("./translator.js").Translator} translate
 * @param {string} language
 * @returns {string} As the page shows it, blank cells with the number of a reason.
 */
export function asMarkdown(tables, notes, translate, language) {
  const reasons = createReasons();
  const parts = tables.map(({ table, caption }) => {
    const rows = table.rows.map((row, i) =>
      row.map((cell, j) => {
        const reason = cell === BLANK && table.blanks?.[i][table.headings[j]];
        if (reason) return `${BLANK} [${reasons.numberOf(reason)}]`;
        return written(cell, translate, language);
      }),
    );
    const head = [table.headings.map(translate), table.headings.map(() => "---")];
    const lines = [...head, ...rows].map(markdownLine);
    return [...lines, "", `${caption}.`].join("\n");
  });
  const told = reasons.all().map((reason, i) => `- [${i + 1}] ${translate(reason)}`);
  return [...parts, [...notes.map((note) => `- ${note}`), ...told].join("\n")].join("\n\n").trimEnd();
}

/** @param {string[]} cells */
function markdownLine(cells) {
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
}

/**
 * Tables of the same rows side by side, by RFC 4180. A number and its interval have a column each, with
 * the figures that the table shows and a decimal point; a blank cell is empty.
 *
 * @param {Table[]} tables
 */
export function asCsv(tables) {
  /** @type {Map<string, string[]>} What the tables have in common is there once. */
  const cells = new Map();
  for (const { headings, rows } of tables) {
    headings.forEach((heading, i) => cells.set(heading, rows.map((row) => row[i])));
  }
  const columns = [...cells].flatMap(([heading, column]) => csvColumns(heading, column));
  const lines = columns[0].map((_, i) => columns.map((column) => column[i]));
  return lines.map((line) => `${line.map(csvCell).join(",")}\r\n`).join("");
}

/**
 * @param {string} heading
 * @param {string[]} cells
 * @returns {string[][]} Each with its heading; parts that no cell has are left out.
 */
function csvColumns(heading, cells) {
  const known = cells.map((cell) => (cell === BLANK ? "" : cell));
  const found = known.map((cell) => (cell.match(NUMBER) ?? ["", cell]).slice(1));
  return PARTS.map((part, i) => [heading + part, ...found.map((parts) => parts[i] ?? "")]).filter(
    (column, i) => i === 0 || column.slice(1).some(Boolean),
  );
}

/** @param {string} cell */
function csvCell(cell) {
  return /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}
