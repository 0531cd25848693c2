/** Times of day in the reader's zone; the date too when it is not today. */
export function clockTime(iso: string | null | undefined): string {
  if (iso === null || iso === undefined) return "–";
  const at = new Date(iso);
  const time = at.toLocaleTimeString(undefined, { hour12: false });
  return at.toDateString() === new Date().toDateString()
    ? time
    : `${at.toLocaleDateString(undefined, { month: "short", day: "numeric" })} ${time}`;
}

export function ago(iso: string | null | undefined, nowMs: number): string {
  if (iso === null || iso === undefined) return "–";
  const seconds = Math.max(0, Math.round((nowMs - Date.parse(iso)) / 1_000));
  if (seconds < 5) return "now";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3_600)} h ago`;
  return `${Math.floor(seconds / 86_400)} days ago`;
}

/** `ABORTED_BYZANTINE` as words. */
export function words(code: string): string {
  return code.toLowerCase().replaceAll("_", " ");
}

/** The ends of a long id; the whole of it belongs in the title. */
export function short(id: string, ends = 6): string {
  return id.length <= 2 * ends + 1 ? id : `${id.slice(0, ends)}…${id.slice(-ends)}`;
}

export type Tone = "good" | "warn" | "bad" | "busy" | "quiet";

export function toneOf(status: string): Tone {
  switch (status) {
    case "CONFIRMED":
    case "FINALIZED":
      return "good";
    case "ABORTED_BYZANTINE":
    case "ABORTED":
    case "QUARANTINED":
      return "bad";
    case "COLLECTING":
    case "QUEUED":
      return "quiet";
    default:
      return "busy";
  }
}
