import type { AuditRow } from "@quorate/ports";

/** A change together with the etcd revision that made it. */
export type Revised<R extends AuditRow> = R & { readonly revision: bigint };
