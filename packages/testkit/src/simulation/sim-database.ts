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

/** A process's connection to the submissions' tables. @param tables carries the calls out */
export function simSubmissionStore(link: SimLink, tables: SubmissionStore): SubmissionStore {
  return overLink(link, tables, (property, target) =>
    property === "assign"
      ? // It signs in the client's memory in the middle of the transaction: while the client stands still, so does the transaction.
        (...args: readonly unknown[]) =>
          new Promise((resolve, reject) =>
            link.process.enter(() => {
              Promise.resolve(Reflect.apply(target.assign, target, args)).then(resolve, reject);
            }),
          )
      : null,
  );
}

/** A process's connection to the history. */
export function simAuditLog(link: SimLink, tables: AuditLog): AuditLog {
  return overLink(link, tables, () => null);
}

function overLink<Port extends object>(
  link: SimLink,
  port: Port,
  special: (
    property: PropertyKey,
    target: Port,
  ) => ((...args: readonly unknown[]) => unknown) | null,
): Port {
  return new Proxy(port, {
    get: (target, property) => {
      const member: unknown = Reflect.get(target, property, target);
      if (typeof member !== "function") return member;
      return (...args: readonly unknown[]) => {
        const { sent, signal } = withoutSignal(args);
        const own = special(property, target);
        return link.call(
          String(property),
          () => (own === null ? Reflect.apply(member, target, sent) : own(...sent)),
          { signal },
        );
      };
    },
  });
}
