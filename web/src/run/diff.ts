/** What git says of changes, taken apart to be read. */

export interface FileDiff {
  name: string;
  /** new, deleted, binary …; empty for a change of lines. */
  note: string;
  added: number;
  removed: number;
  /** From the first "@@" on. */
  lines: string[];
}

export function files(diff: string): FileDiff[] {
  return `\n${diff}`.split("\ndiff --git ").slice(1).map(file);
}

function file(part: string): FileDiff {
  const [names = "", ...rest] = part.replace(/\n$/, "").split("\n"); // names: a/NAME b/NAME, or each in quotes
  const start = rest.findIndex((line) => line.startsWith("@@"));
  const head = start < 0 ? rest : rest.slice(0, start);
  const lines = start < 0 ? [] : rest.slice(start);
  return {
    name: names.slice(0, Math.floor(names.length / 2)).replace(/^("?)a\//, "$1"),
    note: noteOf(head),
    added: lines.filter((line) => line.startsWith("+")).length,
    removed: lines.filter((line) => line.startsWith("-")).length,
    lines,
  };
}

function noteOf(head: readonly string[]): string {
  const notes = [
    head.some((line) => line.startsWith("new file")) && "new",
    head.some((line) => line.startsWith("deleted file")) && "deleted",
    head.some((line) => line.startsWith("GIT binary patch")) && "binary",
    head.find((line) => line.startsWith("new mode "))?.replace("new mode", "mode"),
  ];
  return notes.filter(Boolean).join(", ");
}

/** Control characters, and those that change the direction of text, as what they are. */
export function visible(text: string): string {
  return text.replace(/(?!\t)[\p{Cc}\u2028-\u202e\u2066-\u2069]/gu, (letter) => {
    const code = letter.charCodeAt(0);
    return code < 0x20 ? String.fromCharCode(0x2400 + code) : `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
  });
}
