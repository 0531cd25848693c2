import type { WireMessageJson } from "./wire.ts";

/** What the attacker's process can be told; each peer is one identity under a name of the caller's choice. */
export type AttackerCommand =
  | {
      readonly do: "open";
      readonly peer: string;
      readonly seedHex: string;
      readonly listen: readonly string[];
      /** Also offers itself as a relay, to everybody and without limits, and dials over others'. */
      readonly relay: boolean;
    }
  | {
      readonly do: "connect";
      readonly peer: string;
      /** Each ends in `/p2p/<peer id>`. */
      readonly addresses: readonly string[];
      /** Topics to subscribe to on each. */
      readonly topics: readonly string[];
      /** How long a peer has to open its own gossip stream, in ms: only then has it let us in. */
      readonly timeoutMs: number;
    }
  | {
      readonly do: "send";
      readonly peer: string;
      /** Peer ids; empty means all that it is connected with. */
      readonly to: readonly string[];
      /** Base64, one RPC each; lengths are put in front. */
      readonly rpcs: readonly string[];
      /** Base64, put on the stream as it is, after the RPCs. */
      readonly raw?: string;
    }
  /** Makes and signs the messages of a flood beforehand, so that the flood itself costs little here. */
  | {
      readonly do: "arm";
      readonly peer: string;
      readonly seedHex: string;
      readonly topic: string;
      readonly count: number;
      readonly junk: FloodJunk;
    }
  /** Sends what was armed; comes back with a new connection whenever it is cut off. */
  | {
      readonly do: "fire";
      readonly peer: string;
      readonly perSecond: number;
      readonly addresses: readonly string[];
      readonly topic: string;
      /** Under which key to come back; null means another one each time. */
      readonly rejoinSeedHex: string | null;
    }
  | {
      readonly do: "swarm";
      /** Identities, each with a connection of its own to each address. */
      readonly count: number;
      readonly addresses: readonly string[];
      readonly topic: string;
    }
  | {
      readonly do: "authors";
      readonly peer: string;
      readonly count: number;
      readonly topic: string;
    }
  | { readonly do: "heard"; readonly peer: string }
  | { readonly do: "links"; readonly peer: string }
  | {
      readonly do: "relay-return";
      /** The relay: one of our own. */
      readonly relay: string;
      readonly relayAddress: string;
      /** Who comes over it. */
      readonly peer: string;
      readonly target: string;
      readonly timeoutMs: number;
    }
  | { readonly do: "close"; readonly peer: string }
  /** Closes every peer. */
  | { readonly do: "reset" };

/** What a flood is made of; each message is new, so that nothing but its author gives it away. */
export type FloodJunk =
  /** Random bytes. */
  | { readonly kind: "noise" }
  /** Well-signed votes: one a message whose time is long past, refused late and held against nobody; or as many as go into a message, each opening a transaction. */
  | {
      readonly kind: "stale-votes" | "new-transactions";
      readonly clusterId: string;
      readonly epoch: number;
      readonly nodeId: string;
    };

/** How a peer took a connection. */
export interface ConnectOutcome {
  readonly address: string;
  readonly peerId: string;
  /** Whether it opened a gossip stream to us: until then nothing of ours is heard. */
  readonly admitted: boolean;
  readonly detail: string;
}

/** What each command is answered with. */
export interface AttackerAnswers {
  readonly open: { readonly peerId: string; readonly addresses: readonly string[] };
  readonly connect: { readonly outcomes: readonly ConnectOutcome[] };
  /** When the first was handed to the network, in ms since the Unix epoch. */
  readonly send: { readonly sent: number; readonly atMs: number };
  readonly arm: { readonly armed: number };
  readonly fire: {
    readonly sent: number;
    /** Messages that no node took: cut off, or too slow for the rate. */
    readonly refused: number;
    readonly rejoined: number;
    readonly seconds: number;
  };
  readonly swarm: {
    readonly connected: number;
    readonly refused: number;
    readonly stillConnected: number;
  };
  readonly authors: { readonly sent: number };
  readonly heard: { readonly messages: readonly WireMessageJson[] };
  readonly links: { readonly admitted: readonly string[] };
  readonly "relay-return": { readonly connected: boolean; readonly detail: string };
  readonly close: { readonly closed: true };
  readonly reset: { readonly closed: true };
}

export type AttackerRequest = AttackerCommand & { readonly id: number };
export type AttackerReply = { readonly id: number } & (
  | { readonly answer: AttackerAnswers[keyof AttackerAnswers] }
  | { readonly failed: string }
);
