// Loaded into one node's process before anything else (node --import): that process's wall clock is moved, as a machine's
// would be whose clock is wrong. Its monotonic clock and its timers go on as ever, and nobody else's clock moves.

const offsetMs = Number(process.env["CHAOS_CLOCK_OFFSET_MS"] ?? 0);
if (!Number.isSafeInteger(offsetMs)) throw new Error("CHAOS_CLOCK_OFFSET_MS must be whole ms");

const RealDate = Date;
const realNow = Date.now.bind(Date);
const movedNow = (): number => realNow() + offsetMs;

globalThis.Date = new Proxy(RealDate, {
  construct: (target, args: unknown[], newTarget) =>
    Reflect.construct(target, args.length === 0 ? [movedNow()] : args, newTarget),
  apply: () => new RealDate(movedNow()).toString(),
  get: (target, name, receiver) =>
    name === "now" ? movedNow : Reflect.get(target, name, receiver),
});
// Two ways to the wall clock are left: what the monotonic clock says it began at, and nothing else in this program.
process.stderr.write(`chaos: the clock of this process is ${offsetMs} ms off\n`);
