import { parseTxId } from "@quorate/core";
import type { AbortOptions } from "@quorate/ports";
import { errorBody, type OpsServer } from "@quorate/telemetry";
import { type Answer, refusal } from "./store-answer.ts";

/** The longest that the submitter is waited for, in ms: a web page waits for the answer. */
const TIMEOUT_MS = 4_000;
/** How long an answer is told again, in ms: many pages ask as often as one. */
const FRESH_MS = 1_000;
/** Largest answer that is taken, in bytes: 50 submissions, or 1,000 reputations. */
const BYTES_MAX = 1_048_576;

export interface SubmitterLink {
  /** Of its HTTP API; null when none is configured. */
  readonly url: string | null;
  readonly token: string | null;
  /** Where people look transactions up: `{explorerUrl}/tx/{hash}`. */
  readonly explorerUrl: string | null;
}

export interface SubmitterLinkContext {
  readonly submitter: SubmitterLink;
  readonly nowMs: () => number;
}

/**
 * `GET /v1/submitter` and `/v1/submitter/submissions/{tx}`: what the submitter answers, for the web page, which may ask no
 * other server than the one it came from. Only these paths, only reading.
 */
export function addSubmitterRoutes(app: OpsServer["app"], context: SubmitterLinkContext): void {
  let last: { readonly atMs: number; readonly view: Promise<object> } | null = null;
  app.get("/v1/submitter", () => {
    const nowMs = context.nowMs();
    if (last === null || nowMs - last.atMs > FRESH_MS)
      last = { atMs: nowMs, view: view(context.submitter) };
    return last.view;
  });
  app.get("/v1/submitter/submissions/:txId", async (request, reply) => {
    const { txId = "" } = request.params as Record<string, string>;
    const { httpStatus, body } = await submission(context.submitter, txId);
    return reply.code(httpStatus).send(body);
  });
}

async function view(link: SubmitterLink): Promise<object> {
  const { url, explorerUrl } = link;
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const paths = ["/v1/status", "/v1/sender", "/v1/reputations", "/v1/submissions?limit=50"];
  const [status, sender, reputations, submissions] =
    url === null ? [] : await Promise.all(paths.map((path) => ask(link, url + path, { signal })));
  const part = (answer: Answered | undefined): unknown =>
    answer?.ok === true ? answer.body : null;
  const rows = (answer: Answered | undefined, name: string): unknown => {
    const body = part(answer);
    return typeof body === "object" && body !== null ? (Reflect.get(body, name) ?? []) : [];
  };
  return {
    configured: url !== null,
    problem: status === undefined || status.ok ? null : status.problem,
    explorerUrl,
    status: part(status),
    sender: part(sender),
    reputations: rows(reputations, "reputations"),
    submissions: rows(submissions, "submissions"),
  };
}

async function submission(link: SubmitterLink, name: string): Promise<Answer> {
  if (link.url === null) return refusal(404, "NO_SUBMITTER", "no submitter is configured here");
  const txId = parseTxId(name);
  if (!txId.ok) return refusal(400, txId.error.code, txId.error.message);
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const path = `/v1/submissions/${encodeURIComponent(txId.value)}`;
  const answer = await ask(link, link.url + path, { signal });
  if (answer.ok && typeof answer.body === "object" && answer.body !== null)
    return { httpStatus: 200, body: answer.body };
  if (answer.httpStatus === 404)
    return refusal(404, "TX_UNKNOWN", `${txId.value} was never queued for the chain`);
  const why = answer.ok ? "it is no submitter" : answer.problem;
  return { httpStatus: 503, body: errorBody("SUBMITTER_UNAVAILABLE", why) };
}

type Answered =
  | { readonly ok: true; readonly httpStatus: number; readonly body: unknown }
  | { readonly ok: false; readonly httpStatus: number | null; readonly problem: string };

async function ask(
  { token }: SubmitterLink,
  url: string,
  { signal }: AbortOptions,
): Promise<Answered> {
  try {
    const response = await fetch(url, {
      headers: token === null ? {} : { authorization: `Bearer ${token}` },
      // Not to be led elsewhere, with a token.
      redirect: "error",
      signal: signal ?? null,
    });
    const { status: httpStatus } = response;
    const text = await bounded(response);
    if (response.ok) return { ok: true, httpStatus, body: JSON.parse(text) };
    const problem =
      httpStatus === 401 || httpStatus === 403
        ? `the submitter refuses this node (HTTP ${httpStatus}): it needs a token with the role read`
        : `the submitter answers HTTP ${httpStatus}`;
    return { ok: false, httpStatus, problem };
  } catch {
    return { ok: false, httpStatus: null, problem: "the submitter does not answer" };
  }
}

async function bounded(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > BYTES_MAX) throw new Error("the answer is too large");
  }
  return text;
}
