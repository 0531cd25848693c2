import { StoreError } from "@quorate/ports";

/** A request that no state of the database makes right: a bug in the caller. */
export function refused(message: string): StoreError {
  return new StoreError("REFUSED", message, { retryable: false });
}
