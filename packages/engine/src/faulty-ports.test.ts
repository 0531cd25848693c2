import { emptySnapshot, parseTxId, type TxWrites, unwrap } from "@quorate/core";
import { FaultLoss, type FaultPoint } from "@quorate/ports";
import { describe, expect, it } from "vitest";
import {
  FAULT_OPERATIONS,
  FAULT_POINTS,
  type SubmitterPorts,
  withFaultPoints,
} from "./faulty-ports.ts";

/** Ports that note each call and answer nothing, with a private field as the real adapters have. */
class Noted {
  readonly #calls: string[];
  constructor(calls: string[]) {
    this.#calls = calls;
    return new Proxy(this, {
      get: (target, property) => {
        if (property === "address") return "0xabc";
        return async function (this: unknown) {
          if (this !== target && !(this instanceof Noted)) throw new Error("called unbound");
          target.#calls.push(String(property));
          return { kind: "accepted", detail: "" };
        };
      },
    });
  }
}

function world(fault: FaultPoint) {
  const calls: string[] = [];
  const passed: string[] = [];
  const port = new Noted(calls);
  const ports = { store: port, submissions: port, chain: port, signer: port };
  const faulty = withFaultPoints(ports as unknown as SubmitterPorts, (name) => {
    passed.push(name);
    fault(name);
  });
  return { faulty, calls, passed };
}

const call = (port: object, method: string): Promise<unknown> =>
  Reflect.apply(Reflect.get(port, method), port, []);

const losing =
  (point: string): FaultPoint =>
  (name) => {
    if (name === point) throw new FaultLoss(name);
  };

const writes = (status: "SUBMITTED" | "CONFIRMED"): TxWrites => ({
  ...emptySnapshot(unwrap(parseTxId("tx"))),
  newVotes: [],
  counts: new Map(),
  status,
  decision: null,
  violations: [],
  bans: [],
  silenceStreaks: new Map(),
});

describe("the fault points of a submitter", () => {
  it("lie before and after at least 27 named operations", () => {
    expect(new Set(FAULT_OPERATIONS).size).toBe(FAULT_OPERATIONS.length);
    expect(FAULT_OPERATIONS.length).toBeGreaterThanOrEqual(27);
    expect(FAULT_POINTS).toHaveLength(2 * FAULT_OPERATIONS.length);
  });

  it("are each passed, in order, around the call of their operation", async () => {
    const { faulty, calls, passed } = world(() => {});
    const { store, submissions, chain, signer } = faulty;
    const operations = [
      ...Object.entries({ enqueue: submissions, assign: submissions, becomeLeader: submissions }),
      ...Object.entries({ send: chain, receipt: chain, recordsOf: chain }),
      ["sign", signer] as const,
      ["read", store] as const,
    ];
    for (const [name, port] of operations) await call(port, name);
    await store.commit([{ version: 1n, writes: writes("SUBMITTED") }], 1n);
    await store.commit([{ version: 1n, writes: writes("CONFIRMED") }], 1n);
    expect(calls).toEqual([...operations.map(([name]) => name), "commit", "commit"]);
    expect(passed).toEqual(
      "pg.enqueue pg.assign pg.become-leader chain.send chain.receipt chain.records signer.sign etcd.read etcd.claim etcd.confirm"
        .split(" ")
        .flatMap((name) => [`${name}.before`, `${name}.after`]),
    );
    expect(passed.filter((name) => !FAULT_POINTS.includes(name))).toEqual([]);
  });

  it("leave alone what is no call over a network", () => {
    const { faulty, passed } = world(() => {});
    expect(faulty.signer.address).toBe("0xabc");
    expect(passed).toEqual([]);
  });

  it("lose a request before it has an effect", async () => {
    const { faulty, calls } = world(losing("pg.assign.before"));
    const lost = call(faulty.submissions, "assign");
    await expect(lost).rejects.toMatchObject({ code: "UNAVAILABLE", retryable: true });
    expect(calls).toEqual([]);
  });

  it("lose an answer after the effect", async () => {
    const { faulty, calls } = world(losing("etcd.claim.after"));
    const lost = faulty.store.commit([{ version: 1n, writes: writes("SUBMITTED") }], 1n);
    await expect(lost).rejects.toMatchObject({ code: "UNAVAILABLE", retryable: true });
    expect(calls).toEqual(["commit"]);
  });

  it("lose in the words that each caller knows", async () => {
    const chain = world(losing("chain.head.after")).faulty.chain;
    await expect(chain.head()).rejects.toMatchObject({ code: "RPC_UNREACHABLE", retryable: true });
    const signer = world(losing("signer.sign.after")).faulty.signer;
    await expect(call(signer, "sign")).rejects.toMatchObject({ code: "TIMEOUT" });
  });

  it("let a lost head pass unheard, and nothing else", async () => {
    const heads: bigint[] = [];
    const watched = async (point: string, fails = false): Promise<void> => {
      const { faulty } = world(losing(point));
      const port = {
        watchHeads: async (onHead: (head: { number: bigint }) => unknown) => {
          await onHead({ number: 1n });
        },
      };
      const { chain } = withFaultPoints(
        { ...faulty, chain: port as unknown as SubmitterPorts["chain"] },
        losing(point),
      );
      await chain.watchHeads(
        ({ number }) => {
          heads.push(number);
          if (fails) throw new Error("deposed");
        },
        { signal: AbortSignal.timeout(1_000) },
      );
    };
    await watched("chain.head.before");
    expect(heads).toEqual([]);
    await watched("chain.head.after");
    expect(heads).toEqual([1n]);
    await expect(watched("none", true)).rejects.toThrow("deposed");
  });

  it("make of a lost send what a send says, for it never rejects", async () => {
    for (const point of ["chain.send.before", "chain.send.after"]) {
      const { faulty, calls } = world(losing(point));
      await expect(faulty.chain.send(new Uint8Array())).resolves.toMatchObject({
        kind: "unreachable",
      });
      expect(calls).toHaveLength(point.endsWith("after") ? 1 : 0);
    }
  });
});
