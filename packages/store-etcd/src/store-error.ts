import { StoreError } from "@quorate/ports";
import {
  EtcdLeaseInvalidError,
  EtcdPermissionDeniedError,
  GRPCCancelledError,
  GRPCDeadlineExceededError,
  GRPCInvalidArgumentError,
  GRPCResourceExhastedError,
  GRPCUnauthenticatedError,
  GRPCUnavailableError,
} from "etcd3";

type Row = {
  readonly when: (error: Error) => boolean;
  readonly code: StoreError["code"];
  readonly retryable: boolean;
  /** In place of etcd's own words. */
  readonly message?: string;
};

const says =
  (...words: readonly string[]) =>
  (error: Error): boolean =>
    words.some((word) => error.message.includes(word));

/** The only place that reads etcd's error text. First match wins; what matches nothing is UNAVAILABLE. */
const TABLE: readonly Row[] = [
  { when: says("required revision has been compacted"), code: "CORRUPT", retryable: false },
  // The collector or an operator has to make room. The same call works afterwards.
  {
    when: says("database space exceeded"),
    code: "NO_SPACE",
    retryable: true,
    message:
      "its storage quota is used up (NOSPACE), and it takes no writes until room is made and the alarm is disarmed",
  },
  {
    when: says("too many operations", "duplicate key", "request is too large"),
    code: "REFUSED",
    retryable: false,
  },
  { when: says("request timed out", "Deadline exceeded"), code: "TIMEOUT", retryable: true },
  { when: says("no leader", "leader changed"), code: "UNAVAILABLE", retryable: true },
  { when: says("too many requests"), code: "UNAVAILABLE", retryable: true },
  { when: (e) => e instanceof GRPCDeadlineExceededError, code: "TIMEOUT", retryable: true },
  { when: (e) => e instanceof GRPCUnavailableError, code: "UNAVAILABLE", retryable: true },
  { when: (e) => e instanceof GRPCCancelledError, code: "UNAVAILABLE", retryable: true },
  { when: (e) => e instanceof EtcdLeaseInvalidError, code: "REFUSED", retryable: false },
  {
    when: (e) =>
      e instanceof EtcdPermissionDeniedError ||
      e instanceof GRPCUnauthenticatedError ||
      e instanceof GRPCInvalidArgumentError,
    code: "REFUSED",
    retryable: false,
  },
  // A reply beyond the client's message size; sending the same again brings the same.
  { when: (e) => e instanceof GRPCResourceExhastedError, code: "REFUSED", retryable: false },
];

/** @param what the operation, to complete the sentence "etcd … failed". */
export function storeErrorOf(error: unknown, what: string): StoreError {
  if (error instanceof StoreError) return error;
  const known = error instanceof Error ? error : new Error(String(error));
  const row = TABLE.find(({ when }) => when(known));
  return new StoreError(
    row?.code ?? "UNAVAILABLE",
    `etcd ${what} failed: ${row?.message ?? firstLine(known.message)}`,
    {
      retryable: row?.retryable ?? true,
      cause: error,
    },
  );
}

function firstLine(text: string): string {
  return (text.split("\n")[0] ?? "").slice(0, 300);
}

/** Whether another host may do better. */
export function isHostFailure(error: StoreError): boolean {
  return error.code === "UNAVAILABLE" || error.code === "TIMEOUT";
}
