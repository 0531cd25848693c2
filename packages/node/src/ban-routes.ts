import {
  evidenceIdText,
  evidenceTxId,
  isoTime,
  LIMITS,
  type NodeId,
  type PeerId,
  parseNodeId,
  parsePeerId,
  type Result,
} from "@quorate/core";
import type { BanEntry, Clock, TallyStore } from "@quorate/ports";
import { COSTLY, type OpsServer } from "@quorate/telemetry";
import { type Answer, refusal, storeAnswer } from "./store-answer.ts";

/** Violations looked through for the transactions of silence bans, whose evidence names none. */
const SCANNED_MAX = 10_000;
const SCAN_PAGE = 1_000;
/** The longest a call of etcd may take, in ms. */
const STORE_TIMEOUT_MS = 5_000;

export interface BanContext {
  readonly node: { readonly view: { readonly banRecords: ReadonlyMap<PeerId, BanEntry> } };
  readonly store: Pick<TallyStore, "readBans" | "liftBan" | "readLifts" | "listViolations">;
  readonly clock: Clock;
}

/** `GET /v1/bans` and `POST /v1/bans/{peer or node id}/lift`. */
export function addBanRoutes(app: OpsServer["app"], context: BanContext): void {
  app.get("/v1/bans", async (request, reply) => {
    const { lifts } = request.query as Record<string, unknown>;
    const { httpStatus, body } = await storeAnswer(() => list(context, lifts !== undefined));
    return reply.code(httpStatus).send(body);
  });

  app.post("/v1/bans/:peer/lift", COSTLY, async (request, reply) => {
    const { peer = "" } = request.params as Record<string, string>;
    const { httpStatus, body } = await storeAnswer(() => lift(context, peer, request.body));
    return reply.code(httpStatus).send(body);
  });
}

async function list(context: BanContext, withLifts: boolean): Promise<Answer> {
  const bans = [...context.node.view.banRecords.values()];
  const silences = await silenceIds(context, bans);
  const body = {
    bans: bans.map((ban) => ({
      peerId: ban.peerId,
      nodeId: ban.nodeId,
      reason: ban.reason,
      grade: ban.grade,
      bannedAt: isoTime(ban.bannedAtMs),
      evidenceId: evidenceIdOf(ban) ?? silences.get(ban.peerId) ?? null,
    })),
    ...(withLifts ? { lifts: await liftsOf(context) } : {}),
  };
  return { httpStatus: 200, body };
}

const signal = (): AbortSignal => AbortSignal.timeout(STORE_TIMEOUT_MS);

function evidenceIdOf({ peerId, reason, evidence }: BanEntry): string | null {
  const txId = evidenceTxId(evidence);
  return txId === null || reason === "LOW_REPUTATION"
    ? null
    : evidenceIdText({ txId, peerId, type: reason });
}

/** Evidence of an absence names no transaction, so its violation is looked for: the one of the ban's own moment. */
async function silenceIds(
  { store }: BanContext,
  bans: readonly BanEntry[],
): Promise<ReadonlyMap<PeerId, string>> {
  const found = new Map<PeerId, string>();
  const wanted = new Map(
    bans.flatMap((ban) => (ban.reason === "SILENT_FAILURE" ? [[ban.peerId, ban] as const] : [])),
  );
  let after: string | null = null;
  for (let scanned = 0; scanned < SCANNED_MAX && found.size < wanted.size; scanned += SCAN_PAGE) {
    const page = await store.listViolations({ after, limit: SCAN_PAGE }, { signal: signal() });
    for (const violation of page.violations) {
      const ban = wanted.get(violation.peerId);
      if (violation.type !== "SILENT_FAILURE" || violation.detectedAtMs !== ban?.bannedAtMs)
        continue;
      found.set(violation.peerId, evidenceIdText(violation));
    }
    after = page.next;
    if (after === null) break;
  }
  return found;
}

async function liftsOf({ store }: BanContext): Promise<readonly object[]> {
  const lifts = await store.readLifts({ signal: signal() });
  return lifts.map(({ liftedAtMs, ...lift }) => ({ ...lift, liftedAt: isoTime(liftedAtMs) }));
}

interface LiftRequest {
  readonly reason: string;
  readonly operator: string;
}

function readLift(body: unknown): Result<LiftRequest, string> {
  const fields = typeof body === "object" && body !== null ? (body as Record<string, unknown>) : {};
  const reason = textOf(fields["reason"], LIMITS.liftReasonCharsMax);
  const operator = textOf(fields["operator"], LIMITS.operatorCharsMax);
  if (reason === null)
    return { ok: false, error: `reason must be 1 to ${LIMITS.liftReasonCharsMax} characters` };
  if (operator === null)
    return { ok: false, error: `operator must be 1 to ${LIMITS.operatorCharsMax} characters` };
  return { ok: true, value: { reason, operator } };
}

/** Text in one line; null when there is none or too much. */
function textOf(input: unknown, charsMax: number): string | null {
  if (typeof input !== "string") return null;
  const text = input.trim();
  return text.length >= 1 && text.length <= charsMax && !/\p{Cc}/u.test(text) ? text : null;
}

async function lift({ store, clock }: BanContext, name: string, request: unknown): Promise<Answer> {
  const read = readLift(request);
  if (!read.ok) return refusal(400, "LIFT_INVALID", read.error);
  const { reason, operator } = read.value;
  const { bans } = await store.readBans({ signal: signal() });
  const named = bansOf(name, bans);
  if (!named.ok) return refusal(400, "PEER_ID_INVALID", named.error);
  const [ban, ...others] = named.value;
  if (ban === undefined) return refusal(404, "NOT_BANNED", `${name} is not banned`);
  if (others.length > 0) {
    const peers = named.value.map((b) => b.peerId).join(", ");
    return refusal(409, "AMBIGUOUS", `several peers are banned as ${name}; name one: ${peers}`);
  }
  const { peerId, nodeId } = ban;
  const liftedAtMs = clock.nowMs();
  const outcome = await store.liftBan(
    { peerId, nodeId, kind: "OPERATOR", by: operator, reason, liftedAtMs, banReason: ban.reason },
    { signal: signal() },
  );
  if (outcome === "not-banned") return refusal(404, "NOT_BANNED", `${name} is not banned`);
  if (outcome === "permanent")
    return refusal(
      409,
      "BAN_PERMANENT",
      `the ban of ${nodeId ?? peerId} rests on proof (${ban.reason}), which is permanent: only bans by opinion can be lifted. The trustee can come back with a new key, if the others admit it.`,
    );
  return {
    httpStatus: 200,
    body: {
      peerId,
      nodeId,
      banReason: ban.reason,
      by: operator,
      reason,
      liftedAt: isoTime(liftedAtMs),
    },
  };
}

/** The bans of a peer, or of all peers that were banned under a name. */
function bansOf(
  name: string,
  bans: ReadonlyMap<PeerId, BanEntry>,
): Result<readonly BanEntry[], string> {
  const peerId = parsePeerId(name);
  const nodeId = parseNodeId(name);
  const isMeant = (ban: BanEntry): boolean =>
    peerId.ok ? ban.peerId === peerId.value : isNamed(ban, nodeId.ok ? nodeId.value : null);
  if (!peerId.ok && !nodeId.ok)
    return {
      ok: false,
      error: `${JSON.stringify(name.slice(0, 80))} is neither a peer id nor a node id`,
    };
  return { ok: true, value: [...bans.values()].filter(isMeant) };
}

function isNamed(ban: BanEntry, nodeId: NodeId | null): boolean {
  return nodeId !== null && ban.nodeId === nodeId;
}
