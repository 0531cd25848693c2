import { StoreError } from "@quorate/ports";
import { errorBody } from "@quorate/telemetry";

/** What an HTTP request is answered with. */
export interface Answer {
  readonly httpStatus: number;
  readonly body: object | string;
}

export function refusal(httpStatus: number, code: string, message: string): Answer {
  return { httpStatus, body: errorBody(code, message) };
}

/** An answer that needs the store: one that can't be reached is 503, for the caller may try again, and not a bug of ours. */
export async function storeAnswer(answer: () => Promise<Answer>): Promise<Answer> {
  try {
    return await answer();
  } catch (error) {
    const timedOut = error instanceof Error && error.name === "TimeoutError";
    if (!timedOut && !(error instanceof StoreError && error.retryable)) throw error;
    return refusal(503, "STORE_UNAVAILABLE", "etcd does not answer; try again later");
  }
}
