import { type AuditLog, StoreError, type SubmissionStore } from "@quorate/ports";
import type { SimLink } from "./sim-link.ts";
import { withoutSignal } from "./sim-tally-client.ts";

/** What a caller hears of a PostgreSQL that it can't reach: whether a commit happened, nobody knows. */
export function databaseError(kind: "unreachable" | "timeout", operation: string): StoreError {
  return kind === "timeout"
    ? new StoreError("TIMEOUT", `${operation} was not answered in time`, { retryable: true })
    : new StoreError("UNAVAILABLE", `the connection broke during ${operation}`, {
        retryable: true,
      });
}

/**
 * A process's connection to the submissions' tables. `assign` signs in the client's memory in the middle of the transaction:
 * while the client stands still, so does the transaction, and an abort there undoes it.
 * @param tables carries the calls out
 */
export function simSubmissionStore(link: SimLink, tables: SubmissionStore): SubmissionStore {
  const calls = overLink(link, tables);
  const inProcess = <T>(work: () => Promise<T>): Promise<T> =>
    new Promise((resolve, reject) =>
      link.process.enter(() => {
        work().then(resolve, reject);
      }),
    );
  return new Proxy(calls, {
    get: (target, property) =>
      property === "assign"
        ? (...[lease, request, options]: Parameters<SubmissionStore["assign"]>) =>
            link.call("assign", () => inProcess(() => tables.assign(lease, request, options)), {
              signal: options?.signal,
            })
        : Reflect.get(target, property, target),
  });
}

/** A process's connection to the history. */
export function simAuditLog(link: SimLink, tables: AuditLog): AuditLog {
  return overLink(link, tables);
}

function overLink<Port extends object>(link: SimLink, port: Port): Port {
  return new Proxy(port, {
    get: (target, property) => {
      const member: unknown = Reflect.get(target, property, target);
      if (typeof member !== "function") return member;
      return (...args: readonly unknown[]) => {
        const { sent, signal } = withoutSignal(args);
        return link.call(String(property), () => Reflect.apply(member, target, sent), { signal });
      };
    },
  });
}
