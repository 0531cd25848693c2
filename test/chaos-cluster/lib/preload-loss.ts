import { renameSync, writeFileSync } from "node:fs";
import { findPackageJSON } from "node:module";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";

// Loaded into one node's process before anything else (node --import): of the gossip messages that arrive there, each copy is
// dropped with a probability, before the program sees anything of it. The peer that sent it believes it was delivered.

const probability = Number(process.env["CHAOS_LOSS"] ?? 0);
const countFile = process.env["CHAOS_LOSS_COUNT"];
let seed = Number(process.env["CHAOS_LOSS_SEED"] ?? 1) >>> 0;
if (!(probability >= 0 && probability < 1)) throw new Error("CHAOS_LOSS must be from 0 to 1");

/** mulberry32: the same seed loses the same copies of the same sequence. */
function random(): number {
  seed = (seed + 0x6d2b79f5) >>> 0;
  let t = seed;
  t = Math.imul(t ^ (t >>> 15), t | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
}

type Handler = (this: object, from: unknown, message: unknown) => Promise<void>;

// The class itself is not exported: it is in the module beside the package's entry, and is the very one that the program uses.
const manifest = findPackageJSON(
  "@chainsafe/libp2p-gossipsub",
  import.meta.resolve("@quorate/network-libp2p"),
);
if (manifest === undefined) throw new Error("GossipSub is not installed");
const module: { readonly GossipSub?: { readonly prototype: object } } = await import(
  pathToFileURL(join(dirname(manifest), "dist", "src", "gossipsub.js")).href
);
const prototype = module.GossipSub?.prototype;
const original: unknown =
  prototype === undefined ? undefined : Reflect.get(prototype, "handleReceivedMessage");
if (prototype === undefined || typeof original !== "function")
  throw new Error("GossipSub has no handleReceivedMessage any more: nothing can be lost here");

let arrived = 0;
let lost = 0;
const handle = original as Handler;
Reflect.set(prototype, "handleReceivedMessage", async function lossy(
  this: object,
  from: unknown,
  message: unknown,
): Promise<void> {
  arrived++;
  if (random() >= probability) return await handle.call(this, from, message);
  lost++;
} satisfies Handler);

const timer = setInterval(() => {
  if (countFile === undefined) return;
  // Renamed into its place: whoever reads it meanwhile sees all of it.
  writeFileSync(`${countFile}.new`, JSON.stringify({ arrived, lost }));
  renameSync(`${countFile}.new`, countFile);
}, 500);
timer.unref();
process.stderr.write(`chaos: this process loses ${probability * 100} % of gossip messages\n`);
