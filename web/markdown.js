/** A summary as Markdown, as the report.md of Export CSV has it. */

/** @param {string[]} cells */
function line(cells) {
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
}

/**
 * @param {import("./summary_view.js").Summary} summary
 * @param {string} caption What the numbers are.
 * @returns {string} A row per condition, then the caption and the notes.
 */
export function asMarkdown({ headings, rows, notes }, caption) {
  const table = [headings, headings.map(() => "---"), ...rows].map(line);
  return [...table, "", `${caption}.`, "", ...notes.map((note) => `- ${note}`)]
    .join("\n")
    .trimEnd();
}
