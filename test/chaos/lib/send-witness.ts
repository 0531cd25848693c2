import type { Pool } from "pg";
import { keccak256, parseTransaction, recoverTransactionAddress } from "viem";
import type { Hex } from "./json-rpc.ts";

/** What was seen on the wire that must not be. */
export interface SendViolation {
  readonly kind: "not-stored" | "other-nonce";
  readonly hash: Hex;
  readonly nonce: number | undefined;
}

/**
 * Looks at every raw transaction on its way to an endpoint: its very bytes must be committed in PostgreSQL at that
 * moment, under the nonce they carry. It asks past the product, with SQL of its own.
 */
export class SendWitness {
  readonly violations: SendViolation[] = [];
  readonly #pool: Pool;
  /** By the sender's address, the schema that must know its bytes. */
  readonly #schemas = new Map<string, string>();
  readonly #good = new Set<Hex>();
  sends = 0;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  watch(sender: string, schema: string): void {
    this.#schemas.set(sender.toLowerCase(), schema);
  }

  async see(raw: Hex): Promise<void> {
    this.sends++;
    const hash = keccak256(raw);
    if (this.#good.has(hash)) return;
    const transaction = parseTransaction(raw);
    const sender = await recoverTransactionAddress({
      serializedTransaction: raw as `0x02${string}`,
    });
    const schema = this.#schemas.get(sender.toLowerCase());
    if (schema === undefined) return;
    const { rows } = await this.#pool.query<{ nonce: string; raw: Buffer }>(
      `SELECT nonce::text AS nonce, raw FROM "${schema}".attempt WHERE hash = $1`,
      [Buffer.from(hash.slice(2), "hex")],
    );
    const [row] = rows;
    const { nonce } = transaction;
    if (row === undefined) this.#report("not-stored", hash, nonce);
    else if (row.nonce !== String(nonce ?? 0)) this.#report("other-nonce", hash, nonce);
    else this.#good.add(hash);
  }

  #report(kind: SendViolation["kind"], hash: Hex, nonce: number | undefined): void {
    if (!this.violations.some((seen) => seen.hash === hash && seen.kind === kind))
      this.violations.push({ kind, hash, nonce });
  }
}
