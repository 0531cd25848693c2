import { type SubmitterPorts, SubmitterService, withFaultPoints } from "@quorate/engine";
import type { AuditLog } from "@quorate/ports";
import {
  chainError,
  databaseError,
  memoryChainSigner,
  quietMetrics,
  SimLink,
  SimProcess,
  simAuditLog,
  simChainClient,
  simEd25519,
  simSubmissionStore,
  simTallyClient,
  tallyError,
} from "@quorate/testkit";
import type { SubmitterMutation } from "./mutants.ts";
import { textOf } from "./node-seat.ts";
import { lieOf } from "./rpc-lies.ts";
import { watchingLogger } from "./watching-logger.ts";
import { FINAL_DEPTH, SENDER_ADDRESS, type World } from "./world.ts";

const RESTART_MS = 1_500;
export const LEASE_TTL_SECONDS = 4;
const GWEI = 10n ** 9n;

/** All ports of a submitter, as a mutant may spoil them. */
export interface AllSubmitterPorts extends SubmitterPorts {
  readonly audit: AuditLog;
}

/** A submitter's place. Nothing of it is durable here: what it must remember is in PostgreSQL and etcd. */
export class SubmitterSeat {
  readonly index: number;
  process: SimProcess | null = null;
  service: SubmitterService | null = null;
  run = 0;
  readonly #world: World;
  readonly #mutation: SubmitterMutation | null;
  #armed: { readonly point: string; left: number } | null = null;
  #downUntilMs = 0;

  constructor(world: World, index: number, mutation: SubmitterMutation | null) {
    this.#world = world;
    this.index = index;
    this.#mutation = mutation;
  }

  get name(): string {
    return `submitter-${this.index}`;
  }

  start(): void {
    const world = this.#world;
    const { clock } = world;
    this.run++;
    const process = new SimProcess({ name: `${this.name}#${this.run}` }, { clock });
    this.process = process;
    const { ports, audit, election } = this.#ports(process);
    const service = new SubmitterService(
      {
        candidate: process.name,
        leaseTtlSeconds: LEASE_TTL_SECONDS,
        claims: { settleMs: world.protocol.settleMs, windowMs: 10, batchMax: 100 },
        sender: {
          batchMax: 5,
          windowMax: 4,
          finality: { kind: "confirmations", blocks: FINAL_DEPTH },
          resendHeads: 3,
          bumpAfterMs: 8_000,
          cancelAfterMs: 60_000,
          feeCapWei: 100n * GWEI,
          requeuesMax: 50,
        },
        history: { deployedAtBlock: 0n },
        batchWindowMs: 100,
      },
      {
        ...ports,
        election,
        audit,
        ed25519: simEd25519,
        clock: process.clock,
        logger: watchingLogger((level, message, fields) => {
          // What was on its way when the process died has no say any more.
          if (process.isAlive) world.witness.logged(process.name, level, message, fields);
        }),
        metrics: quietMetrics,
        onFatal: (error) => this.#fall(process, `fatal: ${textOf(error)}`),
        fault: (point) => this.#atPoint(process, point),
      },
    );
    world.trace.note(`${process.name} starts`);
    service.start().then(
      () => {
        if (this.process !== process || !process.isAlive) return;
        world.trace.note(`${process.name} is up`);
        this.service = service;
      },
      (error: unknown) => this.#fall(process, `did not start: ${textOf(error)}`),
    );
  }

  #ports(process: SimProcess) {
    const world = this.#world;
    const { plan, weather, clock } = world;
    const etcdRandom = world.stream(`etcd/${this.name}`);
    const etcdPlaces = plan.trustees + plan.submitters;
    const etcdPlace = plan.trustees + this.index;
    const etcd = new SimLink(
      {
        timeoutMs: 2_000,
        fate: (operation) => weather.etcd(etcdRandom, etcdPlace, etcdPlaces, operation),
        isCut: () => weather.isEtcdCut(etcdPlace, etcdPlaces),
        errorOf: tallyError,
      },
      { clock, process, server: world.etcd },
    );
    const pgRandom = world.stream(`pg/${this.name}`);
    const postgres = new SimLink(
      {
        timeoutMs: 3_000,
        fate: () => weather.postgres(pgRandom, this.index, plan.submitters),
        isCut: () => weather.isPostgresCut(this.index, plan.submitters),
        errorOf: databaseError,
      },
      { clock, process, server: world.postgres },
    );
    const rpcRandom = world.stream(`rpc/${this.name}`);
    const rpc = new SimLink(
      {
        timeoutMs: 2_500,
        fate: () => weather.rpc(rpcRandom, this.index, plan.submitters),
        isCut: () => weather.isRpcCut(this.index, plan.submitters),
        errorOf: chainError,
      },
      { clock, process, server: world.rpc },
    );
    const store = simTallyClient(etcd, { shared: world.tally, server: world.etcdServer });
    const honest: AllSubmitterPorts = {
      store,
      submissions: simSubmissionStore(postgres, world.submissions),
      audit: simAuditLog(postgres, world.audit),
      chain: simChainClient(rpc, world.chain, {
        pollMs: 300,
        lie: () => {
          const fault = weather.lying(this.index, plan.submitters);
          return fault === undefined ? null : lieOf(fault, world, rpcRandom);
        },
        othersAgree: () => rpcRandom.next() < 0.5,
        forgets: () => {
          const fault = weather.forgetting(this.index, plan.submitters);
          const yes = fault !== undefined && rpcRandom.next() < 0.7;
          if (yes) weather.strike("chain-forgets-sends");
          return yes;
        },
      }),
      signer: memoryChainSigner(SENDER_ADDRESS, { kind: plan.remoteSigner ? "remote" : "local" }),
    };
    const spoilt = this.#mutation === null ? honest : this.#mutation(honest, { world, process });
    const { audit, ...rest } = spoilt;
    const ports = withFaultPoints(rest, (point) => this.#atPoint(process, point));
    return { ports, audit, election: store };
  }

  /** @returns whether there was a process to end */
  crash(downMs: number, why: string): boolean {
    this.#downUntilMs = Math.max(this.#downUntilMs, this.#world.clock.monotonicMs() + downMs);
    if (this.process === null) return false;
    this.#fall(this.process, why);
    return true;
  }

  arm(point: string, nth: number): void {
    this.#armed = { point, left: nth };
  }

  disarm(): void {
    this.#armed = null;
  }

  #atPoint(process: SimProcess, point: string): void {
    if (this.#armed === null || this.#armed.point !== point || this.process !== process) return;
    if (--this.#armed.left > 0) return;
    this.#armed = null;
    this.#world.weather.strike("submitter-crash-at-point");
    this.#fall(process, `killed at ${point}`);
    throw new Error(`killed at ${point}`);
  }

  #fall(process: SimProcess, why: string): void {
    if (!process.isAlive) return;
    const world = this.#world;
    world.trace.note(`${process.name} ends: ${why}`);
    process.kill();
    this.process = null;
    this.service = null;
    const waitMs = Math.max(RESTART_MS, this.#downUntilMs - world.clock.monotonicMs());
    world.clock.schedule(waitMs, () => {
      if (this.process === null) this.start();
    });
  }
}
