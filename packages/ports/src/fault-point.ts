/**
 * A named place between two durable steps. Production code passes through it without effect;
 * a fault test ends the process there. Names are stable: tests refer to them.
 */
export type FaultPoint = (name: string) => void;

/** The one that production uses. */
export const noFault: FaultPoint = () => {};
