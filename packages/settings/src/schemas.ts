import {
  checkRetention,
  DEFAULT_PROTOCOL_CONFIG,
  DEFAULT_RETENTION,
  LIMITS,
  type ParseError,
  parseClusterId,
  parseEvmAddress,
  parseNodeId,
  type Result,
  type RetentionOptions,
} from "@quorate/core";
import { z } from "zod";

/** A text that one of core's parsers accepts, as the branded type. */
function parsed<T>(parse: (input: unknown) => Result<T, ParseError>) {
  return z.string().transform((text, context): T => {
    const result = parse(text);
    if (result.ok) return result.value;
    context.addIssue({ code: "custom", message: result.error.message });
    return z.NEVER;
  });
}

const url = (protocols: readonly string[]) =>
  z.string().refine((text) => URL.canParse(text) && protocols.includes(new URL(text).protocol), {
    message: `must be a URL that begins with ${protocols.map((p) => `${p}//`).join(" or ")}`,
  });

const port = z.number().int().min(0).max(65_535);
const ms = (max: number) => z.number().int().min(0).max(max);
const multiaddr = z.string().regex(/^\/(ip4|ip6|dns|dns4|dns6)\/[^/]+\/tcp\/\d+(\/p2p\/[^/]+)?$/, {
  message: "must be a TCP multiaddr such as /ip4/127.0.0.1/tcp/4001",
});

export const clusterIdSchema = parsed(parseClusterId);
export const nodeIdSchema = parsed(parseNodeId);
export const evmAddressSchema = parsed(parseEvmAddress);

export const etcdSchema = z.strictObject({
  hosts: z.array(url(["http:", "https:"])).min(1),
  /** One request, in ms. */
  requestTimeoutMs: ms(60_000).default(5_000),
  dialTimeoutMs: ms(60_000).default(5_000),
  /** The members' `--quota-backend-bytes`, which etcd tells nobody: above a share of it the submitter purges early. */
  quotaBytes: z.number().int().min(1_048_576).optional(),
});

export const apiSchema = z.strictObject({
  /** Loopback unless told otherwise. */
  host: z.string().min(1).default("127.0.0.1"),
  port: port.default(0),
  /** Who may use the API; beside the configuration file unless absolute. Without it only this machine itself may. */
  tokensFile: z.string().min(1).optional(),
});

export const logSchema = z.strictObject({
  level: z.enum(["error", "warn", "info", "debug"]).default("info"),
  pretty: z.boolean().default(false),
});

export const tracingSchema = z.strictObject({
  /** OTLP collector over HTTP. Absent: nothing is traced. */
  otlpUrl: url(["http:", "https:"]).optional(),
  /**
   * Share of transactions that are traced. The same in all processes, or traces have holes. None until an operator says
   * so, whose `otlpUrl` may be older than traced frames are: a node of a release without them holds them against their author.
   */
  sampleRatio: z.number().min(0).max(1).default(0),
});

/** A record of each step on durable state, to be held against the model. None by default: then nothing is wrapped. */
export const stepsSchema = z.strictObject({
  /** Each run writes a file of its own there; beside the configuration file unless absolute. */
  directory: z.string().min(1).optional(),
});

export const protocolSchema = z.strictObject({
  policy: z
    .enum(["strict-abort", "quarantine-and-continue"])
    .default(DEFAULT_PROTOCOL_CONFIG.policy),
  profile: z.enum(["strict", "balanced"]).default(DEFAULT_PROTOCOL_CONFIG.profile),
  settleMs: ms(600_000).default(DEFAULT_PROTOCOL_CONFIG.settleMs),
  deadlineMs: z.number().int().min(100).max(86_400_000).default(DEFAULT_PROTOCOL_CONFIG.deadlineMs),
  silenceStreakMax: z
    .number()
    .int()
    .min(1)
    .max(1_000)
    .default(DEFAULT_PROTOCOL_CONFIG.silenceStreakMax),
});

export const networkSchema = z.strictObject({
  listen: z.array(multiaddr).min(1),
  announce: z.array(multiaddr).default([]),
  bootstrap: z.array(multiaddr).default([]),
});

export const finalitySchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("finalized") }),
  z.strictObject({ kind: z.literal("safe") }),
  z.strictObject({ kind: z.literal("confirmations"), blocks: z.number().int().min(0).max(10_000) }),
]);

export const chainSchema = z.strictObject({
  rpcUrls: z.array(url(["http:", "https:"])).min(1),
  chainId: z.number().int().min(1),
  contractAddress: evmAddressSchema,
  /** The block of the contract's deployment: nothing before it is read when its events are imported. */
  deployedAtBlock: z.number().int().min(0).default(0),
  finality: finalitySchema.default({ kind: "finalized" }),
  pollMs: z.number().int().min(50).max(60_000).default(1_000),
  timeoutMs: z.number().int().min(100).max(120_000).default(10_000),
});

export const postgresSchema = z.strictObject({
  url: url(["postgres:", "postgresql:"]),
  /** Defaults to one schema a cluster. */
  schema: z
    .string()
    .regex(/^[a-z_][a-z0-9_]{0,62}$/)
    .optional(),
});

/** Everything a trustee node is told. */
export const nodeSchema = z.strictObject({
  clusterId: clusterIdSchema,
  nodeId: nodeIdSchema,
  /** File with the Ed25519 seed in hex; beside the configuration file unless absolute. */
  keyFile: z.string().min(1),
  /** What this trustee has signed, so that a restart can't make it vote twice. Beside the configuration file unless absolute. */
  journalFile: z.string().min(1).default("votes.journal"),
  /** What this node has found out and not yet seen recorded. Beside the configuration file unless absolute. */
  accusationsFile: z.string().min(1).default("accusations.journal"),
  etcd: etcdSchema,
  network: networkSchema,
  api: apiSchema.prefault({}),
  protocol: protocolSchema.prefault({}),
  pipeline: z
    .strictObject({
      windowMs: ms(1_000).default(4),
      staggerMs: ms(10_000).default(150),
      batchMax: z.number().int().min(1).max(1_000).default(100),
      batchesInFlightMax: z.number().int().min(1).max(64).default(4),
    })
    .prefault({}),
  publisher: z
    .strictObject({
      windowMs: ms(1_000).default(4),
      /** Least time between two frames that are not full. */
      intervalMs: ms(10_000).default(30),
      /** 1 turns signature batching off. */
      frameVotesMax: z
        .number()
        .int()
        .min(1)
        .max(LIMITS.votesPerFrameMax)
        .default(LIMITS.votesPerFrameMax),
    })
    .prefault({}),
  /** Whom the web page's questions on the chain are passed on to. Without it the page tells nothing of the chain. */
  submitter: z
    .strictObject({
      url: url(["http:", "https:"]).optional(),
      /** File with a token that may read there; beside the configuration file unless absolute. */
      tokenFile: z.string().min(1).optional(),
      /** Where people look transactions up, before `/tx/{hash}`. */
      explorerUrl: url(["http:", "https:"]).optional(),
    })
    .prefault({}),
  presenceTtlSeconds: z.number().int().min(2).max(3_600).default(10),
  log: logSchema.prefault({}),
  tracing: tracingSchema.prefault({}),
  steps: stepsSchema.prefault({}),
  shutdownMs: ms(300_000).default(25_000),
});

/** Where the submitter's EVM key is. Paths are beside the configuration file unless absolute; their files must be closed to others. */
export const signerSchema = z.discriminatedUnion("kind", [
  /** In `keyFile`, in hex. */
  z.strictObject({ kind: z.literal("keyFile") }),
  /** In an encrypted JSON keystore (version 3), with its password in a file of its own. */
  z.strictObject({
    kind: z.literal("keystore"),
    file: z.string().min(1),
    passwordFile: z.string().min(1),
  }),
  /** In another process, asked by eth_signTransaction (Web3Signer). */
  z.strictObject({
    kind: z.literal("remote"),
    url: url(["http:", "https:"]),
    /** The account that it signs for. */
    address: evmAddressSchema,
    /** One signature, in ms. */
    timeoutMs: z.number().int().min(100).max(120_000).default(10_000),
    /** File with the whole authorization header. */
    authorizationFile: z.string().min(1).optional(),
  }),
]);

const DAY_MS = 86_400_000;
const ageMs = (fallback: number) =>
  z
    .number()
    .int()
    .min(1)
    .max(36_500 * DAY_MS)
    .default(fallback);

/** How long what is kept; see `RetentionOptions`. */
export const retentionSchema = z.strictObject({
  intervalMs: ageMs(DEFAULT_RETENTION.intervalMs),
  votesMs: ageMs(DEFAULT_RETENTION.votesMs),
  recordsMs: ageMs(DEFAULT_RETENTION.recordsMs),
  submissionsMs: ageMs(DEFAULT_RETENTION.submissionsMs),
  voteHistoryMs: ageMs(DEFAULT_RETENTION.voteHistoryMs),
  voteHistory: z.enum(["delete", "archive"]).default(DEFAULT_RETENTION.voteHistory),
  /** Default: 300,000, or the deadline where that is longer. */
  earlyAfterMs: z
    .number()
    .int()
    .min(1)
    .max(36_500 * DAY_MS)
    .optional(),
  highMark: z.number().default(DEFAULT_RETENTION.highMark),
  lowMark: z.number().default(DEFAULT_RETENTION.lowMark),
  compactionMarginRevisions: z
    .number()
    .int()
    .min(0)
    .max(10_000_000)
    .default(DEFAULT_RETENTION.compactionMarginRevisions),
});

const submitterShape = z.strictObject({
  clusterId: clusterIdSchema,
  signer: signerSchema.default({ kind: "keyFile" }),
  /** File with the EVM private key in hex; beside the configuration file unless absolute. With `signer.kind` "keyFile" only. */
  keyFile: z.string().min(1).optional(),
  etcd: etcdSchema,
  postgres: postgresSchema,
  chain: chainSchema,
  api: apiSchema.prefault({}),
  protocol: protocolSchema.prefault({}),
  claims: z
    .strictObject({
      windowMs: ms(10_000).default(10),
      batchMax: z.number().int().min(1).max(1_000).default(100),
    })
    .prefault({}),
  sender: z
    .strictObject({
      batchMax: z.number().int().min(1).max(LIMITS.chainBatchMax).default(LIMITS.chainBatchMax),
      windowMax: z
        .number()
        .int()
        .min(1)
        .max(LIMITS.nonceWindowMax)
        .default(LIMITS.nonceWindowDefault),
      resendHeads: z.number().int().min(1).max(1_000).default(3),
      batchWindowMs: ms(60_000).default(100),
      /** A transaction that is not mined after so long is replaced by one that offers more. */
      bumpAfterMs: ms(86_400_000).default(60_000),
      /** One that is still not mined then, though it offers enough, is replaced by an empty one, and its results go again. */
      cancelAfterMs: ms(86_400_000).default(900_000),
      /** Most ever offered as max fee, in gwei per gas. Where it is reached a person must decide. */
      feeCapGwei: z.number().positive().max(1_000_000).default(500),
      /** Results that ended so often without being recorded are quarantined. */
      requeuesMax: z.number().int().min(0).max(1_000).default(5),
    })
    .prefault({}),
  retention: retentionSchema.prefault({}),
  leaseTtlSeconds: z.number().int().min(2).max(3_600).default(10),
  log: logSchema.prefault({}),
  tracing: tracingSchema.prefault({}),
  steps: stepsSchema.prefault({}),
  shutdownMs: ms(300_000).default(25_000),
});

/** True as soon as it is known where the key is, whatever else is wrong: all problems are told at once. */
const whenSignerIsKnown = ({ value }: { readonly value: unknown }): boolean =>
  z.object({ signer: z.object({ kind: z.string() }) }).safeParse(value).success;

/** The retention rules as they are meant: nothing is purged early before its deadline, however long that is. */
export function retentionOf(settings: {
  readonly retention: z.output<typeof retentionSchema>;
  readonly protocol: { readonly deadlineMs: number };
}): RetentionOptions {
  const { retention, protocol } = settings;
  const { earlyAfterMs = Math.max(DEFAULT_RETENTION.earlyAfterMs, protocol.deadlineMs) } =
    retention;
  return { ...retention, earlyAfterMs };
}

/** Everything the submitter is told. */
export const submitterSchema = submitterShape
  .refine(({ signer, keyFile }) => signer.kind !== "keyFile" || keyFile !== undefined, {
    path: ["keyFile"],
    message: "is missing (also settable by QUORATE_KEY_FILE), or signer.kind is another one",
    when: whenSignerIsKnown,
  })
  .refine(({ signer, keyFile }) => signer.kind === "keyFile" || keyFile === undefined, {
    path: ["keyFile"],
    message: 'is used with signer.kind "keyFile" only: leave it out',
    when: whenSignerIsKnown,
  })
  .superRefine(({ retention, protocol }, context) => {
    const checked = checkRetention(retentionOf({ retention, protocol }), protocol.deadlineMs);
    if (checked.ok) return;
    const { option, message } = checked.error;
    context.addIssue({ code: "custom", path: ["retention", option], message });
  });

export type NodeSettings = z.output<typeof nodeSchema>;
export type SubmitterSettings = z.output<typeof submitterSchema>;
