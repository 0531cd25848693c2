import { styleText } from "node:util";

type Format = Parameters<typeof styleText>[0];

/** Where a command's words go: data to stdout, everything else to stderr. */
export interface Terminal {
  /** One line of data, or several. */
  readonly data: (text: string) => void;
  /** Progress and remarks. */
  readonly note: (text: string) => void;
  /** Colours for `note`; plain text when stderr is no terminal or NO_COLOR is set. */
  readonly style: Style;
  /** Colours for `data`. */
  readonly dataStyle: Style;
}

export interface Style {
  readonly bold: (text: string) => string;
  readonly dim: (text: string) => string;
  readonly good: (text: string) => string;
  readonly bad: (text: string) => string;
  readonly warn: (text: string) => string;
}

/** This process's own. */
export function processTerminal(): Terminal {
  for (const stream of [process.stdout, process.stderr])
    stream.on("error", (error: NodeJS.ErrnoException) => {
      // `quorate … | head` has read enough: that is no failure.
      if (error.code === "EPIPE") process.exit(0);
      throw error;
    });
  return {
    data: (text) => void process.stdout.write(`${text}\n`),
    note: (text) => void process.stderr.write(`${text}\n`),
    style: styleFor(process.stderr),
    dataStyle: styleFor(process.stdout),
  };
}

/** Colours, when the stream is a terminal and nobody asked for none. */
export function styleFor(stream: NodeJS.WriteStream): Style {
  const as = (format: Format) => (text: string) => styleText(format, text, { stream });
  return {
    bold: as("bold"),
    dim: as("dim"),
    good: as("green"),
    bad: as("red"),
    warn: as("yellow"),
  };
}

/** No colours. */
export const PLAIN: Style = {
  bold: (text) => text,
  dim: (text) => text,
  good: (text) => text,
  bad: (text) => text,
  warn: (text) => text,
};

/** One JSON document, as every --json prints it. */
export function jsonDocument(value: unknown): string {
  return JSON.stringify(
    value,
    (_key, entry: unknown) => (typeof entry === "bigint" ? entry.toString() : entry),
    2,
  );
}
