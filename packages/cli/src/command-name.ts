/** How to call this command again from where it runs: a checkout has it behind npm, an installation on PATH. */
export const COMMAND: string = import.meta.url.endsWith(".ts")
  ? "npm run -s quorate --"
  : "quorate";
