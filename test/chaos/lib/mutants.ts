import type { SubmitterPorts } from "@quorate/engine";
import type { Chain, ChainSigner, SubmissionStore } from "@quorate/ports";
import type { WeatherKind } from "./weather.ts";

export interface Mutant {
  readonly name: string;
  /** What is wrong with it. */
  readonly wrong: string;
  readonly wrap: (ports: SubmitterPorts) => SubmitterPorts;
  /** Faults of its processes, where its mistake shows. */
  readonly aim: string;
  readonly weather: readonly WeatherKind[];
  readonly settings?: Readonly<Record<string, unknown>>;
}

const withMethods = <Port extends object>(port: Port, methods: Partial<Port>): Port =>
  new Proxy(port, {
    get: (target, property) => {
      const own: unknown = Reflect.get(methods, property);
      if (own !== undefined) return own;
      const member: unknown = Reflect.get(target, property, target);
      return typeof member === "function" ? member.bind(target) : member;
    },
  });

const changing = (
  ports: SubmitterPorts,
  change: {
    readonly submissions?: Partial<SubmissionStore>;
    readonly chain?: Partial<Chain>;
    readonly signer?: Partial<ChainSigner>;
  },
): SubmitterPorts => ({
  store: ports.store,
  submissions: withMethods(ports.submissions, change.submissions ?? {}),
  chain: withMethods(ports.chain, change.chain ?? {}),
  signer: withMethods(ports.signer, change.signer ?? {}),
});

/** Mistakes that real submitters make, each of which the same command must catch. */
export const MUTANTS: readonly Mutant[] = [
  {
    name: "send-before-commit",
    wrong: "sends a transaction while its nonce and its bytes are not committed yet",
    wrap: (ports) =>
      changing(ports, {
        submissions: {
          assign: (lease, request, options) =>
            ports.submissions.assign(
              lease,
              {
                ...request,
                sign: async (nonce, items) => {
                  const signed = await request.sign(nonce, items);
                  await ports.chain.send(signed.raw, options);
                  return signed;
                },
              },
              options,
            ),
        },
      }),
    aim: "chain.send.after=kill@1",
    weather: ["reorg", "drop-one"],
  },
  {
    name: "delete-old-attempt",
    wrong: "forgets the old transaction of a nonce when it signs a dearer one",
    wrap: (ports) =>
      changing(ports, {
        submissions: {
          liveSlots: async (sender, options) =>
            (await ports.submissions.liveSlots(sender, options)).map((slot) => ({
              ...slot,
              attempts: slot.attempts.slice(-1),
            })),
        },
      }),
    aim: "",
    weather: ["full-blocks"],
  },
  {
    name: "bump-sent-before-stored",
    wrong: "sends a dearer transaction before it is stored",
    wrap: (ports) =>
      changing(ports, {
        submissions: {
          addAttempt: async (lease, nonce, attempt, options) => {
            await ports.chain.send(attempt.raw, options);
            return await ports.submissions.addAttempt(lease, nonce, attempt, options);
          },
        },
      }),
    aim: "pg.add-attempt.before=kill@1",
    weather: ["fee-spike"],
  },
  {
    name: "requeue-at-latest",
    wrong: "takes a foreign transaction for final as soon as it is in a block",
    wrap: (ports) =>
      changing(ports, {
        chain: {
          transactionCount: (address, _at, options) =>
            ports.chain.transactionCount(address, "latest", options),
        },
      }),
    aim: "",
    weather: ["foreign-then-reorg", "foreign-nonce", "reorg"],
  },
  {
    name: "nonce-from-rpc",
    wrong: "signs with the nonce that an endpoint counts, not with the one it has taken",
    wrap: (ports) =>
      changing(ports, {
        signer: {
          sign: async (transaction, options) =>
            await ports.signer.sign(
              {
                ...transaction,
                nonce: await ports.chain.transactionCount(ports.signer.address, "pending", options),
              },
              options,
            ),
        },
      }),
    aim: "chain.send.before=kill@3",
    weather: ["drop-all", "lag", "reorg"],
  },
];

/** @throws Error naming those there are. */
export function findMutant(name: string): Mutant {
  const found = MUTANTS.find((mutant) => mutant.name === name);
  if (found !== undefined) return found;
  const names = MUTANTS.map((mutant) => mutant.name).join(", ");
  throw new Error(`there is no mutant ${JSON.stringify(name)}; there are ${names}`);
}
