import type { CommittedEvent } from "./types.ts";

const TOKEN_KEY = "quorate-token";

/** For this tab only, and gone with it. */
export const token = {
  get: (): string | null => sessionStorage.getItem(TOKEN_KEY),
  set: (text: string): void => sessionStorage.setItem(TOKEN_KEY, text),
  forget: (): void => sessionStorage.removeItem(TOKEN_KEY),
};

export class ApiError extends Error {
  readonly code: string;
  readonly status: number;
  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

const TIMEOUT_MS = 10_000;

/** @throws ApiError, with the code UNREACHABLE when nothing answers */
export async function read<T>(path: string): Promise<T> {
  const own = token.get();
  let response: Response;
  let body: unknown;
  try {
    response = await fetch(path, {
      headers: own === null ? {} : { authorization: `Bearer ${own}` },
      signal: AbortSignal.timeout(TIMEOUT_MS),
      cache: "no-store",
    });
    body = await response.json();
  } catch {
    throw new ApiError(0, "UNREACHABLE", "it does not answer");
  }
  if (response.ok) return body as T;
  const { error } = (body ?? {}) as { error?: { code?: string; message?: string } };
  throw new ApiError(response.status, error?.code ?? "UNKNOWN", error?.message ?? "it was refused");
}

export type FeedState = "connecting" | "live" | "lost";

interface FeedHandlers {
  readonly onState: (state: FeedState) => void;
  /** A new connection: what was missed is not repeated, so the present state is to be read again. */
  readonly onHello: () => void;
  readonly onEvents: (events: readonly CommittedEvent[]) => void;
}

const RETRY_MS_MIN = 500;
const RETRY_MS_MAX = 10_000;

/** Follows what is committed, over breaks. @returns ends it */
export function follow({ onState, onHello, onEvents }: FeedHandlers): () => void {
  let socket: WebSocket | null = null;
  let timer = 0;
  let waitMs = RETRY_MS_MIN;
  const connect = (): void => {
    onState("connecting");
    const own = token.get();
    const protocols = ["quorate.events.v1", ...(own === null ? [] : [`quorate.token.${own}`])];
    const { protocol, host } = window.location;
    socket = new WebSocket(
      `${protocol === "https:" ? "wss" : "ws"}://${host}/v1/events`,
      protocols,
    );
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(String(data)) as { type: string; events?: CommittedEvent[] };
      if (message.type === "hello") {
        waitMs = RETRY_MS_MIN;
        onState("live");
        onHello();
      } else onEvents(message.events ?? []);
    };
    socket.onclose = () => {
      onState("lost");
      timer = window.setTimeout(connect, waitMs);
      waitMs = Math.min(2 * waitMs, RETRY_MS_MAX);
    };
  };
  connect();
  return () => {
    window.clearTimeout(timer);
    if (socket !== null) {
      socket.onclose = null;
      socket.close();
    }
  };
}
