/** How the reason of a freeze begins that a restore has made. */
export const RESTORED_REASON = "restored from ";
/** How the reason of a freeze begins that a leader has made because the chain knows more than the database. */
export const HISTORY_REASON = "history lost: ";

/** How the reason of a freeze begins that waits for a person, because the chain holds records that the database did not know. */
export const DIFFERS_REASON = "the database differed from the chain: ";

/** Whether a frozen sender may go on without a person, once its history was held against the chain and nothing differed. */
export function mayThawItself(reason: string): boolean {
  return reason.startsWith(RESTORED_REASON) || reason.startsWith(HISTORY_REASON);
}
