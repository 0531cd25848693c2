/** What the database and the chain say of one account. Null: nobody could be asked. */
export interface SenderFacts {
  readonly nextNonce: bigint | null;
  readonly latestNonce: bigint | null;
  /** The highest of the latest and pending counts over all endpoints. */
  readonly pendingNonce: bigint | null;
  /** What the database says of its own history; null when no submitter has led yet. */
  readonly history: { readonly checked: boolean; readonly differs: boolean } | null;
  readonly finalizedBlock: bigint | null;
  readonly gaps: readonly bigint[];
  readonly quarantined: number;
}

/** Why the database's history may not be the chain's, in sentences for whoever is about to let it go on. None: nothing differs. */
export function differencesOf(facts: SenderFacts): readonly string[] {
  const { nextNonce, latestNonce, pendingNonce, finalizedBlock, history } = facts;
  const found: string[] = [];
  if (history?.differs === true)
    found.push(
      "the chain holds records that the database did not know; they are taken over and none is sent again (the frozen reason and the submitter's log count them)",
    );
  if (history?.checked === false)
    found.push(
      "its history is not held against the chain yet; a leading submitter does that and resumes by itself when nothing differs",
    );
  if (latestNonce === null || finalizedBlock === null)
    found.push("the chain could not be asked, so nothing is known of what it holds");
  if (nextNonce !== null && pendingNonce !== null && pendingNonce > nextNonce)
    found.push(
      `${pendingNonce - nextNonce} transactions of this account are on the chain or in a pool that the database does not know: it is older than the chain (a restored backup), or something else uses the key`,
    );
  if (facts.gaps.length > 0)
    found.push(
      `nothing was ever signed for nonces ${facts.gaps.join(", ")}, and later ones wait behind them`,
    );
  if (facts.quarantined > 0)
    found.push(
      `${facts.quarantined} submissions are QUARANTINED (see: quorate submissions list --state QUARANTINED)`,
    );
  return found;
}
