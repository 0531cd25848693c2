/**
 * A named place between two durable steps. Production code passes through it without effect;
 * a fault test ends the process there, holds it, or loses the message that goes past (it throws
 * FaultLoss, which the decorators of the ports turn into what their callers know). Names are stable: tests refer to them.
 */
export type FaultPoint = (name: string) => void;

/** The one that production uses. */
export const noFault: FaultPoint = () => {};

/** What goes past this place is lost: a request that did not arrive, or an answer that did not come back. For fault tests only. */
export class FaultLoss extends Error {
  override readonly name = "FaultLoss";
  constructor(point: string) {
    super(`lost at fault point ${point}`);
  }
}
