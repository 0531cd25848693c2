import {
  type EvidenceId,
  evidenceIdText,
  isoTime,
  makeEvidenceFile,
  type PeerId,
  parseEvidenceId,
  parseTxId,
  type Result,
  utf8,
  type Verify,
  verifyEvidenceFile,
} from "@quorate/core";
import {
  type Clock,
  type Ed25519,
  type StandaloneViolation,
  StoreError,
  type TallyStore,
  type VoteSigner,
} from "@quorate/ports";
import { COSTLY, type OpsServer } from "@quorate/telemetry";
import { type Answer, refusal, storeAnswer } from "./store-answer.ts";

type Violation = StandaloneViolation["violation"];

/** Entries of one answer, unless asked for fewer or more: a screen or two. */
const PAGE_DEFAULT = 100;
/** Entries of one answer at most: 300 kB. */
const PAGE_MAX = 1_000;
/** Violations looked through for one answer when only one trustee's are wanted: some tens of etcd reads. */
const SCANNED_MAX = 10_000;
/** Violations read at a time when only one trustee's are wanted. */
const FILTERED_PAGE = 500;
/** A page's place, in characters: a key of etcd, percent-encoded or not. */
const AFTER_CHARS_MAX = 1_000;
/** The longest a read of etcd may take, in ms. */
const READ_TIMEOUT_MS = 5_000;

export interface EvidenceContext {
  readonly store: Pick<TallyStore, "listViolations" | "readViolations" | "read" | "readConfig">;
  /** Of this node, which signs what it exports. */
  readonly peerId: PeerId;
  readonly signer: VoteSigner;
  readonly ed25519: Ed25519;
  readonly clock: Clock;
}

/** `GET /v1/evidence` (list), `/v1/evidence/{tx}/{peer}/{type}` (one) and `…/file` (the signed export). */
export function addEvidenceRoutes(app: OpsServer["app"], context: EvidenceContext): void {
  app.get("/v1/evidence", COSTLY, async (request, reply) => {
    const query = request.query as Record<string, unknown>;
    const { httpStatus, body } = await storeAnswer(() => list(context, query));
    return reply.code(httpStatus).send(body);
  });

  app.get("/v1/evidence/:tx/:peer/:type", COSTLY, async (request, reply) => {
    const { httpStatus, body } = await storeAnswer(async () => {
      const found = await findOne(context, request.params as Record<string, string>);
      return "httpStatus" in found ? found : { httpStatus: 200, body: await told(context, found) };
    });
    return reply.code(httpStatus).send(body);
  });

  app.get("/v1/evidence/:tx/:peer/:type/file", COSTLY, async (request, reply) => {
    const { httpStatus, body } = await storeAnswer(async () => {
      const found = await findOne(context, request.params as Record<string, string>);
      if ("httpStatus" in found) return found;
      const file = await exported(context, found);
      if (file.ok) return { httpStatus: 200, body: file.value };
      const said = `${evidenceIdText(found)} can't be exported: ${file.error}`;
      return refusal(409, "EVIDENCE_UNPROVEN", said);
    });
    return reply.code(httpStatus).type("application/json; charset=utf-8").send(body);
  });
}

const signal = (): AbortSignal => AbortSignal.timeout(READ_TIMEOUT_MS);

const verifyOf =
  ({ ed25519 }: EvidenceContext): Verify =>
  (key, message, signature) =>
    ed25519.verify(key, message, signature);

interface Query {
  readonly after: string | null;
  readonly limit: number;
  readonly tx: EvidenceId["txId"] | null;
  /** A node id or a peer id. */
  readonly node: string | null;
}

function readQuery(query: Readonly<Record<string, unknown>>): Result<Query, string> {
  const bad = (error: string): Result<Query, string> => ({ ok: false, error });
  const { after = null, limit = String(PAGE_DEFAULT), tx, node = null } = query;
  if (after !== null && (typeof after !== "string" || after.length > AFTER_CHARS_MAX))
    return bad("after must be the `next` of the page before");
  if (typeof limit !== "string" || !/^[1-9][0-9]{0,3}$/.test(limit) || Number(limit) > PAGE_MAX)
    return bad(`limit must be a whole number from 1 to ${PAGE_MAX}`);
  if (node !== null && typeof node !== "string") return bad("node must be given once");
  const txId = tx === undefined ? null : parseTxId(tx);
  if (txId?.ok === false) return bad(txId.error.message);
  return { ok: true, value: { after, limit: Number(limit), tx: txId?.value ?? null, node } };
}

async function list(
  context: EvidenceContext,
  parameters: Readonly<Record<string, unknown>>,
): Promise<Answer> {
  const query = readQuery(parameters);
  if (!query.ok) return refusal(400, "QUERY_INVALID", query.error);
  try {
    return { httpStatus: 200, body: await listed(context, query.value) };
  } catch (error) {
    // A place that the store has never given out.
    if (!(error instanceof StoreError) || error.code !== "REFUSED") throw error;
    return refusal(400, "QUERY_INVALID", error.message);
  }
}

/** One violation with what its evidence proves, or why it proves nothing. */
async function told(context: EvidenceContext, violation: Violation): Promise<object> {
  const file = await exported(context, violation);
  const verdict = file.ok ? verifyEvidenceFile(utf8(file.value), verifyOf(context)) : file;
  return {
    ...summaryOf(violation),
    finding: verdict.ok ? verdict.value.finding : null,
    problem: verdict.ok ? null : verdict.error,
    rule: verdict.ok ? verdict.value.rule : null,
    trusteeSets: verdict.ok ? verdict.value.sets : [],
    evidence: violation.evidence,
  };
}

/** One transaction's, or a page of all. A page may be short or even empty, and a filtered one longer than asked for: only `next: null` is the end. */
async function listed(
  { store }: EvidenceContext,
  { after, limit, tx, node }: Query,
): Promise<object> {
  const wanted = (v: Violation): boolean => node === null || v.nodeId === node || v.peerId === node;
  if (tx !== null) {
    const violations = await store.readViolations(tx, { signal: signal() });
    return { evidence: violations.filter(wanted).map(summaryOf), next: null };
  }
  // One deadline for all pages, and pages that are worth their round trip: with a filter most of each is left out.
  const deadline = signal();
  const pageSize = node === null ? limit : Math.max(limit, FILTERED_PAGE);
  const found: Violation[] = [];
  let next = after;
  let scanned = 0;
  do {
    const page = await store.listViolations(
      { after: next, limit: node === null ? pageSize - found.length : pageSize },
      { signal: deadline },
    );
    found.push(...page.violations.filter(wanted));
    scanned += Math.max(1, page.violations.length);
    next = page.next;
  } while (next !== null && found.length < limit && scanned < SCANNED_MAX);
  return { evidence: found.map(summaryOf), next };
}

function summaryOf(violation: Violation): object {
  const { txId, peerId, nodeId, type, grade, detectedAtMs } = violation;
  const id = evidenceIdText(violation);
  return { id, txId, peerId, nodeId, type, grade, detectedAt: isoTime(detectedAtMs) };
}

async function findOne(
  { store }: EvidenceContext,
  { tx = "", peer = "", type = "" }: Readonly<Record<string, string>>,
): Promise<Violation | Answer> {
  const id = parseEvidenceId(`${tx}/${peer}/${type}`);
  if (!id.ok) return refusal(400, id.error.code, id.error.message);
  const violations = await store.readViolations(id.value.txId, { signal: signal() });
  const { peerId } = id.value;
  const violation = violations.find((v) => v.peerId === peerId && v.type === id.value.type);
  const said = `no violation ${evidenceIdText(id.value)} is recorded`;
  return violation ?? refusal(404, "EVIDENCE_UNKNOWN", said);
}

async function exported(
  context: EvidenceContext,
  violation: Violation,
): Promise<Result<string, string>> {
  const { store, signer, clock, peerId } = context;
  const { set, sets } = await store.readConfig({ signal: signal() });
  const { snapshot, revision } = await store.read(violation.txId, { signal: signal() });
  return makeEvidenceFile(
    {
      violation,
      clusterId: set.clusterId,
      sets,
      tally: { snapshot, revision },
      exporter: peerId,
      exportedAtMs: clock.nowMs(),
    },
    (message) => signer.sign(message),
    verifyOf(context),
  );
}
