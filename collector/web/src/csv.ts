// Tables as files. Pure but for the saving.

export type Cell = string | number | null;

/** What spreadsheets take for the begin of a formula. */
const FORMULA = /^[=+\-@\t\r]/;

/** A table as CSV (RFC 4180); a text that a spreadsheet would execute is kept text by a quote. */
export function csv(header: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const line = (cells: readonly Cell[]) => cells.map(field).join(',');
  return `${[header, ...rows].map(line).join('\r\n')}\r\n`;
}

function field(cell: Cell): string {
  if (cell === null) return '';
  if (typeof cell === 'number') return String(cell);
  const text = FORMULA.test(cell.trimStart()) ? `'${cell}` : cell;
  return /[",\r\n']/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** The same as JSON: an object for each row. */
export function json(header: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const objects = rows.map((cells) =>
    Object.fromEntries(header.map((name, at) => [name, cells[at] ?? null])),
  );
  return `${JSON.stringify(objects, null, 1)}\n`;
}

/** Offers a text as a file. */
export function save(name: string, type: string, text: string): void {
  // The mark at the begin tells spreadsheets that it is UTF-8.
  const mark = type === 'text/csv' ? '\ufeff' : '';
  saveBlob(name, new Blob([mark, text], { type }));
}

/** Offers what was answered as a file. */
export function saveBlob(name: string, blob: Blob): void {
  const anchor = document.createElement('a');
  anchor.href = URL.createObjectURL(blob);
  anchor.download = name;
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(anchor.href), 10_000);
}
