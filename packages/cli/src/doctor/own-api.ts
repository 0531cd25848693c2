import { probe } from "./check.ts";

/** What a process of ours says of itself, if that is what answers. */
export interface OwnApi {
  readonly status: number;
  /** A field of its /v1/status. */
  readonly field: (name: string) => unknown;
}

const TIMEOUT_MS = 3_000;

/** Asks the API that this configuration would open; null when nothing there speaks as ours does. */
export async function askOwnApi({
  host,
  port,
}: {
  readonly host: string;
  readonly port: number;
}): Promise<OwnApi | null> {
  const name = host === "0.0.0.0" || host === "::" ? "127.0.0.1" : host;
  const answer = await probe(async (signal) => {
    const response = await fetch(`http://${name}:${port}/v1/status`, { signal });
    const body: unknown = await response.json();
    return { status: response.status, body };
  }, TIMEOUT_MS);
  if (!answer.ok) return null;
  const { status, body } = answer.value;
  return {
    status,
    field: (key) =>
      typeof body === "object" && body !== null ? Reflect.get(body, key) : undefined,
  };
}

/** Whether it refused in our own words: it wants a token, or can't answer just now. */
export function isRefusal({ status, field }: OwnApi): boolean {
  return status >= 400 && typeof field("error") === "object";
}
